"""A damaged frame costs that frame, not the video."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from errno import ENOMEM
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import av.error
import pytest

from tests.support.damage import (
    CODECS,
    FRAMES,
    MakeMoving,
    garble,
    moving,
    plain_decode,
    remove,
    samples_of,
    zero,
)
from tests.support.small_videos import MakeVideo, flat
from videoqueue.errors import InvalidVideoError, OutOfMemoryError
from videoqueue.pipeline.decode import packet_decoder
from videoqueue.pipeline.decode.decoder import Frame, open_video
from videoqueue.pipeline.decode.limits import DecodeLimits
from videoqueue.pipeline.definitions.definition import parse
from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.pipeline.service import VideoFilePipelineService

DAMAGES: dict[str, tuple[Callable[[Path, Iterable[int]], Path], list[int]]] = {
    "a sample zeroed": (zero, [15]),
    "a key frame zeroed": (zero, [20]),
    "the first sample of all zeroed": (zero, [0]),
    "four samples zeroed": (zero, [12, 13, 14, 15]),
    "the last sample zeroed": (zero, [FRAMES - 1]),
    "a sample garbled": (garble, [15]),
    "a key frame garbled": (garble, [20]),
    "every fifth sample garbled": (garble, list(range(3, FRAMES, 5))),
    "a sample removed": (remove, [15]),
    "a key frame removed": (remove, [20]),
}
ANY_SHARE = DecodeLimits(decoded_share=0.0)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("codec", CODECS)
def test_the_intact_frames_keep_their_index_and_their_time(
    make_moving: MakeMoving, codec: str, damage: str
) -> None:
    spoil, numbers = DAMAGES[damage]
    whole = make_moving(codec)
    with open_video(whole) as video:
        times = [frame.timestamp for frame in video.frames()]
    file = spoil(whole, numbers)
    found = plain_decode(file)

    with open_video(file, ANY_SHARE) as video:
        frames = [(frame.index, frame.timestamp) for frame in video.frames()]
        damaged = video.damaged_frames

    # Packets in front of the first frame that comes out have no index.
    first = found.ranks[0] - frames[0][0]
    assert [index + first for index, _ in frames] == found.ranks
    assert damaged == found.packets - len(found.ranks)
    if spoil is not remove:
        assert found.packets == FRAMES
        assert [time for _, time in frames] == [times[rank] for rank in found.ranks]


def test_no_damage_is_found_where_there_is_none(make_moving: MakeMoving) -> None:
    for codec in CODECS:
        with open_video(make_moving(codec)) as video:
            assert [frame.index for frame in video.frames()] == list(range(FRAMES))
            assert video.damaged_frames == 0


def test_frames_marked_corrupt_are_left_out(make_moving: MakeMoving) -> None:
    file = garble(make_moving("h264"), [15])
    with av.open(str(file)) as container:
        marked = [picture.is_corrupt for picture in container.decode(video=0)]
    assert any(marked)
    assert len(marked) == FRAMES

    with open_video(file) as video:
        indexes = [frame.index for frame in video.frames()]

    assert indexes == [index for index, corrupt in enumerate(marked) if not corrupt]


def share_of(file: Path, share: float, last_index: int | None = None) -> tuple[list[int], int]:
    with open_video(file, DecodeLimits(decoded_share=share)) as video:
        return [frame.index for frame in video.frames(last_index)], video.damaged_frames


def test_a_video_fails_at_its_end_when_too_few_frames_are_intact(make_video: MakeVideo) -> None:
    file = zero(make_video(moving(10), encoding={"g": "1"}), range(4, 10))
    seen: list[int] = []

    with pytest.raises(InvalidVideoError) as caught, open_video(file) as video:
        seen.extend(frame.index for frame in video.frames())

    assert seen == [0, 1, 2, 3]
    assert caught.value.code == "video_damaged"
    assert str(caught.value) == (
        "The video is damaged. Only 4 of its 10 frames can be decoded; at least 50% must be "
        "(min_decoded_share). Submit an intact copy."
    )
    assert share_of(file, 0.4) == ([0, 1, 2, 3], 6)


def test_half_of_the_frames_are_enough(make_video: MakeVideo) -> None:
    file = zero(make_video(moving(10), encoding={"g": "1"}), range(5, 10))

    assert share_of(file, 0.5) == ([0, 1, 2, 3, 4], 5)


@pytest.mark.parametrize(
    ("last_index", "expected"),
    [
        (1, ([0, 1], 0)),
        (2, ([0, 1], 1)),
        (3, ([0, 1], 2)),
        (4, ([0, 1, 4], 2)),
        (8, ([0, 1, 4, 5, 6, 7, 8], 2)),
        (9, ([0, 1, 4, 5, 6, 7, 8], 3)),
        (99, ([0, 1, 4, 5, 6, 7, 8], 3)),
    ],
)
def test_only_frames_up_to_the_last_wanted_one_count(
    make_video: MakeVideo, last_index: int, expected: tuple[list[int], int]
) -> None:
    file = zero(make_video(moving(10), encoding={"g": "1"}), [2, 3, 9])

    assert share_of(file, 0.5, last_index) == expected


@pytest.mark.parametrize("codec", CODECS)
def test_a_video_without_any_intact_frame_is_damaged(make_moving: MakeMoving, codec: str) -> None:
    file = zero(make_moving(codec), range(FRAMES))

    with (
        pytest.raises(InvalidVideoError, match="Its 40 frames cannot be decoded") as caught,
        open_video(file) as video,
    ):
        list(video.frames())

    assert caught.value.code == "video_damaged"


def test_frames_behind_a_damaged_packet_of_several_are_decoded(make_moving: MakeMoving) -> None:
    """In VP9 the first of them is hidden. Without a key frame the decoder refuses it, and keeps the other."""
    file = make_moving("vp9")
    content = file.read_bytes()
    ends = [content[position + size - 1] for position, size in samples_of(file)]
    assert any(end >> 5 == 0b110 for end in ends[10:20])

    assert share_of(zero(file, [0, 10]), 0.0) == (list(range(20)), 20)


class NoMemory:
    """A filter of packets that cannot allocate."""

    def __init__(self, *_: object) -> None: ...

    def filter(self, packet: object) -> None:
        raise av.error.MemoryError(ENOMEM, "Cannot allocate memory")

    def flush(self) -> None: ...


def test_a_packet_of_several_frames_that_cannot_be_split_for_lack_of_memory_is_no_damage(
    make_moving: MakeMoving, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_moving("vp9")
    monkeypatch.setattr(packet_decoder, "BitStreamFilterContext", NoMemory)

    with (
        pytest.raises(OutOfMemoryError, match="cannot be decoded: it needs more memory"),
        open_video(file) as video,
    ):
        list(video.frames())


def test_a_sample_without_data_ends_nothing(make_video: MakeVideo) -> None:
    file = make_video([flat(64, 48, 20 * number) for number in range(10)], encoding={"g": "1"})
    content = bytearray(file.read_bytes())
    sizes = content.index(b"stsz") + 16
    # Sizes of the sixth and seventh sample: all of it belongs to the one, none to the other.
    sixth = int.from_bytes(content[sizes + 20 : sizes + 24], "big")
    seventh = int.from_bytes(content[sizes + 24 : sizes + 28], "big")
    content[sizes + 20 : sizes + 28] = (sixth + seventh).to_bytes(4, "big") + bytes(4)
    file.write_bytes(content)

    with open_video(file) as video:
        levels = [round(float(frame.image().mean()), -1) for frame in video.frames()]

    assert levels[:5] + levels[-3:] == [0, 20, 40, 60, 80, 140, 160, 180]


MEAN = parse(
    {
        "id": "mean",
        "description": "The mean of a frame's pixels.",
        "nodes": [{"id": "measure", "plugin": "mean", "tool": "measure"}],
        "edges": [],
        "entry_nodes": ["measure"],
        "output_nodes": ["measure"],
    }
)


class Mean:
    manifest = Manifest("mean", "1", {"measure": Tool({"image": "image"}, {"mean": "number"})})

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"mean": float(inputs["image"].mean())}


def service(threads: int) -> VideoFilePipelineService:
    registry = PluginRegistry(PluginOptions(), {"mean": lambda _: Mean()})
    return VideoFilePipelineService({"mean": MEAN}, registry, ANY_SHARE, inference_threads=threads)


@pytest.mark.parametrize("damage", ["a key frame zeroed", "every fifth sample garbled", "a sample removed"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_video_gives_the_same_with_any_number_of_threads_and_when_resumed(
    make_moving: MakeMoving, codec: str, damage: str
) -> None:
    spoil, numbers = DAMAGES[damage]
    file = spoil(make_moving(codec), numbers)
    whole = service(1).run_on_file(file, "mean", frame_stride=2, max_frames=18)

    for threads in (1, 2, 4):
        for stored in (0, 5, len(whole) - 1, len(whole)):
            last = whole[stored - 1]["frame_index"] if stored else None
            rest = list(service(threads).iter_file(file, "mean", 2, 18, start_after=last))
            assert whole[:stored] + rest == whole


@pytest.mark.parametrize("damage", ["every fifth sample garbled", "a key frame garbled"])
@pytest.mark.parametrize("codec", CODECS)
def test_the_pixels_of_a_damaged_video_do_not_depend_on_how_long_frames_are_held(
    make_moving: MakeMoving, codec: str, damage: str
) -> None:
    """As long as threads work on them; what a decoder did not write would be left from an earlier frame."""
    spoil, numbers = DAMAGES[damage]
    file = spoil(make_moving(codec), numbers)
    found = []
    for most in (0, 2, 3, 5, FRAMES):
        held: deque[Frame] = deque(maxlen=most)
        with open_video(file, ANY_SHARE) as video:
            pictures = []
            for frame in video.frames():
                held.append(frame)
                pictures.append((frame.index, sha256(frame.image().tobytes()).hexdigest()))
        found.append(pictures)

    assert found == found[:1] * 5


def test_a_limit_on_frames_is_a_limit_on_their_index(make_video: MakeVideo) -> None:
    file = zero(make_video(moving(10), encoding={"g": "1"}), [2, 4])

    items = service(1).run_on_file(file, "mean", frame_stride=2, max_frames=4)

    assert [item["frame_index"] for item in items] == [0, 6]
