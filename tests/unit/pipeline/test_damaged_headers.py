"""A damaged header makes a packet seem to hold no frame, or one too many: indices stay right."""

from __future__ import annotations

from pathlib import Path
from random import Random
from shutil import copyfile

import pytest

from tests.support.damage import flip, moving, overwrite, plain_decode, samples_of, second_half, zero
from tests.support.field_pictures import write_fields
from tests.support.hevc import x265
from tests.support.small_videos import MakeVideo
from videoqueue.pipeline.decode.coded_frames import frame_test
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.field_pairs import FieldPairs
from videoqueue.pipeline.decode.frame_index import FrameNumbers
from videoqueue.pipeline.decode.limits import DecodeLimits

FRAMES = 20
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "vp9": ("libvpx-vp9", {"g": "10", "deadline": "realtime", "cpu-used": "8", "b": "500k"}),
    "vp9 with hidden frames": ("libvpx-vp9", {"g": "10", "cpu-used": "5", "lag-in-frames": "16"}),
    "mpeg4": ("mpeg4", {"g": "10", "q": "3"}),
    "mpeg4 with B-frames": ("mpeg4", {"g": "10", "bf": "2", "q": "3"}),
    "mpeg2": ("mpeg2video", {"g": "10", "bf": "2", "b": "1M"}),
}


def read(file: Path) -> tuple[list[tuple[int, int]], int]:
    with open_video(file, DecodeLimits(decoded_share=0.0)) as video:
        frames = [(frame.index, round(25 * frame.timestamp)) for frame in video.frames()]
        return frames, video.damaged_frames


@pytest.mark.parametrize("codec", CODECS)
def test_whatever_bit_of_a_header_is_inverted_each_frame_has_the_index_of_its_time(
    make_video: MakeVideo, codec: str
) -> None:
    encoder, options = CODECS[codec]
    file = make_video(moving(FRAMES), codec=encoder, encoding=options)
    for number in (4, 5, 6, 12):
        for bit in range(64):
            frames, damaged = read(flip(file, number, bit))
            assert [index for index, time in frames if index != time] == [], (number, bit)
            assert len(frames) + damaged == FRAMES, (number, bit)


@pytest.mark.parametrize("numbers", [[10], [0, 1, 2], [17, 18, 19, 20], [5, 15, 25]])
@pytest.mark.parametrize("movflags", ["", "frag_keyframe"])
def test_whole_frames_of_interlaced_h264_are_not_taken_for_fields(
    make_video: MakeVideo, numbers: list[int], movflags: str
) -> None:
    encoding = {"x264-params": "tff=1:keyint=10:bframes=2"}
    file = make_video(moving(40), encoding=encoding, options={"movflags": movflags} if movflags else {})
    for seed in range(6):
        damaged = Path(copyfile(file, file.with_name(f"{seed}.mp4")))
        overwrite(damaged, numbers, Random(seed).randbytes, lambda size: slice(16))
        frames, lost = read(damaged)
        assert len(frames) == len(plain_decode(damaged).ranks), seed
        gaps = {time - index for index, time in frames}
        assert gaps == {frames[0][1] - frames[0][0]}, seed
        assert len(frames) + lost == 40, seed


@pytest.mark.parametrize("open_gop", [0, 1])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_hevc_loses_behind_its_first_frame_moves_no_index(
    make_video: MakeVideo, open_gop: int, number: int
) -> None:
    """The first frame is still held back when the decoder drops all that follow to the next key frame."""
    options = x265(40, "medium", keyint=10, open_gop=open_gop, bframes=3, scenecut=0)
    file = make_video(moving(40), codec="libx265", encoding=options)
    overwrite(file, [number], bytes, second_half)

    frames, lost = read(file)

    assert [(index, time) for index, time in frames if index != time] == []
    assert len(frames) + lost == 40


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4"])
@pytest.mark.parametrize("bframes", ["2", "7"])
def test_whichever_sample_of_mpeg_is_zeroed_each_frame_has_the_index_of_its_time(
    make_video: MakeVideo, codec: str, bframes: str
) -> None:
    """Behind a lost reference the one before comes out late, after B-frames that are shown later."""
    encoding = {"g": "24", "bf": bframes, "q": "3"}
    for number in range(1, 30):
        file = zero(make_video(moving(40), codec=codec, encoding=encoding), [number])
        frames, damaged = read(file)
        assert [(index, time) for index, time in frames if index != time] == [], number
        assert len(frames) + damaged == 40


@pytest.mark.parametrize("number", range(16))
def test_whatever_bit_of_the_header_of_a_field_is_inverted_the_frames_stay_eight(
    tmp_path: Path, number: int
) -> None:
    file = write_fields(tmp_path / "fields.mp4", 8)
    for bit in range(32, 72):
        frames, damaged = read(flip(file, number, bit))
        assert len(frames) + damaged == 8, bit
        # The frame of a lost first field has the time of the second, half a frame later. In a stream without
        # B-frames a slice that claims to be of one (the type is in bits 41 to 47) comes out last.
        assert bit in range(40, 48) or all(index <= time <= index + 1 for index, time in frames), bit


def test_a_recording_that_begins_with_a_second_field_pairs_the_others(tmp_path: Path) -> None:
    file = write_fields(tmp_path / "fields.mp4", 8)
    content = file.read_bytes()
    packets = [content[position : position + size] for position, size in samples_of(file)]
    with open_video(file) as video:
        begins_frame = FieldPairs(video._stream.codec_context.extradata or b"")

    found = [begins_frame(packet) for packet in packets[3:]]

    assert found == [True, True, False, True, False, True, False, True, False, True, False, True, False]


def test_a_plane_of_mpeg4_with_data_behind_it_is_coded() -> None:
    # Twenty-five times a second: five bits of time.
    configuration = bytes.fromhex("000001b001000001b58913000001000000012000c48d8800cd0a041e1443")
    holds_frame = frame_test("mpeg4", configuration)

    def plane(bits: str, rest: bytes = b"") -> bytes:
        size = -(-len(bits) // 8)
        return b"\0\0\1\xb6" + int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big") + rest

    assert not holds_frame(plane("01 0 1 00101 1 0 01111".replace(" ", "")))  # with stuffing
    assert not holds_frame(plane("01 0 1 00101 1 0 01111".replace(" ", ""), b"\x7f"))
    assert not holds_frame(plane("01 10 1 00101 1 0 0111".replace(" ", ""), bytes(4)))
    assert holds_frame(plane("01 0 1 00101 1 1".replace(" ", ""), bytes(20)))
    assert holds_frame(plane("01 0 1 00101 1 0".replace(" ", ""), b"\x34\x18\xc1\xff"))  # data follow
    assert holds_frame(plane("01 0 1 00101 1 0".replace(" ", ""), bytes(500)))  # zeroed from there on
    assert holds_frame(plane("01 0 0 00101 1 0 01111".replace(" ", "")))  # a marker is missing
    assert holds_frame(bytes(500))


def test_a_late_frame_of_a_damaged_video_has_no_index() -> None:
    numbers = FrameNumbers()
    for pts in (0, 2, 4, 6, 8):
        numbers.add(pts)

    assert [numbers.number(pts, intact=False) for pts in (0, 4, 2, 6, 7, 9)] == [0, 2, None, 3, None, 4]
