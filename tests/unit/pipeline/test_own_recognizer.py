"""A text recognizer of the operator's own: it is read as it is exported, or refused with words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rapidocr

from tests.support.text_recognizers import CHARACTERS, Load, Recognizer, line, load, read
from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins.ocr import OcrPlugin, create

__all__ = ["load"]

#: PP-OCRv6 small as its makers export it, from which the built-in recognizer is made.
PP_OCR = Path(rapidocr.__file__).parent / "models" / "PP-OCRv6_rec_small.onnx"
CHARSET_SETTING = "Set VIDEOQUEUE_OCR_CHARSET to the "


@pytest.mark.parametrize(
    "shape",
    [
        (None, 3, 48, None),
        (1, 3, 48, None),
        (None, 3, None, None),
        (None, None, None, None),
        (1, 3, 32, None),
        (1, 3, 48, 960),
        (1, 3, 32, 640),
        (None, 3, 48, 960),
    ],
)
def test_an_input_of_any_and_of_one_size_is_filled(load: Load, shape: tuple[int | None, ...]) -> None:
    plugin = load(Recognizer(shape))

    assert plugin._engine._recognizer._model.height == (shape[2] or 48)
    assert [read(plugin, text) for text in ("ab c", "a_a", "cab" * 4)] == ["ab c", "aa", "cab" * 4]


def test_a_line_too_wide_for_a_model_of_one_width_is_compressed(load: Load) -> None:
    plugin = load(Recognizer((1, 3, 48, 240)))

    assert line("cab abc ba").shape == (48, 480, 3)
    assert read(plugin, "cab abc ba") == "cab abc ba"


@pytest.mark.parametrize("height", [20, 48, 200])
def test_a_line_of_any_height_is_brought_to_that_of_the_model(load: Load, height: int) -> None:
    assert read(load(Recognizer((1, 3, 32, None))), "ab c", height) == "ab c"


@pytest.mark.parametrize(
    "charset",
    [
        b"x\ny\nz\n",
        b"x\ny\nz",
        b"x\r\ny\r\nz\r\n",
        b"\xef\xbb\xbfx\ny\nz\n",
        b"x\ny\nz\n\n",
        b"x\r\ny\r\nz\r\n\r\n",
        b"x\ny\nz\n \n",
    ],
    ids=[
        "plain",
        "no-last-line-feed",
        "crlf",
        "bom",
        "empty-line-at-the-end",
        "crlf-empty",
        "with-the-space",
    ],
)
def test_the_file_of_characters_comes_before_the_metadata(load: Load, charset: bytes) -> None:
    assert read(load(Recognizer(), charset), "ab c") == "xy z"


def test_separators_other_than_a_line_feed_are_characters(load: Load) -> None:
    plugin = load(Recognizer(metadata=None), "\u2028\n\u3000\n字".encode())

    assert plugin._engine._recognizer.read(line("abc")).text == "\u2028\u3000字"


def test_metadata_may_have_the_line_ends_of_windows(load: Load) -> None:
    assert read(load(Recognizer(metadata="x\r\ny\r\nz\r\n")), "ab c") == "xy z"


def test_a_model_without_a_space_needs_no_class_for_it(load: Load) -> None:
    plugin = load(Recognizer(levels=(128, 0, 255, 192)))

    assert read(plugin, "abc") == "abc"


REFUSED = {
    "a class too few": (Recognizer(metadata="a\nb\nc\nd\ne"), None, "it returns 5 classes, which is 3 "),
    "a class too many": (
        Recognizer(metadata="a\nb"),
        None,
        "Its metadata has 2 characters. " + CHARSET_SETTING,
    ),
    "a file of another model": (
        Recognizer(),
        b"a\nb\n",
        "VIDEOQUEUE_OCR_CHARSET has 2 characters. "
        + CHARSET_SETTING
        + "file of characters that it was trained",
    ),
    "characters in one line": (Recognizer(), b"abc", "VIDEOQUEUE_OCR_CHARSET has 1 characters"),
    "an empty file": (Recognizer(), b"", "VIDEOQUEUE_OCR_CHARSET has 0 characters"),
    "no characters": (
        Recognizer(metadata=None),
        None,
        "it does not say which characters it returns. " + CHARSET_SETTING + "path of a text file",
    ),
    "not UTF-8": (
        Recognizer(),
        b"a\n\xe4\nc",
        "VIDEOQUEUE_OCR_CHARSET names mine.txt, which cannot be read as UTF-8",
    ),
    "UTF-16": (Recognizer(), "a\nb\nc".encode("utf-16"), "which cannot be read as UTF-8"),
    "no softmax": (
        Recognizer(softmax=False),
        None,
        "its output is no probabilities. Export it with the softmax",
    ),
    "two outputs": (Recognizer(outputs=2), None, "it has 2 outputs. It must have one, (1, steps, classes)."),
    "two inputs": (Recognizer(inputs=2), None, "It must take one line of text, (1, 3, height, width)."),
    "one channel": (Recognizer((1, 1, 48, None)), None, "it takes [1,1,48,?]. It must take one line of text"),
    "channels last": (Recognizer((1, 48, 320, 64)), None, "it takes [1,48,320,64]. It must take one line"),
    "eight lines at once": (Recognizer((8, 3, 48, None)), None, "it takes [8,3,48,?]. It must take one line"),
}


@pytest.mark.parametrize(("model", "charset", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_with_words(
    load: Load, model: Recognizer, charset: bytes | None, says: str
) -> None:
    with pytest.raises(PipelineError) as refused:
        load(model, charset)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_model_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "words.onnx").write_text("not a model")

    with pytest.raises(
        PipelineError, match=r"The text recognizer words\.onnx cannot be used: it cannot be read"
    ):
        load(recognizer=str(tmp_path / "words.onnx"))


def test_a_truncated_model_is_refused(load: Load, tmp_path: Path) -> None:
    whole = Recognizer().write(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(
        PipelineError, match=r"half\.onnx cannot be used: it cannot be read as ONNX\. Copy it"
    ):
        load(recognizer=str(tmp_path / "half.onnx"))


def test_a_recognizer_that_is_not_there_is_named_with_its_setting(load: Load) -> None:
    with pytest.raises(
        PipelineError, match=r"no such file\. Set VIDEOQUEUE_OCR_RECOGNIZER to the path of an ONNX"
    ):
        load(recognizer="/nowhere/none.onnx")


def test_characters_that_are_not_there_are_named_with_their_setting(tmp_path: Path) -> None:
    values = {
        "ocr.recognizer": str(Recognizer().write(tmp_path / "mine.onnx")),
        "ocr.charset": "/nowhere/none.txt",
    }

    with pytest.raises(PipelineError, match=r"CHARSET_OF_MINE names none\.txt: there is no such file"):
        create(PluginOptions(1, values, {"ocr.charset": "CHARSET_OF_MINE"}))


def test_characters_without_a_recognizer_are_refused(load: Load) -> None:
    with pytest.raises(PipelineError) as refused:
        load(charset=b"a\nb")
    assert str(refused.value) == (
        "VIDEOQUEUE_OCR_CHARSET is the alphabet of a recognizer of your own. "
        "Set VIDEOQUEUE_OCR_RECOGNIZER too."
    )


def test_the_model_of_pp_ocr_reads_what_the_built_in_one_reads() -> None:
    picture = np.full((360, 640, 3), 40, np.uint8)
    for row, text in enumerate(("Departures 12:45", "platform 3, track B")):
        place = (40, 80 + 100 * row)
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2, cv2.LINE_AA)
    own = create(PluginOptions(1, {"ocr.recognizer": str(PP_OCR)}))

    assert own.run_tool("read", {"image": picture})["text"] == "Departures 12:45\nplatform 3, track B"
    assert create(PluginOptions(1)).run_tool("read", {"image": picture})["text"] == (
        "Departures 12:45\nplatform 3, track B"
    )


def test_the_version_changes_with_whatever_changes_results(load: Load) -> None:
    versions = [
        plugin.manifest.version
        for plugin in (
            load(),
            load(detail="960"),
            load(confidence="0.6"),
            load(Recognizer()),
            load(Recognizer(gain=400)),
            load(Recognizer(), b"x\ny\nz"),
            load(Recognizer(), detail="960"),
        )
    ]
    assert len(set(versions)) == len(versions)


def test_the_version_stays_with_the_same_options_spelled_or_placed_otherwise(
    load: Load, tmp_path: Path
) -> None:
    assert load().manifest.version == load(detail="1920", confidence="0.50").manifest.version
    elsewhere = Recognizer().write(tmp_path / "copy.onnx")
    expected = load(Recognizer()).manifest.version
    assert load(recognizer=str(elsewhere)).manifest.version == expected
    assert load(Recognizer(), CHARACTERS.encode()).manifest.version == expected
    assert load(Recognizer(), CHARACTERS.replace("\n", "\r\n").encode()).manifest.version == expected


def test_a_line_is_reported_from_the_confidence_on(load: Load) -> None:
    picture = np.full((120, 400, 3), 255, np.uint8)
    cv2.putText(picture, "IlI1O0", (40, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 0), 2, cv2.LINE_AA)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 3), np.uint8)

    def found(plugin: OcrPlugin) -> list[float]:
        blocks: Any = plugin.run_tool("read", {"image": picture})["text_blocks"]
        return [block["confidence"] for block in blocks]

    (score,) = found(load())

    assert 0.5 < score < 0.99
    assert found(load(confidence="0")) == found(load(confidence=f"{score - 0.001}")) == [score]
    assert found(load(confidence=f"{score + 0.001}")) == []


@pytest.mark.parametrize("detail", ["319", "2561", "99999"])
def test_a_detail_out_of_range_is_refused_with_the_range(load: Load, detail: str) -> None:
    with pytest.raises(PipelineError) as refused:
        load(detail=detail)
    assert str(refused.value) == f"VIDEOQUEUE_TEXT_DETAIL is {detail}: it takes 320 to 2560 pixels."


@pytest.mark.parametrize("detail", ["320", "2560"])
def test_a_detail_at_the_end_of_the_range_is_taken(load: Load, detail: str) -> None:
    assert load(detail=detail)._engine._options.detail == int(detail)
