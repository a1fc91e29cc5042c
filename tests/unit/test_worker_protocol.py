"""What a worker makes of messages, also of those that no honest child sends."""

from __future__ import annotations

import json
import re
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videoqueue.errors import (
    InvalidVideoError,
    NoFrameError,
    OutOfMemoryError,
    PipelineError,
    ResultsTooLargeError,
    SandboxCrashedError,
    TransientError,
)
from videoqueue.jobs.results import encode
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem
from videoqueue.sandbox.protocol import (
    LENGTH,
    OUTCOMES,
    Alive,
    Begun,
    Seen,
    error_of,
    pack,
    report_of,
    unpack,
    video_of,
)

ITEM: FrameItem = {"frame_index": 4, "result": {"text": "ä", "timestamp": 0.16}}


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_a_message_comes_back_as_it_was() -> None:
    message = {"type": "item", "item": ITEM}
    packed = pack(message)
    (length,) = LENGTH.unpack(packed[: LENGTH.size])
    assert length == len(packed) - LENGTH.size
    assert unpack(packed[LENGTH.size :]) == message


def test_numbers_that_json_does_not_know_are_not_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        pack({"progress": float("nan")})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[1]",
        b'"done"',
        b"{",
        b"[" * 100_000,
        b'{"type": "alive", "progress": NaN}',
        b'{"type": ["done"]}',
        b'{"type": "alive", "progress": ' + b"1" * 5000 + b"}",
        '{"type": "done"}'.encode("utf-16"),
        b'{"type": "failed", "message": "\xed\xa0\x80"}',
    ],
)
def test_what_is_no_message_is_a_crash(data: bytes) -> None:
    with pytest.raises(SandboxCrashedError, match="makes no sense"):
        unpack(data)


@pytest.mark.parametrize("reached", [None, 3])
def test_a_frame_and_its_size(reached: int | None) -> None:
    assert report_of({"type": "item", "item": ITEM}, reached, has_begun=True) == Seen(ITEM)


@pytest.mark.parametrize(("sent", "taken"), [(0.5, 0.5), (1, 1.0), (7, 1.0), (-1, 0.0), (10**400, 1.0)])
def test_a_sign_of_life_stays_a_fraction(sent: float, taken: float) -> None:
    assert report_of({"type": "alive", "progress": sent}, None, has_begun=False) == Alive(taken)


def test_the_version_is_reported_once_and_before_the_first_frame() -> None:
    version = {"type": "version", "version": "0123456789abcdef" * 4}
    assert report_of(version, None, has_begun=False) == Begun(version["version"])
    item = {"type": "item", "item": ITEM}
    refused: list[tuple[dict[str, Any], bool]] = [(version, True), (item, False)]
    for message, has_begun in refused:
        with pytest.raises(SandboxCrashedError, match="makes no sense"):
            report_of(message, None, has_begun)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "item", "item": ITEM},  # behind frame 4
        {"type": "item", "item": {"frame_index": "4", "result": {}}},
        {"type": "item", "item": {"frame_index": 9, "result": []}},
        {"type": "item"},
        {"type": "alive", "progress": "much"},
        {"type": "item", "item": {"frame_index": True, "result": ITEM["result"]}},
        {"type": "item", "item": {"frame_index": 2**53, "result": ITEM["result"]}},
        {"type": "item", "item": {"frame_index": 9, "result": {"timestamp": True}}},
        {"type": "item", "item": {"frame_index": 9, "result": {"timestamp": "now"}}},
        {"type": "item", "item": {"frame_index": 9, "result": {}}},
        {"type": "item", "item": {"frame_index": 9, "result": {"timestamp": 1.0, "x": float("inf")}}},
        {"type": "item", "item": {"frame_index": 9, "result": {"timestamp": 1.0, "x": 2**64}}},
        {"type": "item", "item": {"frame_index": 9, "result": {"timestamp": 1.0, "x": nested(33)}}},
        {"type": "alive", "progress": float("inf")},
        {"type": "alive", "progress": float("nan")},
        {"type": "alive", "progress": True},
        {"type": "version", "version": 1},
        {"type": "version", "version": "1.0"},
        {"type": "version", "version": "f" * 65},
        {"type": "exec"},
        {},
    ],
)
@pytest.mark.parametrize("has_begun", [True, False])
def test_a_message_that_no_child_sends_is_a_crash(message: dict[str, Any], has_begun: bool) -> None:
    with pytest.raises(SandboxCrashedError, match="makes no sense"):
        report_of(message, 4, has_begun)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("bad_video", InvalidVideoError),
        ("no_frame", NoFrameError),
        ("out_of_memory", OutOfMemoryError),
        ("failed", PipelineError),
        ("again", TransientError),
    ],
)
def test_an_outcome_is_an_error_with_its_words(kind: str, error: type[Exception]) -> None:
    outcome = {"type": kind, "code": "truncated_mp4", "message": "It ends early."}
    found = error_of(json.loads(json.dumps(outcome)))
    assert (type(found), str(found)) == (error, "It ends early.")


def test_an_item_keeps_its_text_and_nothing_beside_it() -> None:
    text = "a\n\t\x00\x1b[31m\u202eb\u2028 \U0001f600"
    result: Any = {"text": text, "timestamp": 0, "deep": nested(30), "whole": 2**64 - 1}
    message = {"type": "item", "item": {"frame_index": 4, "result": result, "more": 1}}
    assert report_of(unpack(pack(message)[LENGTH.size :]), None, has_begun=True) == Seen(
        {"frame_index": 4, "result": result}
    )


