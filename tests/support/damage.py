"""Damages samples of videos, and says what a plain decoder finds in what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import NamedTuple

import av
import av.error
import numpy as np
import pytest

from tests.support.hevc import x265
from tests.support.small_videos import MakeVideo, Picture


class Found(NamedTuple):
    """What a loop over PyAV finds: the ranks of the intact frames, and how many packets there are."""

    ranks: list[int]
    packets: int


FRAMES = 40
# Groups of ten pictures each.
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "medium", "g": "10", "x264-params": "bframes=2:scenecut=0:open-gop=0"}),
    "hevc": ("libx265", x265(FRAMES, keyint=10, min_keyint=10, bframes=2, open_gop=0)),
    "av1": ("libsvtav1", {"preset": "12", "g": "10", "svtav1-params": "lp=1"}),
    "vp9": ("libvpx-vp9", {"g": "10", "deadline": "realtime", "cpu-used": "8", "b": "500k"}),
    "mpeg4": ("mpeg4", {"g": "10", "bf": "2", "q": "3"}),
    "mpeg2": ("mpeg2video", {"g": "10", "bf": "2", "b": "1M"}),
}
MakeMoving = Callable[[str], Path]


@pytest.fixture
def make_moving(make_video: MakeVideo) -> MakeMoving:
    """Returns a function that writes `FRAMES` moving pictures, encoded as `CODECS` says."""

    def make(codec: str) -> Path:
        encoder, options = CODECS[codec]
        return make_video(moving(FRAMES), codec=encoder, encoding=options)

    return make


def moving(count: int, width: int = 128, height: int = 96) -> list[Picture]:
    """Pictures with a pattern that moves, so that frames depend on those before them."""
    noise = np.random.default_rng(7).integers(0, 255, (height, width + 4 * count, 3), dtype=np.uint8)
    smooth = np.stack([np.roll(noise, shift, 1) for shift in range(8)]).mean(0).astype(np.uint8)
    return [smooth[:, 4 * number : 4 * number + width].copy() for number in range(count)]


def samples_of(file: Path) -> list[tuple[int, int]]:
    """Position and size of each sample of the video, in the order of decoding."""
    with av.open(str(file)) as container:
        entries = container.streams.video[0].index_entries
        return [(entries[number].pos, entries[number].size) for number in range(len(entries))]


def overwrite(
    file: Path, numbers: Iterable[int], content_of: Callable[[int], bytes], part_of: Callable[[int], slice]
) -> Path:
    """Replaces a part of samples, by their size, by as many bytes as `content_of` returns."""
    content = bytearray(file.read_bytes())
    samples = samples_of(file)
    for number in numbers:
        position, size = samples[number]
        start, stop, _ = part_of(size).indices(size)
        content[position + start : position + stop] = content_of(stop - start)
    file.write_bytes(content)
    return file


def whole(size: int) -> slice:
    return slice(size)


def second_half(size: int) -> slice:
    return slice(size // 2, size)


def zero(file: Path, numbers: Iterable[int]) -> Path:
    return overwrite(file, numbers, bytes, whole)


def fill(file: Path, numbers: Iterable[int]) -> Path:
    """Replaces samples by noise."""
    return overwrite(file, numbers, Random(5).randbytes, whole)


def garble(file: Path, numbers: Iterable[int]) -> Path:
    """Replaces the second half of samples by noise."""
    return overwrite(file, numbers, Random(5).randbytes, second_half)


def flip(file: Path, number: int, bit: int) -> Path:
    """Writes a copy in which one bit of a sample is inverted; bits count from its beginning."""
    content = bytearray(file.read_bytes())
    position, _ = samples_of(file)[number]
    content[position + bit // 8] ^= 128 >> bit % 8
    flipped = file.with_name(f"flipped {file.name}")
    flipped.write_bytes(content)
    return flipped


def begin_at(file: Path, number: int) -> Path:
    """Writes a copy without the first `number` packets, whose times begin anew."""
    later = file.with_name(f"later {file.name}")
    with av.open(str(file)) as container, av.open(str(later), "w", format="mp4") as output:
        track = container.streams.video[0]
        copy = output.add_stream_from_template(track, opaque=True)
        packets = [packet for packet in container.demux(track) if packet.dts is not None][number:]
        first = packets[0].dts
        for packet in packets:
            assert first is not None
            assert packet.pts is not None
            assert packet.dts is not None
            packet.pts, packet.dts = packet.pts - first, packet.dts - first
            packet.stream = copy
            output.mux(packet)
    return later


def remove(file: Path, numbers: Iterable[int]) -> Path:
    """Writes the file anew without these samples."""
    left_out = set(numbers)
    shorter = file.with_name(f"shorter {file.name}")
    with av.open(str(file)) as container, av.open(str(shorter), "w", format="mp4") as output:
        track = container.streams.video[0]
        copy = output.add_stream_from_template(track, opaque=True)
        for number, packet in enumerate(container.demux(track)):
            if packet.dts is not None and number not in left_out:
                packet.stream = copy
                output.mux(packet)
    return shorter


def plain_decode(file: Path) -> Found:
    """Decodes with one thread, goes on behind errors, and leaves out what is marked corrupt.

    A decoder that misses a reference may return frames out of order, and one twice: a grey picture first.
    """
    times: list[int] = []
    frames: list[int] = []
    with av.open(str(file)) as container:
        track = container.streams.video[0]
        track.codec_context.thread_count = 1
        track.codec_context.thread_type = "NONE"
        for packet in container.demux(track):
            if packet.pts is not None and not packet.is_discard:
                times.append(packet.pts)
            try:
                pictures = packet.decode()
            except av.error.FFmpegError:
                continue
            frames += [
                picture.pts for picture in pictures if picture.pts is not None and not picture.is_corrupt
            ]
    ranks = {time: rank for rank, time in enumerate(sorted(times))}
    return Found(sorted({ranks[time] for time in frames}), len(times))
