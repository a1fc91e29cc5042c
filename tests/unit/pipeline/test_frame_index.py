"""The index of a frame: of intact videos of every kind it is the number of the frame as it comes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import av.error
import pytest

from tests.support.damage import moving, plain_decode, zero
from tests.support.field_pictures import write_fields
from tests.support.hevc import x265
from tests.support.small_videos import MakeVideo, flat, seconds
from videoqueue.pipeline.decode.coded_frames import frame_test
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.frame_index import FrameNumbers
from videoqueue.pipeline.decode.limits import DecodeLimits

Packet: TypeAlias = "av.Packet[Any]"

B_FRAMES = {"preset": "medium", "g": "10", "x264-params": "bframes=3:scenecut=0"}
Change = Callable[[list[Packet]], list[Packet]]


def read(file: Path, share: float = 0.5) -> tuple[list[int], int]:
    with open_video(file, DecodeLimits(decoded_share=share)) as video:
        return [frame.index for frame in video.frames()], video.damaged_frames


def times_of(file: Path) -> list[float]:
    with open_video(file) as video:
        return [frame.timestamp for frame in video.frames()]


def remux(file: Path, change: Change, options: dict[str, str] | None = None) -> Path:
    """Writes the packets of a file anew, after a change."""
    changed = file.with_name(f"changed {file.name}")
    with (
        av.open(str(file)) as container,
        av.open(str(changed), "w", format="mp4", options=options or {}) as output,
    ):
        track = container.streams.video[0]
        copy = output.add_stream_from_template(track, opaque=True)
        for packet in change([packet for packet in container.demux(track) if packet.dts is not None]):
            packet.stream = copy
            output.mux(packet)
    return changed


def shown_at(packet: Packet) -> int:
    assert packet.pts is not None
    return packet.pts


def decoded_at(packet: Packet) -> int:
    assert packet.dts is not None
    return packet.dts


def earlier(packets: list[Packet], ticks: int) -> list[Packet]:
    """The packets with times that are earlier by so many ticks."""
    for packet in packets:
        packet.pts, packet.dts = shown_at(packet) - ticks, decoded_at(packet) - ticks
    return packets


def as_it_comes(file: Path) -> list[float]:
    """Times of the frames that a plain loop finds, in its order."""
    with av.open(str(file)) as container:
        return [seconds(frame) for frame in container.decode(video=0)]


def test_fields_that_are_packets_of_their_own_make_one_frame(tmp_path: Path) -> None:
    file = write_fields(tmp_path / "fields.mp4", 8)
    assert plain_decode(file).packets == 16

    assert read(file) == (list(range(8)), 0)


@pytest.mark.parametrize(
    ("damaged", "lost"), [([6, 7], [3]), ([6], [3]), ([7], [3]), ([6, 7, 8, 9], [3, 4]), ([7, 8], [3, 4])]
)
def test_a_damaged_field_costs_its_frame(tmp_path: Path, damaged: list[int], lost: list[int]) -> None:
    file = zero(write_fields(tmp_path / "fields.mp4", 8), damaged)

    indexes, count = read(file)

    assert set(range(8)) - set(lost) <= set(indexes)
    assert times_of(file) == [index / 25 for index in indexes]
    assert count == 8 - len(indexes)


def test_packets_in_which_nothing_is_coded_are_no_frames(make_video: MakeVideo) -> None:
    def leave_out(packets: list[Packet]) -> list[Packet]:
        for number in (4, 9):
            # A predicted picture, no whole second, five bits of time (25 a second), not coded.
            time = number % 25
            bits = f"01 0 1 {time:05b} 1 0 1".replace(" ", "")
            data = b"\0\0\1\xb6" + int(f"{bits:<016}".replace(" ", "0"), 2).to_bytes(2, "big")
            empty = av.Packet(data)
            packet = packets[number]
            empty.pts, empty.dts, empty.time_base = packet.pts, packet.dts, packet.time_base
            packets[number] = empty
        return packets

    whole = make_video(moving(12), codec="mpeg4", encoding={"g": "12"})
    file = remux(whole, leave_out)
    assert len(as_it_comes(file)) == 10

    assert read(file) == (list(range(10)), 0)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_video_that_begins_in_the_middle_of_an_open_group_is_counted_from_its_first_frame(
    make_video: MakeVideo, codec: str
) -> None:
    options = {
        "libx264": {
            "preset": "medium",
            "x264-params": "bframes=3:b-adapt=0:open-gop=1:keyint=10:min-keyint=10:scenecut=0",
        },
        "libx265": x265(40, "medium", keyint=12, open_gop=1, bframes=3, scenecut=0),
    }[codec]
    whole = make_video(moving(40), codec=codec, encoding=options)

    def begin_later(packets: list[Packet]) -> list[Packet]:
        keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
        start = keys[1]
        begin = packets[start]
        assert min(map(shown_at, packets[start:])) < shown_at(begin), "no open group"
        return earlier(packets[start:], decoded_at(begin))

    file = remux(whole, begin_later)
    times = as_it_comes(file)
    found = plain_decode(file)
    assert found.packets > 20

    indexes, damaged = read(file)

    assert indexes == list(range(len(indexes)))
    assert times_of(file) == times[-len(indexes) :]
    assert damaged == len(times) - len(indexes)


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize(
    "movflags",
    ["", "frag_every_frame+empty_moov", "frag_keyframe", "dash+frag_keyframe+negative_cts_offsets"],
)
def test_layouts_of_intact_files_are_numbered_as_they_come(
    make_video: MakeVideo, bframes: int, movflags: str
) -> None:
    file = make_video(
        moving(30),
        encoding={"preset": "medium", "x264-params": f"bframes={bframes}:keyint=8"},
        options={"movflags": movflags} if movflags else None,
    )

    assert read(file) == (list(range(30)), 0)
    assert times_of(file) == as_it_comes(file)


def test_frames_of_a_variable_rate_are_numbered_as_they_come(make_video: MakeVideo) -> None:
    times = [0, 1, 40, 41, 42, 500, 2000, 2001, 9000, 9040, 9041, 20000]
    file = make_video(moving(12), times=times, encoding=B_FRAMES)

    assert read(file) == (list(range(12)), 0)
    assert times_of(file) == [time / 1000 for time in times]


@pytest.mark.parametrize("begins", [-14, 9, 15])
def test_frames_that_an_edit_list_cuts_off_are_not_counted(make_video: MakeVideo, begins: int) -> None:
    """Times before zero are written as an edit that begins later; what lies before is decoded, not shown."""

    def shift(packets: list[Packet]) -> list[Packet]:
        return earlier(packets, begins * (packets[1].duration or 512))

    file = remux(make_video(moving(30), encoding=B_FRAMES), shift, {"use_editlist": "1"})
    times = as_it_comes(file)

    assert read(file) == (list(range(len(times))), 0)
    assert times_of(file) == times


def test_damage_behind_an_edit_that_cuts_frames_off_leaves_a_gap_of_its_own(make_video: MakeVideo) -> None:
    def shift(packets: list[Packet]) -> list[Packet]:
        return earlier(packets, 5 * (packets[1].duration or 512))

    file = remux(make_video(moving(30), encoding={"g": "10"}), shift, {"use_editlist": "1"})
    assert len(as_it_comes(file)) == 25

    assert read(zero(file, [2, 12])) == ([index for index in range(25) if index != 7], 1)


def test_pictures_out_of_order_in_a_file_without_their_offsets_come_as_the_decoder_gives_them(
    make_video: MakeVideo,
) -> None:
    """Such files say that pictures are shown in the order of decoding, which is wrong."""

    def forget_offsets(packets: list[Packet]) -> list[Packet]:
        first = decoded_at(packets[0])
        for packet in packets:
            packet.pts = packet.dts = decoded_at(packet) - first
        return packets

    levels = [20 + 6 * number for number in range(30)]
    whole = make_video([flat(64, 48, level) for level in levels], encoding=B_FRAMES)
    file = remux(whole, forget_offsets)
    with av.open(str(file)) as container:
        times = [shown_at(packet) for packet in container.demux(video=0) if packet.dts is not None]
    assert times == sorted(times)

    with open_video(file) as video:
        frames = [(frame.index, float(frame.image().mean())) for frame in video.frames()]

    assert [index for index, _ in frames] == list(range(30))
    assert [level for _, level in frames] == pytest.approx(levels, abs=4)


def test_frames_of_one_time_are_counted(make_video: MakeVideo) -> None:
    numbers = FrameNumbers()
    for pts in (0, 1, 1, 2, 3):
        numbers.add(pts)

    assert [numbers.number(pts, intact=False) for pts in (0, 1, 1, 3)] == [0, 1, 2, 4]


def test_frames_without_a_time_are_counted() -> None:
    numbers = FrameNumbers()
    for pts in (0, None, None, 3, 4):
        numbers.add(pts)

    assert [numbers.number(pts, intact=False) for pts in (0, None, None, 3, 4)] == [0, 1, 2, 3, 4]


def lasting(data: bytes, ticks: int) -> Packet:
    packet = av.Packet(data)
    packet.duration = ticks
    return packet


def test_hidden_pictures_of_vp9_are_no_frames() -> None:
    holds_frame = frame_test("vp9", None)
    hidden = b"\x84\x00\x40\x92\x00"

    assert holds_frame(lasting(b"\x82\x49\x83\x42\x00", 512))  # a key frame that is shown
    assert not holds_frame(lasting(hidden, 1))
    assert holds_frame(lasting(b"\x84\x00\x40\x92\xc9", 512))  # several in one packet
    assert holds_frame(lasting(b"\x88\x00", 512))  # shows an earlier one


def test_a_picture_of_vp9_that_takes_time_or_stands_in_a_fragment_is_not_hidden() -> None:
    """Its header is damaged. Fragments do not say how long a frame lasts."""
    holds_frame = frame_test("vp9", None)
    hidden = b"\x84\x00\x40\x92\x00"

    assert holds_frame(lasting(b"\x82\x49\x83\x42\x00", 512))
    assert holds_frame(lasting(hidden, 512))
    assert holds_frame(lasting(hidden, 0))
    assert holds_frame(bytes(20))  # damaged


def test_a_time_base_does_not_matter(make_video: MakeVideo) -> None:
    numbers = FrameNumbers()
    step = Fraction(1001, 30000)
    times = [round(number * step * 90000) for number in range(100)]
    for pts in times:
        numbers.add(pts)

    assert [numbers.number(pts, intact=False) for pts in times] == list(range(100))