def test_a_lone_surrogate_in_an_item_is_replaced_so_that_it_can_be_stored_and_served() -> None:
    result = {"text": "a\ud800b", "\udfff": ["\ud83d\ude00", {"x": "\udc00"}], "timestamp": 0.5}
    message = {"type": "item", "item": {"frame_index": 4, "result": result}}
    report = report_of(unpack(pack(message)[LENGTH.size :]), None, has_begun=True)
    assert isinstance(report, Seen)
    assert json.loads(encode([report.item]).decode()) == {
        "frame_index": 4,
        "result": {"text": "a\ufffdb", "\ufffd": ["\U0001f600", {"x": "\ufffd"}], "timestamp": 0.5},
    }


@pytest.mark.parametrize("kind", ["bad_video", "no_frame", "out_of_memory", "failed", "again"])
def test_the_words_of_an_outcome_are_one_clean_line_of_at_most_1000_characters(kind: str) -> None:
    given = "It\r\nends\x1b[2J early.\ud800\u202e\u2028" + "x" * 15_000_000
    error = error_of({"type": kind, "code": "not_mp4", "message": given})
    assert len(str(error)) == 1000
    assert str(error).startswith("It ends\ufffd[2J early.\ufffd\ufffd xxx")


def test_the_words_of_an_outcome_have_at_most_2000_bytes() -> None:
    error = error_of({"type": "failed", "message": "a" + "\u65e5" * 5000})
    assert str(error) == "a" + "\u65e5" * 665 + "…"
    assert len(str(error).encode()) == 1999


@pytest.mark.parametrize("part", [b"[],", b"{},", b'{"a":0},'])
def test_a_message_of_very_many_parts_is_refused_before_it_is_parsed(part: bytes) -> None:
    with pytest.raises(ResultsTooLargeError, match="more than 500000 lists, objects and names"):
        unpack(b'{"type": "item", "item": [' + part * 500_000 + b"0]}")


def test_an_outcome_with_an_unknown_code_is_a_crash_and_one_without_words_has_some() -> None:
    for code in ("internal_error", "", 5, None, ["not_mp4"]):
        outcome = {"type": "bad_video", "code": code, "message": "x"}
        assert isinstance(error_of(outcome), SandboxCrashedError)
    assert str(error_of({"type": "failed", "message": " \n"})) != ""


def outcome_of(data: bytes) -> object:
    """What the worker makes of one message; the only exception it may raise is a crash of the child."""
    try:
        message = unpack(data)
        if message["type"] in OUTCOMES:
            return error_of(message)
        return report_of(message, 3, has_begun=message["type"] != "version")
    except SandboxCrashedError as error:
        return error


def assert_is_harmless(outcome: object) -> None:
    match outcome:
        case Seen(item):
            assert set(item) == {"frame_index", "result"}
            assert type(item["frame_index"]) is int
            assert 3 < item["frame_index"] < 2**53
            assert json.loads(encode([item]).decode(), parse_constant=pytest.fail) == item
        case Begun(version):
            assert re.fullmatch("[0-9a-f]{64}", version)
        case Alive(progress):
            assert type(progress) is float
            assert 0 <= progress <= 1
        case Exception():
            assert 1 <= len(str(outcome)) <= 1000
            assert len(str(outcome).encode()) <= 2000
            assert not any(category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in str(outcome))
        case _:
            assert outcome is None


TEXTS = st.text(st.characters(codec=None, categories=None) | st.sampled_from("\x00\n\x1b\ud800\u202e"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*OUTCOMES, "item", "alive", "version"]) | VALUES,
        "message": TEXTS | VALUES,
        "code": st.sampled_from(["not_mp4", "unsupported_video"]) | VALUES,
        "progress": VALUES,
        "version": st.text("0123456789abcdef", min_size=63, max_size=65) | VALUES,
        "item": VALUES
        | st.fixed_dictionaries(
            {
                "frame_index": st.integers(-1, 2**60) | VALUES,
                "result": st.dictionaries(TEXTS, VALUES)
                | st.fixed_dictionaries({"timestamp": st.floats() | VALUES, "x": VALUES}),
            }
        ),
    },
)


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_harmless(data: bytes) -> None:
    assert_is_harmless(outcome_of(data))


@given(MESSAGES)
def test_any_message_of_a_known_shape_is_harmless(message: dict[str, Any]) -> None:
    assert_is_harmless(outcome_of(json.dumps(message).encode()))


def test_done_is_no_error_and_an_outcome_without_words_is_a_crash() -> None:
    assert error_of({"type": "done"}) is None
    for kind in OUTCOMES - {"done"}:
        assert isinstance(error_of({"type": kind}), SandboxCrashedError)


def test_an_outcome_says_what_is_known_of_the_video() -> None:
    video = VideoInfo(damaged_frames=2, width=640, height=360, fps=25, duration=4.5, codec="mpeg2video")
    for kind in OUTCOMES:
        assert video_of({"type": kind, **vars(video)}) == video
    assert video_of({"type": "done"}) == VideoInfo()


@pytest.mark.parametrize(
    "value", [-1, 10**30, True, "1 ", [], float("inf"), float("nan"), "h264\n", "x" * 33]
)
def test_what_makes_no_sense_about_the_video_is_unknown(value: object) -> None:
    outcome = {"type": "done", **dict.fromkeys(vars(VideoInfo()), value)}
    assert video_of(outcome) == VideoInfo()
