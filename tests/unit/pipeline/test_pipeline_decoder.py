from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.hevc import x265
from tests.support.mp4_boxes import encode
from tests.support.small_videos import MakeVideo, Picture, flat
from videoqueue.errors import InvalidVideoError, OutOfMemoryError
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.frame import Frame, Look
from videoqueue.pipeline.decode.limits import DecodeLimits

ONE = 1 << 16
LAST = 1 << 30


def steps(count: int, width: int = 64, height: int = 48) -> list[Picture]:
    return [flat(width, height, 20 + 10 * number) for number in range(count)]


def read(file: Path, max_pixels: int | None = None, threads: int = 1) -> list[tuple[int, float, int]]:
    with open_video(file, DecodeLimits(pixels=max_pixels), threads) as video:
        return [(frame.index, frame.timestamp, int(frame.image().mean())) for frame in video.frames()]


def fault_of(file: Path, max_pixels: int | None = None) -> tuple[str, str]:
    with pytest.raises(InvalidVideoError) as caught:
        read(file, max_pixels)
    assert not re.search(r"/|Error|avcodec|Errno|None", str(caught.value))
    return caught.value.code, str(caught.value)


def test_every_frame_has_its_index_its_time_and_its_own_picture(make_video: MakeVideo) -> None:
    frames = read(make_video(steps(12)))

    assert [(index, time) for index, time, _ in frames] == [(n, round(n / 25, 6)) for n in range(12)]
    assert [level for *_, level in frames] == pytest.approx([20 + 10 * n for n in range(12)], abs=3)


