"""The tags of the box `colr` hold where the coded video does not say how its colours are meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest

from tests.support.hdr_videos import (
    BT709,
    BT2020,
    HLG,
    PQ,
    TO_2020,
    UNSPECIFIED,
    Signal,
    hlg,
    images,
    light_of,
    patches,
    pq,
    read_in_sdr,
    slides,
    tags_of_frames,
    with_explicit_tags,
    write,
    write_untagged,
)
from tests.support.mp4_boxes import box
from tests.support.sample_entries import colr, with_boxes
from videoqueue.mp4 import ColourTags
from videoqueue.pipeline.decode.colour_tags import colour_tags, fill_in
from videoqueue.pipeline.decode.frame import Frame, Look
from videoqueue.pipeline.decode.hdr import colours_of
from videoqueue.pipeline.service import build_service

TRANSFERS: list[tuple[int, Callable[[Signal], Signal]]] = [(PQ, pq), (HLG, hlg)]
NOTHING = (UNSPECIFIED, UNSPECIFIED, UNSPECIFIED)
_SAYS_2 = "=2:transfer_characteristics=2:matrix_coefficients=2"


class Kind(NamedTuple):
    """`filters` make the coded video say the code 2. `error` is in levels of 255."""

    codec: str
    filters: str | None = None
    in_front: bool = False
    error: int = 3


KINDS = {
    "HEVC without a description": Kind("libx265"),
    "HEVC that says unspecified": Kind("libx265", "hevc_metadata=colour_primaries" + _SAYS_2),
    "H.264 without a description": Kind("libx264"),
    "H.264 that says unspecified": Kind("libx264", "h264_metadata=colour_primaries" + _SAYS_2),
    "VP9 whose vpcC says unspecified": Kind("libvpx-vp9", in_front=True, error=8),
    "AV1 without a description": Kind("libsvtav1"),
    "AV1 that says unspecified": Kind("libsvtav1", "av1_metadata=color_primaries" + _SAYS_2),
}


def untagged(folder: Path, signals: list[Signal], kind: Kind) -> Path:
    file = write_untagged(folder / "a.mp4", signals, kind.codec)
    if kind.filters:
        file = with_explicit_tags(file, kind.filters)
    assert b"colr" not in file.read_bytes()
    assert tags_of_frames(file) == {NOTHING}
    return file


@pytest.mark.parametrize(("transfer", "signal_of"), TRANSFERS)
@pytest.mark.parametrize("kind", KINDS)
def test_hdr_that_only_the_box_tells_becomes_sdr(
    tmp_path: Path, kind: str, transfer: int, signal_of: Callable[[Signal], Signal]
) -> None:
    picture = patches().repeat(4, 1)  # wide enough for halved chroma
    signal = signal_of(light_of(picture) @ TO_2020.T)
    file = untagged(tmp_path, [signal], KINDS[kind])

    (image,) = images(with_boxes(file, colr(BT2020, transfer, BT2020), KINDS[kind].in_front))

    assert np.abs(image.astype(int) - picture)[16, 16::32].max() <= KINDS[kind].error


@pytest.mark.parametrize(("transfer", "signal_of"), TRANSFERS)
@pytest.mark.parametrize("kind", ["HEVC without a description", "H.264 that says unspecified"])
def test_the_sample_in_hdr_that_only_the_box_tells_is_read_as_in_sdr(
    tmp_path: Path, kind: str, transfer: int, signal_of: Callable[[Signal], Signal]
) -> None:
    pictures = slides()
    signals = [signal_of(light_of(picture) @ TO_2020.T) for picture in pictures]
    file = with_boxes(untagged(tmp_path, signals, KINDS[kind]), colr(BT2020, transfer, BT2020))

    for image, picture in zip(images(file), pictures, strict=True):
        assert image.mean() == pytest.approx(picture.mean(), rel=0.1)
    items = build_service().run_on_file(file, "yolo_ocr")
    plain = read_in_sdr()
    assert [item["result"]["text"] for item in items] == [item["result"]["text"] for item in plain]
    persons = [persons_in(items), persons_in(plain)]
    assert max(persons[1]) > 0.6
    assert persons[0] == pytest.approx(persons[1], abs=0.05)


def persons_in(items: list[Any]) -> list[float]:
    """How sure the detector is of a person in each frame."""
    return [
        max(
            (found["confidence"] for found in item["result"]["detections"] if found["label"] == "person"),
            default=0,
        )
        for item in items
    ]


@pytest.mark.parametrize("kind", [b"nclx", b"nclc"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_the_boxes_of_mp4_and_quicktime_say_the_same(tmp_path: Path, codec: str, kind: bytes) -> None:
    picture = patches()
    file = untagged(tmp_path, [pq(light_of(picture) @ TO_2020.T)], Kind(codec))

    (image,) = images(with_boxes(file, colr(BT2020, PQ, BT2020, kind)))

    assert np.abs(image.astype(int) - picture).max() <= 3


def test_what_the_coded_video_says_wins(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp4", [patches()[:, :, ::-1] / 255], BT709, BT709, BT709)
    file.write_bytes(file.read_bytes().replace(b"colr", b"free"))
    plain = images(file)

    contradicted = images(with_boxes(file, colr(BT2020, PQ, BT2020)))

    assert (contradicted[0] == plain[0]).all()


def test_each_tag_is_taken_by_itself(tmp_path: Path) -> None:
    """The coded video says the transfer, the box adds the primaries, and its transfer is not used."""
    picture = patches()
    file = write(tmp_path / "a.mp4", [pq(light_of(picture))], PQ, UNSPECIFIED, BT2020)
    file.write_bytes(file.read_bytes().replace(b"colr", b"free"))

    (image,) = images(with_boxes(file, colr(BT709, HLG, BT709)))

    assert np.abs(image.astype(int) - picture).max() <= 3


def test_the_range_of_the_box_holds_where_the_coded_video_has_none(tmp_path: Path) -> None:
    picture = patches()
    signal = pq(light_of(picture) @ TO_2020.T)
    file = write_untagged(tmp_path / "a.mp4", [signal], "libx264", full=True)
    with av.open(str(file)) as container:
        assert next(container.decode(video=0)).color_range == 0

    (image,) = images(with_boxes(file, colr(BT2020, PQ, BT2020, full=True)))

    assert np.abs(image.astype(int) - picture).max() <= 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nclx",
        b"nclx\0\x09\0\x10\0",
        b"prof" + bytes(60),
        b"rICC" + bytes(60),
        b"nclx\0\0\0\0\0\0\0",
        b"nclc\xff\xff\xff\xff\xff\xff",
        b"????\0\x09\0\x10\0\x09\0",
    ],
)
@pytest.mark.parametrize("kind", ["HEVC without a description", "H.264 that says unspecified"])
def test_a_box_without_usable_tags_changes_nothing(tmp_path: Path, kind: str, content: bytes) -> None:
    file = untagged(tmp_path, [patches()[:, :, ::-1] / 255], KINDS[kind])
    plain = images(file)

    assert (images(with_boxes(file, box(b"colr", content)))[0] == plain[0]).all()


@pytest.mark.parametrize("kind", ["HEVC without a description", "H.264 that says unspecified"])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
def test_sdr_is_converted_by_the_matrix_of_the_box(tmp_path: Path, kind: str, matrix: int) -> None:
    file = untagged(tmp_path, [patches()[:, :, ::-1] / 255], KINDS[kind])
    with av.open(str(file)) as container:
        frame = next(container.decode(video=0))
    frame.colorspace = matrix
    interpolation = av.video.reformatter.Interpolation
    exact = interpolation.BILINEAR | interpolation.ACCURATE_RND | interpolation.BITEXACT

    (image,) = images(with_boxes(file, colr(1, 1, matrix)))

    assert (image == frame.to_ndarray(format="bgr24", interpolation=exact, threads=1)).all()


def test_without_a_description_of_the_boxes_the_tags_are_those_that_ffmpeg_found(tmp_path: Path) -> None:
    file = untagged(tmp_path, [patches() / 255], Kind("libx265"))
    with av.open(str(with_boxes(file, colr(BT2020, PQ, 10, full=True)))) as container:
        tags = colour_tags(container.streams.video[0].codec_context, None)

    assert tags == ColourTags(BT2020, PQ, 10, full_range=True)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p10le", "gray", "gbrp"])
def test_a_picture_can_be_converted_whatever_codes_the_box_has(pixels: str) -> None:
    for code in range(1, 256):
        picture = av.VideoFrame.from_ndarray(patches(), format="bgr24").reformat(format=pixels)
        fill_in(picture, ColourTags(code, code, code, full_range=True))

        image = Frame(0, 0.0, picture, Look(colours=colours_of(picture)), 1).image()

        assert image.shape == patches().shape
