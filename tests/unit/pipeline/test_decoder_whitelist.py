"""Which of FFmpeg's decoders a file can reach: those of the codecs that are read, and no other."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest
from av.codec.codec import Codec, UnknownCodecError

from tests.support.small_videos import flat
from tests.support.video_stream import add_video_stream
from videoqueue.pipeline.decode.decoder import CODECS, DECODERS, open_video

# Sample entries of codecs that are not read, as FFmpeg's MP4 demuxer knows them.
PICTURES = [
    b"png ", b"tiff", b"apcn", b"AVdn", b"FFV1", b"mjp2", b"rle ", b"raw ", b"cvid", b"SVQ1", b"SVQ3",
    b"mjpa", b"jpeg", b"vp08", b"dvc ", b"gif ", b"8BPS", b"smc ", b"rpza", b"qdrw", b"v210", b"hap1",
    b"icod", b"cfhd", b"vc-1", b"drac", b"VP60",
]  # fmt: skip
SOUNDS = [b"mp4a", b"alac", b"ac-3", b"ec-3", b"Opus", b"fLaC", b".mp3", b"sowt", b"samr", b"ulaw", b"ima4",
          b"QDM2", b"QDMC", b"dtsc", b"mlpa", b"MAC3", b"agsm", b"in24", b"fl32", b"Qclp"]  # fmt: skip
# The line of a parser, which looks at the first ten bytes of a packet; parsers carry their decoder's name.
PARSER = ("vp8", "Invalid sync code")
# What an `esds` may name instead: object types of ISO/IEC 14496-1, 7.2.6.6.
OBJECT_TYPES = {b"mp4v": [0x6C, 0x6D, 0x6E], b"mp4a": [0x69, 0x6B, 0xA5, 0xA9, 0xE1]}


def write_two_tracks(file: Path, second: str) -> None:
    """A good h264 track of six frames, and a second track of the codec `second`, filled with noise."""
    noise = np.random.default_rng(1)
    with av.open(str(file), "w", format="mp4") as output:
        good = output.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p")
        other: av.AudioStream | av.VideoStream = (
            output.add_stream("aac", rate=48000, layout="stereo")
            if second == "aac"
            else add_video_stream(output, second, rate=25, width=64, height=48, pix_fmt="yuv420p")
        )
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(flat(64, 48, 20 + 10 * number), format="bgr24")
            output.mux(good.encode(frame))
            if isinstance(other, av.AudioStream):
                samples = noise.uniform(-1, 1, (2, 1024)).astype(np.float32)
                tone = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
                tone.sample_rate, tone.pts, tone.time_base = 48000, 1024 * number, Fraction(1, 48000)
                output.mux(other.encode(tone))
            else:
                picture = noise.integers(0, 255, (48, 64, 3), dtype=np.uint8)
                output.mux(other.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        output.mux(good.encode())
        output.mux(other.encode())


def lines_of_other_decoders(file: Path) -> list[tuple[int, str, str]]:
    """Reads the good track; FFmpeg's log, without the lines of what may be reached."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.DEBUG)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=False) as log, open_video(file) as video:
            assert len(list(video.frames())) == 6
    finally:
        av.logging.set_level(before)
        av.logging.set_skip_repeated(True)
    foreign = {name for name in av.codec.codecs_available if name not in DECODERS}
    refused = [line for line in log if "not on whitelist" in line[2]]
    others = [
        line
        for line in log
        if line[1] in foreign and line not in refused and not (line[1] == PARSER[0] and PARSER[1] in line[2])
    ]
    assert others or refused, "FFmpeg did not try the second track"
    return others


@pytest.fixture(scope="module")
def two_tracks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    file = tmp_path_factory.mktemp("tracks") / "two.mp4"
    made = {}
    for codec in ("mpeg4", "aac"):
        write_two_tracks(file, codec)
        made[codec] = file.read_bytes()
    return made


def retag(content: bytes, before: bytes, after: bytes) -> bytes:
    """The second track under another name; its `esds` would overrule it, and becomes padding."""
    at = content.index(before, content.index(b"stsd", content.rindex(b"trak")))
    return content[:at] + after + content[at + 4 :].replace(b"esds", b"free")


def with_object_type(content: bytes, number: int) -> bytes:
    at = content.index(b"\x04", content.index(b"esds", content.rindex(b"trak")) + 8)
    descriptor = content.index(b"\x80\x80\x80", at) + 4
    return content[:descriptor] + bytes([number]) + content[descriptor + 1 :]


@pytest.mark.parametrize("tag", PICTURES, ids=lambda tag: tag.decode())
def test_a_second_picture_track_reaches_no_other_decoder(
    tmp_path: Path, two_tracks: dict[str, bytes], tag: bytes
) -> None:
    file = tmp_path / "two.mp4"
    file.write_bytes(retag(two_tracks["mpeg4"], b"mp4v", tag))

    assert lines_of_other_decoders(file) == []


@pytest.mark.parametrize("tag", SOUNDS, ids=lambda tag: tag.decode())
def test_a_sound_track_reaches_no_decoder(tmp_path: Path, two_tracks: dict[str, bytes], tag: bytes) -> None:
    file = tmp_path / "two.mp4"
    file.write_bytes(retag(two_tracks["aac"], b"mp4a", tag))

    assert lines_of_other_decoders(file) == []


@pytest.mark.parametrize(
    ("tag", "number"), [(tag, number) for tag, numbers in OBJECT_TYPES.items() for number in numbers]
)
def test_a_track_described_as_another_codec_reaches_no_other_decoder(
    tmp_path: Path, two_tracks: dict[str, bytes], tag: bytes, number: int
) -> None:
    file = tmp_path / "two.mp4"
    file.write_bytes(with_object_type(two_tracks["mpeg4" if tag == b"mp4v" else "aac"], number))

    assert lines_of_other_decoders(file) == []


def test_the_list_has_the_software_decoders_of_the_codecs_alone() -> None:
    reachable = {}
    for name in av.codec.codecs_available:
        try:
            codec = Codec(name, "r")
        except UnknownCodecError:
            continue
        if codec.name in DECODERS:
            reachable[codec.name] = codec.canonical_name

    assert set(reachable.values()) == set(CODECS)
    assert not any("_" in name for name in reachable), "a decoder of some hardware"