KINDS = {
    "hevc": ("libx265", "yuv420p", x265(12, crf=10, bframes=4)),
    "hevc, 10 bit": ("libx265", "yuv420p10le", x265(12, crf=10, bframes=4)),
    "vp9": ("libvpx-vp9", "yuv420p", {"crf": "10", "b": "0", "deadline": "realtime", "cpu-used": "8"}),
    "av1": ("libsvtav1", "yuv420p", {"preset": "12", "crf": "10", "svtav1-params": "lp=1"}),
    "av1, 10 bit": ("libsvtav1", "yuv420p10le", {"preset": "12", "crf": "10", "svtav1-params": "lp=1"}),
    "h264, 10 bit": ("libx264", "yuv420p10le", {}),
    "h264, interlaced": ("libx264", "yuv420p", {"x264-params": "interlaced=1:tff=1"}),
    "h264, pictures out of order": ("libx264", "yuv420p", {"preset": "medium", "x264-params": "bframes=3"}),
    "mpeg2, interlaced": ("mpeg2video", "yuv420p", {"flags": "+ilme+ildct", "q": "2", "b": "4M"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_video_gives_every_frame_once_in_order(make_video: MakeVideo, kind: str) -> None:
    codec, pixels, encoding = KINDS[kind]
    frames = read(make_video(steps(12, 128, 96), codec=codec, pixels=pixels, encoding=encoding))

    assert [(index, time) for index, time, _ in frames] == [(n, round(n / 25, 6)) for n in range(12)]
    assert [level for *_, level in frames] == pytest.approx([20 + 10 * n for n in range(12)], abs=4)


def test_times_come_from_the_container_and_not_from_a_frame_rate(make_video: MakeVideo) -> None:
    file = make_video(steps(5), times=[0, 40, 500, 510, 1900])

    assert [time for _, time, _ in read(file)] == [0.0, 0.04, 0.5, 0.51, 1.9]


def test_frames_declared_and_duration_are_known_before_decoding(make_video: MakeVideo) -> None:
    with open_video(make_video(steps(10))) as video:
        assert (video.declared_frames, video.duration) == (10, 0.4)


@pytest.mark.parametrize("layout", ["frag_every_frame+empty_moov", "frag_every_frame"])
def test_a_fragmented_file_declares_no_frames_and_gives_them_all(make_video: MakeVideo, layout: str) -> None:
    file = make_video(steps(10), options={"movflags": layout})

    with open_video(file) as video:
        assert video.declared_frames == 0
        assert len(list(video.frames())) == 10


def test_a_video_of_one_frame_is_a_video(make_video: MakeVideo) -> None:
    assert [(index, time) for index, time, _ in read(make_video(steps(1)))] == [(0, 0.0)]


def test_two_threads_give_what_one_gives(make_video: MakeVideo) -> None:
    file = make_video(steps(20))

    assert read(file, threads=2) == read(file)


def test_pixels_are_blue_green_red_and_lie_together(make_video: MakeVideo) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[:, :, 2] = 200

    with open_video(make_video([red])) as video:
        image = next(video.frames()).image()

    assert image[24, 32] == pytest.approx([0, 0, 200], abs=6)
    assert (image.dtype, image.flags.c_contiguous) == (np.dtype(np.uint8), True)


@pytest.mark.parametrize(("width", "aspect"), [(66, None), (854, None), (64, (4, 3)), (80, (32, 11))])
def test_rows_lie_together_at_every_width(
    make_video: MakeVideo, width: int, aspect: tuple[int, int] | None
) -> None:
    """FFmpeg pads the rows of a picture whose width is no multiple of 16."""
    with open_video(make_video([flat(width, 48, 90)])) as video:
        picture = next(video.frames())._picture

    image = Frame(0, 0.0, picture, Look(pixel_aspect=aspect), 1).image()

    assert image.flags.c_contiguous


@pytest.mark.parametrize(("codec", "pixels"), [("libx264", "yuv444p"), ("mpeg4", "yuv420p")])
def test_odd_sizes_keep_every_row_and_column(make_video: MakeVideo, codec: str, pixels: str) -> None:
    with open_video(make_video(steps(3, 175, 99), codec=codec, pixels=pixels)) as video:
        assert [frame.image().shape for frame in video.frames()] == [(99, 175, 3)] * 3


# The picture is 64 wide, 32 high and bright at its top left; where a player shows that corner:
TURNS = {
    "nothing": ([ONE, 0, 0, 0, ONE, 0, 0, 0, LAST], (32, 64), "top left"),
    "a quarter turn to the right": ([0, ONE, 0, -ONE, 0, 0, 0, 0, LAST], (64, 32), "top right"),
    "a half turn": ([-ONE, 0, 0, 0, -ONE, 0, 0, 0, LAST], (32, 64), "bottom right"),
    "a quarter turn to the left": ([0, -ONE, 0, ONE, 0, 0, 0, 0, LAST], (64, 32), "bottom left"),
    "left and right swapped": ([-ONE, 0, 0, 0, ONE, 0, 0, 0, LAST], (32, 64), "top right"),
    "upside down": ([ONE, 0, 0, 0, -ONE, 0, 0, 0, LAST], (32, 64), "bottom left"),
    "a quarter turn, mirrored": ([0, ONE, 0, ONE, 0, 0, 0, 0, LAST], (64, 32), "top left"),
    "a quarter turn, mirrored the other way": (
        [0, -ONE, 0, -ONE, 0, 0, 0, 0, LAST],
        (64, 32),
        "bottom right",
    ),
    "an odd angle": ([46340, 46340, 0, -46340, 46340, 0, 0, 0, LAST], (32, 64), "top left"),
    "a matrix of zeros": ([0] * 9, (32, 64), "top left"),
}


@pytest.mark.parametrize("turn", TURNS)
def test_pictures_stand_as_a_player_shows_them(make_video: MakeVideo, turn: str) -> None:
    matrix, shape, corner = TURNS[turn]
    picture = flat(64, 32, 20)
    picture[:8, :8] = 230

    with open_video(make_video([picture], matrix=matrix)) as video:
        image = next(video.frames()).image()

    rows = {"top": slice(0, 6), "bottom": slice(-6, None)}
    columns = {"left": slice(0, 6), "right": slice(-6, None)}
    levels = {f"{y} {x}": image[rows[y], columns[x]].mean() for y in rows for x in columns}
    assert image.shape[:2] == shape
    assert max(levels, key=lambda name: levels[name]) == corner


def test_metadata_that_is_no_utf_8_does_no_harm(make_video: MakeVideo) -> None:
    file = make_video(steps(2), metadata={"title": "AAAAAAAA"})
    content = file.read_bytes()
    assert b"AAAAAAAA" in content
    file.write_bytes(content.replace(b"AAAAAAAA", b"\xe9" * 8))

    assert len(read(file)) == 2


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("layout", ["faststart", "", "frag_keyframe+empty_moov+default_base_moof"])
def test_a_file_that_was_cut_off_says_so(make_video: MakeVideo, layout: str, kept: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (8, 48, 64, 3), dtype=np.uint8)
    file = make_video(list(noise), options={"movflags": layout} if layout else None)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])

    code, text = fault_of(file)

    assert (code, "cut off" in text) == ("truncated_mp4", True)


def test_a_file_without_the_samples_it_declares_is_cut_off(make_video: MakeVideo) -> None:
    file = make_video(steps(4), options={"movflags": "faststart"})
    content = file.read_bytes()
    file.write_bytes(content[: content.index(b"mdat") - 4])

    with pytest.raises(InvalidVideoError, match="cut off: it declares") as caught, open_video(file):
        pytest.fail("it opened")
    assert caught.value.code == "truncated_mp4"


def test_bytes_behind_the_video_do_no_harm(make_video: MakeVideo) -> None:
    file = make_video(steps(4))
    file.write_bytes(file.read_bytes() + b"\xff\xff\xff\xffSEFT" + bytes(50))

    assert len(read(file)) == 4


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.mp4"
    file.write_bytes(b"")

    assert fault_of(file)[0] == "file_empty"


@pytest.mark.parametrize(
    "content", [b"not a video at all" * 50, b"\x00", b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(500)]
)
def test_what_is_no_mp4_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.mp4"
    file.write_bytes(content)

    assert fault_of(file)[0] == "not_mp4"


def test_a_playlist_cannot_make_another_file_be_read(make_video: MakeVideo, tmp_path: Path) -> None:
    make_video(steps(2), name="secret.mp4")
    playlist = tmp_path / "playlist.mp4"
    playlist.write_text("ffconcat version 1.0\nfile secret.mp4\n")

    assert fault_of(playlist)[0] == "not_mp4"


def test_a_name_that_looks_like_a_url_is_a_file_name(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_video(steps(2), name="concat:a?b&c='.mp4")
    monkeypatch.chdir(file.parent)

    assert len(read(Path(file.name))) == 2


def test_a_missing_file_is_not_called_a_bad_video(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_video(tmp_path / "none.mp4"):
        pass


def write_sound(file: Path, cover: bool) -> None:
    with av.open(str(file), "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=44100, layout="mono")
        picture = (
            output.add_stream("mjpeg", rate=1, width=64, height=48, pix_fmt="yuvj420p") if cover else None
        )
        if picture is not None:
            picture.disposition = av.stream.Disposition.attached_pic
            output.mux(picture.encode(av.VideoFrame.from_ndarray(flat(64, 48, 100), format="bgr24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        output.mux(sound.encode(silence))
        output.mux(sound.encode())


@pytest.mark.parametrize("cover", [False, True])
def test_sound_with_or_without_a_cover_picture_is_no_video(tmp_path: Path, cover: bool) -> None:
    file = tmp_path / "song.mp4"
    write_sound(file, cover)
    with av.open(str(file)) as container:
        assert len(container.streams.video) == int(cover)

    assert fault_of(file)[0] == "no_video_track"


def test_a_codec_that_is_not_on_the_list_is_refused_by_name(make_video: MakeVideo) -> None:
    code, text = fault_of(make_video(steps(2), codec="png", pixels="rgb24"))

    assert (code, "codec png is not read" in text, "h264" in text) == ("unsupported_video", True, True)


def test_an_encrypted_video_is_refused(make_video: MakeVideo) -> None:
    protection = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "11" * 16,
        "encryption_kid": "22" * 16,
    }

    code, text = fault_of(make_video(steps(8), options=protection))

    assert (code, "encrypted" in text) == ("unsupported_video", True)


def test_a_video_of_damaged_pictures_alone_is_called_damaged(make_video: MakeVideo) -> None:
    file = make_video(steps(4))
    content = bytearray(file.read_bytes())
    start = content.index(b"mdat") + 4
    content[start : content.index(b"moov") - 4] = bytes(content.index(b"moov") - 4 - start)
    file.write_bytes(content)

    code, text = fault_of(file)

    assert (code, "Its 4 frames cannot be decoded" in text) == ("video_damaged", True)


def test_the_pixel_limit_is_exact(make_video: MakeVideo) -> None:
    file = make_video(steps(2, 100, 90))

    assert len(read(file, max_pixels=9000)) == 2
    code, text = fault_of(file, max_pixels=8999)
    assert (code, text.startswith("The video has 100x90 = 9000 pixels")) == ("limit_exceeded", True)


def write_growing(file: Path, codec: str, larger: tuple[int, int]) -> Path:
    """Two frames of 64x48, then two larger ones; the header knows only the first size."""
    options = {
        "libx264": {"preset": "ultrafast", "x264-params": "repeat-headers=1:keyint=1"},
        "libsvtav1": {"preset": "12"},
    }.get(codec, {})
    with av.open(str(file), "w", format="mp4") as output:
        stream = output.add_stream(codec, rate=25, width=64, height=48, pix_fmt="yuv420p", options=options)
        packets = []
        for width, height in ((64, 48), larger):
            encoder = av.CodecContext.create(codec, "w")
            assert isinstance(encoder, av.VideoCodecContext)
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.options = Fraction(1, 25), options
            for picture in steps(2, width, height):
                packets += encoder.encode(av.VideoFrame.from_ndarray(picture, format="bgr24"))
            packets += encoder.encode(None)
        for number, packet in enumerate(packets):
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            output.mux(packet)
    return file


def test_the_pixel_limit_holds_when_the_size_changes_on_the_way(tmp_path: Path) -> None:
    file = write_growing(tmp_path / "grows.mp4", "mpeg2video", (128, 96))

    with open_video(file) as video:
        assert {frame.image().shape[:2] for frame in video.frames()} == {(48, 64), (96, 128)}
    code, text = fault_of(file, max_pixels=64 * 48)
    assert (code, " has 128x96 = 12288 pixels" in text) == ("limit_exceeded", True)


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264", "mpeg4"])
def test_a_size_that_the_decoder_itself_refuses_names_the_limit(tmp_path: Path, codec: str) -> None:
    """Far above the limit no picture is made at all."""
    file = write_growing(tmp_path / "grows.mp4", codec, (1920, 1088))

    code, text = fault_of(file, max_pixels=64 * 48)

    assert (code, "max_pixels" in text) == ("limit_exceeded", True)
    assert text.startswith("Frame ")


def test_the_frame_limit_counts_decoded_frames(make_video: MakeVideo) -> None:
    file = make_video(steps(5))

    with open_video(file, DecodeLimits(frames=5)) as video:
        assert len(list(video.frames())) == 5
    seen: list[int] = []
    with (
        pytest.raises(InvalidVideoError, match=r"more than 4 frames \(max_frames\)"),
        open_video(file, DecodeLimits(frames=4)) as video,
    ):
        seen.extend(frame.index for frame in video.frames())
    # The frames before it came out: the limit is not taken from the header.
    assert seen == [0, 1, 2, 3]


def test_the_limit_of_tracks(tmp_path: Path) -> None:
    file = tmp_path / "tracks.mp4"
    file.write_bytes(encode(audio="aac"))

    with (
        pytest.raises(InvalidVideoError, match=r"2 tracks; at most 1 are accepted \(max_streams\)"),
        open_video(file, DecodeLimits(streams=1)),
    ):
        pytest.fail("it opened")
    with open_video(file, DecodeLimits(streams=2)) as video:
        assert len(list(video.frames())) == 5


def test_an_encrypted_file_that_cannot_be_opened_is_called_encrypted(
    make_video: MakeVideo,
) -> None:
    protection = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "11" * 16,
        "encryption_kid": "22" * 16,
    }
    file = make_video(steps(8), options=protection)
    content = file.read_bytes()
    count = content.index(b"senc") + 8  # how many samples have a vector of their own
    file.write_bytes(content[:count] + b"\x00\x00\xff\xff" + content[count + 4 :])

    code, text = fault_of(file)

    assert (code, "encrypted (DRM)" in text) == ("unsupported_video", True)


def test_a_failed_allocation_is_told_from_a_bad_video(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    file = make_video(steps(1))
    monkeypatch.setattr(av, "open", fails)

    with pytest.raises(OutOfMemoryError, match="more memory than there is"), open_video(file):
        pytest.fail("it opened")


READ_IN_LITTLE_MEMORY = """
import resource, sys
from videoqueue.errors import NoFrameError
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.frame import Frame, Look
resource.setrlimit(resource.RLIMIT_DATA, (400 << 20, 400 << 20))
try:
    with open_video(sys.argv[1]) as video:
        list(video.frames())
except NoFrameError:
    # Not ru_maxrss, which a process inherits from the one that started it.
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_a_file_of_few_frames_that_claims_millions_ends_in_an_error(make_video: MakeVideo) -> None:
    file = make_video(steps(2), options={"movflags": "faststart"})
    content = bytearray(file.read_bytes())
    for box, values in (
        (b"stsz", (1, 20_000_000)),
        (b"stts", (1, 20_000_000, 1)),
        (b"stsc", (1, 1, 20_000_000, 1)),
    ):
        struct.pack_into(f">{len(values)}I", content, content.index(box) + 8, *values)
    file.write_bytes(content)
    os.truncate(file, 30_000_000)  # as long as the samples that it claims, or it counts as cut off

    done = subprocess.run(
        [sys.executable, "-c", READ_IN_LITTLE_MEMORY, str(file)], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 500 << 10  # KiB
