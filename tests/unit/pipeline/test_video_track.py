"""Which track is read, and which part of it: what a player would show."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av
import pytest

from tests.support.small_videos import flat
from tests.support.video_stream import add_video_stream
from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import CheckLimits
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.limits import DecodeLimits


class Part(NamedTuple):
    codec: str
    level: int
    frames: int = 4
    enabled: bool = True
    size: tuple[int, int] = (64, 48)


def write(file: Path, parts: Sequence[Part], options: dict[str, str] | None = None) -> Path:
    """A file with a track for each part, all frames of which are grey of its level."""
    with av.open(str(file), "w", format="mp4", options=options or {}) as output:
        streams = []
        for part in parts:
            pixels = {"png": "rgb24", "mjpeg": "yuvj420p"}.get(part.codec, "yuv420p")
            width, height = part.size
            streams.append(
                add_video_stream(output, part.codec, rate=25, width=width, height=height, pix_fmt=pixels)
            )
        for stream, part in zip(streams, parts, strict=True):
            for _ in range(part.frames):
                picture = av.VideoFrame.from_ndarray(flat(*part.size, part.level), format="bgr24")
                output.mux(stream.encode(picture))
            if part.frames:
                output.mux(stream.encode())
    content = bytearray(file.read_bytes())
    at = 0
    for part in parts:
        at = content.index(b"tkhd", at) + 4
        content[at + 3] = 3 if part.enabled else 2
    file.write_bytes(content)
    return file


def levels(file: Path, bounds: DecodeLimits | None = None) -> list[int]:
    with open_video(file, bounds) as video:
        return [10 * round(float(frame.image().mean()) / 10) for frame in video.frames()]


H264, MPEG4, MJPEG, PNG = "libx264", "mpeg4", "mjpeg", "png"
CHOICES = {
    "the first": ([Part(H264, 100), Part(H264, 200)], 100),
    "the first that is enabled": ([Part(H264, 100, enabled=False), Part(H264, 200)], 200),
    "the first of several disabled ones": (
        [Part(H264, 100, enabled=False), Part(H264, 200, enabled=False)],
        100,
    ),
    "the first of a codec that is read": ([Part(MJPEG, 100), Part(H264, 200)], 200),
    "also behind a disabled one": (
        [Part(PNG, 100), Part(MPEG4, 150, enabled=False), Part(H264, 200)],
        200,
    ),
    "a disabled one when the enabled one is not read": (
        [Part(MJPEG, 100), Part(H264, 200, enabled=False)],
        200,
    ),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_video_is(tmp_path: Path, choice: str) -> None:
    parts, level = CHOICES[choice]

    assert levels(write(tmp_path / "a.mp4", parts)) == [level] * 4


def test_a_first_track_without_samples_is_passed_over(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp4", [Part(MPEG4, 100), Part(H264, 200)])
    content = bytearray(file.read_bytes())
    for kind, count in ((b"stts", 8), (b"stss", 8), (b"stsc", 8), (b"stsz", 12), (b"stco", 8)):
        at = content.index(kind) + count
        content[at : at + 4] = bytes(4)
    file.write_bytes(content)

    assert levels(file) == [200] * 4


@pytest.mark.parametrize(
    "movflags", ["frag_every_frame+empty_moov", "frag_keyframe+empty_moov+default_base_moof"]
)
def test_a_first_track_without_samples_in_fragments_is_passed_over(tmp_path: Path, movflags: str) -> None:
    options = {"movflags": movflags}
    file = write(tmp_path / "a.mp4", [Part(MPEG4, 100, frames=0), Part(H264, 200)], options)

    assert levels(file) == [200] * 4


@pytest.mark.parametrize("track_id", [0, 1, 7, 0xFFFFFFFF])
def test_of_two_tracks_with_one_id_the_one_that_is_chosen_is_read(tmp_path: Path, track_id: int) -> None:
    file = write(tmp_path / "a.mp4", [Part(H264, 100, enabled=False), Part(H264, 200), Part(H264, 50)])
    content, at = bytearray(file.read_bytes()), 0
    for _ in range(3):
        at = content.index(b"tkhd", at) + 4
        struct.pack_into(">I", content, at + 12, track_id)
    file.write_bytes(content)

    assert levels(file) == [200] * 4


def refer(file: Path, kind: bytes) -> Path:
    """Makes the first track of the file one that goes with the second."""
    content = file.read_bytes()
    at = content.index(b"edts") - 4
    (size,) = struct.unpack_from(">I", content, at)
    # In place of the edit list, so that no offset changes.
    reference = struct.pack(">I4sI4sII", 20, b"tref", 12, kind, 2, size - 20) + b"free"
    file.write_bytes(content[:at] + reference + content[at + len(reference) :])
    return file


@pytest.mark.parametrize("kind", [b"thmb", b"auxl", b"vdep"])
def test_a_track_that_belongs_to_another_is_passed_over(tmp_path: Path, kind: bytes) -> None:
    file = refer(write(tmp_path / "a.mp4", [Part(H264, 100), Part(H264, 200)]), kind)

    assert levels(file) == [200] * 4


def test_among_more_tracks_than_usual_the_same_one_is_chosen_where_so_many_are_accepted(
    tmp_path: Path,
) -> None:
    parts = [Part(MPEG4, 100), Part(H264, 200), *[Part(MPEG4, 50, frames=1)] * 64]
    file = refer(write(tmp_path / "a.mp4", parts), b"thmb")

    assert levels(file, DecodeLimits(check=CheckLimits(tracks=66))) == [200] * 4
    names = {"max_streams": "MOST_TRACKS"}
    with pytest.raises(InvalidVideoError, match=r"more than 65 tracks, .* accepted \(MOST_TRACKS\)"):
        levels(file, DecodeLimits(check=CheckLimits(tracks=65, setting_names=names)))


@pytest.mark.parametrize("enabled", [True, False])
def test_a_track_that_is_not_chosen_may_have_more_pixels_than_are_accepted(
    tmp_path: Path, enabled: bool
) -> None:
    large = Part(H264, 100, enabled=enabled, size=(640, 480))
    small = Part(H264, 200)
    parts = [small, large] if enabled else [large, small]

    assert levels(write(tmp_path / "a.mp4", parts), DecodeLimits(pixels=64 * 48)) == [200] * 4


def test_a_codec_that_is_not_read_is_named_when_there_is_no_other(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp4", [Part(MJPEG, 100), Part(PNG, 200)])

    with pytest.raises(InvalidVideoError, match=r"codec mjpeg is not read.* track 2: png, not read"):
        levels(file)
