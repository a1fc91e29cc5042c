"""The gate in front of FFmpeg, fed with files that PyAV made and with boxes built by hand."""

from __future__ import annotations

import struct
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import MAX_BOXES, MAX_SAMPLES, MAX_TRACKS, Mp4Check, Mp4Info

MAX_PIXELS = 8192 * 4320


def encode(codec="libx264", container="mp4", frames=5, size=(64, 48), audio=None, options=None) -> bytes:
    """A small real video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made"
        with av.open(str(path), "w", format=container, options=options or {}) as output:
            encode_into(output, codec, frames, size, audio)
        return path.read_bytes()


def encode_into(output, codec, frames, size, audio) -> None:
    stream = output.add_stream(codec, rate=25)
    stream.width, stream.height = size
    stream.pix_fmt = "rgb24" if codec in ("png", "rawvideo") else "yuv420p"
    sound = output.add_stream(audio, rate=48000) if audio else None
    for number in range(frames):
        picture = np.full((size[1], size[0], 3), number * 40 % 256, np.uint8)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    output.mux(stream.encode())
    if sound:
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        silence.sample_rate = 48000
        output.mux(sound.encode(silence))
        output.mux(sound.encode())


@cache
def sample(layout: str) -> bytes:
    if layout == "fragmented":
        return encode(options={"movflags": "frag_every_frame+empty_moov"})
    if layout == "moov-first":
        return encode(audio="aac", options={"movflags": "faststart"})
    return encode()


LAYOUTS = ("moov-last", "fragmented", "moov-first")


def check(data: bytes, piece: int = 1 << 16, max_pixels: int = MAX_PIXELS) -> Mp4Info:
    walk = Mp4Check(max_pixels)
    for start in range(0, len(data), piece):
        walk.feed(data[start : start + piece])
    return walk.finish()


def fault(data: bytes, **options: int) -> tuple[str, str]:
    with pytest.raises(InvalidVideoError) as caught:
        check(data, **options)
    return caught.value.code, str(caught.value)


def box(kind: bytes, *content: bytes, large: bool = False) -> bytes:
    body = b"".join(content)
    if large:
        return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *numbers: int, rest: bytes = b"") -> bytes:
    """A box with version and flags 0 in front of 32-bit numbers."""
    return box(kind, struct.pack(f">{1 + len(numbers)}I", 0, *numbers), rest)


FTYP = box(b"ftyp", b"isom\0\0\2\0isom")


def hdlr(handler: bytes, component: bytes = b"\0\0\0\0") -> bytes:
    return box(b"hdlr", bytes(4), component, handler, bytes(12), b"\0")


def tkhd(width: int = 64, height: int = 48, track_id: int = 1, version: int = 0) -> bytes:
    times = struct.pack(">QQIIQ" if version else ">IIIII", 0, 0, track_id, 0, 0)
    return box(
        b"tkhd", bytes([version, 0, 0, 7]), times, bytes(52), struct.pack(">II", width << 16, height << 16)
    )


def entry(kind: bytes = b"avc1", width: int = 64, height: int = 48, inside: bytes = b"") -> bytes:
    return box(kind, bytes(24), struct.pack(">HH", width, height), bytes(50), inside)


def stsd(*entries: bytes) -> bytes:
    return full(b"stsd", len(entries), rest=b"".join(entries))


def tables(sizes: tuple[int, ...] = (10, 10), offset: int = 0) -> bytes:
    return b"".join(
        (
            full(b"stts", 1, len(sizes), 1000),
            full(b"stsc", 1, 1, len(sizes), 1),
            full(b"stsz", 0, len(sizes), *sizes),
            full(b"stco", 1, offset),
        )
    )


def trak(stbl: bytes, handler: bytes = b"vide", head: bytes | None = None, more: bytes = b"") -> bytes:
    media = box(b"mdia", hdlr(handler), box(b"minf", box(b"stbl", stbl)))
    return box(b"trak", tkhd() if head is None else head, media, more)


def movie(*traks: bytes, data: int = 100) -> bytes:
    return FTYP + box(b"mdat", bytes(data)) + box(b"moov", *traks)


GOOD = trak(stsd(entry()) + tables())


# What is accepted


@pytest.mark.parametrize(
    ("codec", "expected", "fourcc"),
    [
        ("libx264", "h264", "avc1"),
        ("libx265", "hevc", "hev1"),
        ("libsvtav1", "av1", "av01"),
        ("libvpx-vp9", "vp9", "vp09"),
        ("mpeg4", "mpeg4", "mp4v"),
        ("mpeg2video", "mpeg2video", "mp4v"),
    ],
)
def test_every_allowed_codec_passes_with_its_name_size_and_frames(codec, expected, fourcc):
    data = encode(codec)
    assert check(data) == Mp4Info(
        codec=expected,
        fourcc=fourcc,
        width=64,
        height=48,
        samples=5,
        tracks=1,
        fragmented=False,
        size=len(data),
    )


def test_h263_passes_in_a_3gp_file():
    info = check(encode("h263", "3gp", size=(176, 144)))
    assert (info.codec, info.fourcc, info.samples) == ("h263", "s263", 5)


@pytest.mark.parametrize("audio", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_sound_beside_the_picture_passes(container, audio):
    info = check(encode(container=container, audio=audio))
    assert (info.codec, info.samples, info.tracks) == ("h264", 5, 2)


def test_fragments_are_counted():
    info = check(sample("fragmented"))
    assert (info.samples, info.fragmented) == (5, True)


@pytest.mark.parametrize("rest", [b"\r\n", bytes(3), bytes(4096), b"PK\x03\x04" + bytes(40), b"\xff" * 30])
def test_bytes_behind_the_last_box_are_ignored(rest):
    assert check(sample("moov-last") + rest).samples == 5


def test_a_file_without_ftyp_passes_as_old_quicktime_wrote_it():
    assert check(box(b"wide") + movie(GOOD)[len(FTYP) :]).samples == 2


def test_the_last_box_may_go_on_to_the_end_of_the_file():
    head = FTYP + box(b"moov", GOOD)
    assert check(head + struct.pack(">I4s", 0, b"mdat") + bytes(100)).samples == 2
    assert check(FTYP + box(b"mdat", bytes(100)) + struct.pack(">I4s", 0, b"moov") + GOOD).samples == 2


def test_sizes_of_64_bits_pass():
    assert check(FTYP + box(b"mdat", bytes(100), large=True) + box(b"moov", GOOD, large=True)).samples == 2


def test_quicktimes_second_handler_and_padding_are_no_fault():
    stbl = stsd(entry(inside=bytes(4))) + tables()
    minf = box(b"minf", hdlr(b"alis", b"dhlr"), box(b"stbl", stbl), bytes(4))
    track = box(b"trak", tkhd(), box(b"mdia", hdlr(b"vide", b"mhlr"), minf))
    assert check(movie(track, box(b"udta", bytes(4)), box(b"meta", b"plain or full"))).codec == "h264"


def test_the_first_readable_video_track_is_the_one_described():
    picture = trak(stsd(entry(b"jpeg")) + tables())
    info = check(movie(picture, trak(stsd(entry(b"hvc1", 320, 180)) + tables((5, 5, 5)))))
    assert (info.codec, info.width, info.height, info.samples, info.tracks) == ("hevc", 320, 180, 3, 2)


def test_compressed_sound_that_counts_single_values_passes():
    stbl = stsd(box(b"ima4", bytes(28))) + full(b"stts", 1, 500_000_000, 1) + full(b"stsz", 1, 500_000_000)
    assert check(movie(GOOD, trak(stbl + full(b"stsc", 1, 1, 9, 1), b"soun"))).tracks == 2


def test_a_version_1_track_header_is_read():
    assert check(movie(trak(stsd(entry()) + tables(), head=tkhd(version=1)))).samples == 2
    data = movie(trak(stsd(entry()) + tables(), head=tkhd(9000, 9000, version=1)))
    assert fault(data)[0] == "unsupported_video"


def test_dolby_vision_is_hevc_only_with_its_configuration():
    dolby = entry(b"dvh1", inside=box(b"hvcC", bytes(23)))
    assert check(movie(trak(stsd(dolby) + tables()))).codec == "hevc"
    assert fault(movie(trak(stsd(entry(b"dvh1")) + tables())))[0] == "unsupported_video"


# What is refused


def test_an_empty_file_is_empty():
    assert fault(b"") == ("file_empty", "The file is empty.")


@pytest.mark.parametrize(
    "data", [b"x", b"hello, world", bytes(100), b"#EXTM3U\n#EXTINF:1,\n/etc/passwd", b"ffconcat version 1.0"]
)
def test_other_bytes_are_not_mp4(data):
    message = "This is not an MP4 or QuickTime file. Convert the video to MP4 and upload that."
    assert fault(data) == ("not_mp4", message)


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [("avi", "mpeg4", "an AVI"), ("matroska", "libx264", "a WebM or Matroska")],
)
def test_another_container_is_named(container, codec, name):
    code, message = fault(encode(codec, container))
    assert (code, message) == (
        "not_mp4",
        f"This is {name} file, not an MP4. Convert it to MP4 and upload that.",
    )


def test_a_segment_without_its_beginning_is_not_a_video():
    assert fault(sample("fragmented")[sample("fragmented").index(b"moof") - 4 :])[0] == "not_mp4"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_cut_inside_its_last_box_is_truncated(layout):
    data = sample(layout)
    last = data.rindex({"moov-last": b"moov", "fragmented": b"mfra", "moov-first": b"mdat"}[layout])
    for length in range(last + 4, len(data), max(1, (len(data) - last) // 20)):
        assert fault(data[:length])[0] == "truncated_mp4"


def test_a_file_without_its_header_is_truncated():
    assert fault(sample("moov-last")[: sample("moov-last").index(b"moov") - 4])[0] == "truncated_mp4"


def test_the_beginning_of_a_stream_alone_is_truncated():
    assert fault(sample("fragmented")[: sample("fragmented").index(b"moof") - 4])[0] == "truncated_mp4"


def test_a_header_alone_is_truncated():
    code, message = fault(FTYP + box(b"moov", trak(stsd(entry()) + tables((5000, 5000)))))
    assert code == "truncated_mp4"
    assert message.startswith("The file declares 10,000 bytes of video but has ")


def test_a_chunk_beyond_the_end_is_truncated():
    assert fault(movie(trak(stsd(entry()) + tables(offset=100_000))))[0] == "truncated_mp4"
    far = stsd(entry()) + tables() + full(b"co64", 1, 1, 0)
    assert fault(movie(trak(far)))[0] == "truncated_mp4"


@pytest.mark.parametrize(
    "traks", [(), (trak(stsd(entry(b"mp4a")) + tables(), b"soun"),), (trak(tables(), b"text"),)]
)
def test_a_file_without_a_picture_has_no_video_track(traks):
    assert fault(movie(*traks))[0] == "no_video_track"


def test_a_video_track_without_frames_is_none():
    assert fault(movie(trak(stsd(entry()) + tables(()))))[0] == "no_video_track"


def test_a_still_image_has_no_video_track():
    assert (
        fault(box(b"ftyp", b"heic") + box(b"meta", bytes(40)) + box(b"mdat", bytes(40)))[0]
        == "no_video_track"
    )


@pytest.mark.parametrize(
    ("codec", "container", "name"),
    [
        ("png", "mp4", "png"),
        ("png", "mov", "png"),
        ("rawvideo", "mov", "raw"),
        ("mjpeg", "mov", "jpeg"),
        ("prores", "mov", "apcn"),
    ],
)
def test_another_codec_is_refused_by_name(codec, container, name):
    if codec == "prores":
        data = sample("moov-last").replace(b"avc1\0\0\0\0\0\0\0\1", b"apcn\0\0\0\0\0\0\0\1")
    else:
        data = (
            encode(codec, container)
            if codec != "mjpeg"
            else sample("moov-last").replace(b"avc1\0\0\0\0\0\0\0\1", b"jpeg\0\0\0\0\0\0\0\1")
        )
    code, message = fault(data)
    assert code == "unsupported_video"
    assert message.startswith(f"The video codec {name} is not read, only h264, hevc, av1, vp9, ")


@pytest.mark.parametrize("kind", [b"encv", b"avc1"])
def test_an_encrypted_video_is_refused_as_encrypted(kind):
    protected = entry(kind, inside=box(b"pasp", bytes(8)) + box(b"sinf", box(b"frma", b"avc1")))
    code, message = fault(movie(trak(stsd(protected) + tables())))
    assert (code, message) == (
        "unsupported_video",
        "The video is encrypted (DRM). Upload it without encryption.",
    )


def test_a_name_that_cannot_be_printed_is_shown_in_hexadecimal():
    assert "0x00ff0a1b" in fault(movie(trak(stsd(entry(b"\x00\xff\x0a\x1b")) + tables())))[1]


def test_a_compressed_header_is_refused():
    assert fault(FTYP + box(b"moov", box(b"cmov", bytes(50))))[0] == "unsupported_video"


@pytest.mark.parametrize(
    "track",
    [
        trak(stsd(entry(width=16000, height=16000)) + tables()),
        trak(stsd(entry()) + tables(), head=tkhd(16000, 16000)),
    ],
)
def test_a_picture_above_the_limit_is_refused_with_the_limit(track):
    code, message = fault(movie(track))
    assert code == "unsupported_video"
    assert message.startswith("The picture has 256,000,000 pixels; at most 35,389,440 are read.")
    assert check(movie(track), max_pixels=16000 * 16000).samples == 2


def test_a_picture_of_exactly_the_limit_passes():
    assert check(sample("moov-last"), max_pixels=64 * 48).width == 64
    assert fault(sample("moov-last"), max_pixels=64 * 48 - 1)[0] == "unsupported_video"


def test_a_second_video_track_above_the_limit_is_refused_too():
    assert (
        fault(movie(GOOD, trak(stsd(entry(width=16000, height=16000)) + tables())))[0] == "unsupported_video"
    )


# Bombs


def test_samples_of_one_byte_that_the_file_cannot_hold_are_refused():
    stbl = stsd(entry()) + full(b"stts", 1, 9_000_000, 1) + full(b"stsz", 1, 9_000_000) + full(b"stco", 0)
    assert fault(movie(trak(stbl), data=38_000))[0] == "truncated_mp4"


@pytest.mark.parametrize(
    "table",
    [
        full(b"stsz", 1, MAX_SAMPLES + 1),
        full(b"stts", 1, MAX_SAMPLES + 1, 1),
        full(b"ctts", 1, MAX_SAMPLES + 1, 1),
        full(b"stz2", 8, 0),
    ],
)
def test_more_samples_than_the_limit_are_refused_before_the_end(table):
    walk = Mp4Check(MAX_PIXELS)
    if b"stz2" in table:
        table = full(b"stz2", 4, MAX_SAMPLES + 1, rest=bytes(MAX_SAMPLES // 2 + 1))
    with pytest.raises(InvalidVideoError) as caught:
        walk.feed(FTYP + box(b"moov", trak(stsd(entry()) + table)))
    assert str(caught.value).startswith("The file declares 10,000,001 samples in a track; at most 10,000,000")


def test_sound_does_not_hide_a_bomb():
    """Only one duration of one tick makes FFmpeg count by the chunk."""
    two = full(b"stts", 2, 30_000_000, 1, 30_000_000, 1) + full(b"stsz", 1, 60_000_000)
    assert fault(movie(GOOD, trak(two, b"soun")))[0] == "unsupported_video"
    many = full(b"stts", 1, 2**31, 1) + full(b"stsz", 1, 2**31)
    chunks = full(b"stsc", 1, 1, 2**30, 1) + full(b"stco", 3, 0, 0, 0)
    assert fault(movie(GOOD, trak(many + chunks, b"soun")))[0] == "unsupported_video"
    runs = full(b"stsc", 2, 1, 2**30, 1, 3, 2**30, 1) + full(b"stco", 3, 0, 0, 0)
    assert fault(movie(GOOD, trak(many + runs, b"soun")))[0] == "unsupported_video"


@pytest.mark.parametrize("kind", [b"stts", b"ctts", b"stss", b"stsc", b"stco", b"co64", b"elst"])
def test_a_table_longer_than_its_box_is_damaged(kind):
    code, message = fault(movie(trak(stsd(entry()) + full(kind, 1000, 1, 1))))
    assert (code, message) == (
        "not_mp4",
        "The file is damaged: a table is longer than its box. Write it anew as MP4.",
    )


@pytest.mark.parametrize(("bits", "code"), [(4, "not_mp4"), (8, "not_mp4"), (16, "not_mp4"), (5, "not_mp4")])
def test_a_compact_size_table_longer_than_its_box_is_damaged(bits, code):
    assert fault(movie(trak(stsd(entry()) + full(b"stz2", bits, 1000, rest=bytes(10)))))[0] == code


def test_a_compact_size_table_of_a_width_that_does_not_exist_is_damaged():
    assert fault(movie(trak(stsd(entry()) + full(b"stz2", 5, 1, rest=bytes(10)))))[0] == "not_mp4"


def test_a_compact_size_table_is_counted():
    stbl = stsd(entry()) + full(b"stz2", 4, 3, rest=b"\x12\x30") + full(b"stco", 1, 0)
    assert check(movie(trak(stbl))).samples == 3


def test_too_many_edits_are_refused():
    assert (
        fault(movie(trak(stsd(entry()) + tables(), more=box(b"edts", full(b"elst", 10_001)))))[0]
        == "unsupported_video"
    )


def test_too_many_tracks_are_refused():
    assert check(movie(*[GOOD] * MAX_TRACKS)).tracks == MAX_TRACKS
    assert fault(movie(*[GOOD] * (MAX_TRACKS + 1)))[0] == "unsupported_video"


def test_deep_nesting_is_refused():
    nested = b""
    for _ in range(50):
        nested = box(b"trak", nested)
    assert fault(FTYP + box(b"moov", nested))[0] == "not_mp4"


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack(">I4s", 7, b"mvhd"),
        struct.pack(">I4s", 0xFFFFFFFF, b"mvhd"),
        struct.pack(">I4sQ", 1, b"mvhd", 15),
        struct.pack(">I4sQ", 1, b"mvhd", 2**64 - 1),
    ],
)
def test_a_box_that_does_not_fit_is_damaged(bad):
    assert fault(FTYP + box(b"moov", bad + bytes(100)))[0] == "not_mp4"


def test_a_box_beyond_every_file_is_damaged_and_one_of_4_gib_truncated():
    assert fault(FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**63 + 1))[0] == "not_mp4"
    assert fault(FTYP + struct.pack(">I4s", 0xFFFFFFFF, b"mdat") + bytes(100))[0] == "truncated_mp4"


def fragment(flags: int, count: int, rest: bytes = b"", size: int = 1) -> bytes:
    run = box(b"trun", struct.pack(">II", flags, count), rest)
    return box(b"moof", box(b"traf", box(b"tfhd", struct.pack(">III", 0x10, 1, size)), run))


def stream(*fragments: bytes) -> bytes:
    extends = box(b"mvex", full(b"trex", 1, 1, 0, 7, 0))
    return FTYP + box(b"moov", trak(stsd(entry()) + tables(())), extends) + b"".join(fragments)


def test_fragments_that_declare_more_than_the_file_holds_are_truncated():
    assert check(stream(fragment(0, 30), box(b"mdat", bytes(30)))).samples == 30
    assert fault(stream(fragment(0, 3000), box(b"mdat", bytes(30))))[0] == "truncated_mp4"
    assert fault(stream(fragment(0, 10, size=300), box(b"mdat", bytes(30))))[0] == "truncated_mp4"
    sizes = struct.pack(">6I", 1, 2000, 1, 2000, 1, 2000)
    assert fault(stream(fragment(0x300, 3, sizes), box(b"mdat", bytes(30))))[0] == "truncated_mp4"


def test_a_file_may_end_with_a_fragments_table():
    assert check(stream(box(b"mdat", bytes(30)), fragment(0, 30))).samples == 30


def test_fragments_with_too_many_samples_are_refused_at_once():
    walk = Mp4Check(MAX_PIXELS)
    with pytest.raises(InvalidVideoError) as caught:
        walk.feed(stream(fragment(0, MAX_SAMPLES), fragment(0, 1)))
    assert caught.value.code == "unsupported_video"


@pytest.mark.parametrize("flags", [0x100, 0x200, 0x400, 0x800, 0xF00, 0x205])
def test_a_run_longer_than_its_box_is_damaged(flags):
    assert fault(stream(fragment(flags, 1000, bytes(100))))[0] == "not_mp4"


def test_a_flood_of_boxes_is_refused_within_bounds(monkeypatch):
    monkeypatch.setattr("videoqueue.mp4.walk.MAX_BOXES", 1000)
    code, message = fault(FTYP + box(b"free") * 1001)
    assert (code, message) == (
        "unsupported_video",
        "The file has more than 1,000 boxes. Write it anew as MP4.",
    )
    assert MAX_BOXES == 800_000


def test_a_flood_of_boxes_behind_the_header_is_refused_too(monkeypatch):
    monkeypatch.setattr("videoqueue.mp4.walk.MAX_BOXES", 1000)
    with pytest.raises(InvalidVideoError) as caught:
        Mp4Check(MAX_PIXELS).feed(movie(GOOD) + box(b"free") * 1001)
    assert caught.value.code == "unsupported_video"


# How it is fed


def test_a_fault_is_raised_again_by_every_later_call():
    walk = Mp4Check(MAX_PIXELS)
    for use in (lambda: walk.feed(b"hello, world"), lambda: walk.feed(sample("moov-last")), walk.finish):
        with pytest.raises(InvalidVideoError) as caught:
            use()
        assert caught.value.code == "not_mp4"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_the_answer_does_not_depend_on_the_pieces(layout, piece):
    data = sample(layout)
    assert check(data, piece=piece) == check(data, piece=len(data))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_taken(kind):
    walk = Mp4Check(MAX_PIXELS)
    walk.feed(kind(sample("moov-last")))
    walk.feed(kind(b""))
    assert walk.finish().samples == 5


def outcome(data: bytes, cuts: list[int]) -> Mp4Info | tuple[str, str]:
    walk = Mp4Check(MAX_PIXELS)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, end in pairwise(edges):
            walk.feed(data[start:end])
        return walk.finish()
    except InvalidVideoError as error:
        return error.code, str(error)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A real file with some numbers changed, cut short, or with a piece of it repeated."""
    data = bytearray(sample(draw(st.sampled_from(LAYOUTS))))
    header = data.find(b"moov")
    for _ in range(draw(st.integers(0, 6))):
        at = draw(
            st.one_of(st.integers(0, len(data) - 4), st.integers(header, min(header + 1500, len(data) - 4)))
        )
        odd = st.sampled_from([0, 1, 7, 8, 15, 16, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
        data[at : at + 4] = struct.pack(">I", draw(st.one_of(odd, st.integers(0, 2**32 - 1))))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(data)))
        data[start:start] = data[start : start + draw(st.integers(0, 500))]
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


CALM = settings(max_examples=150, deadline=1000, suppress_health_check=[HealthCheck.too_slow])


@CALM
@given(mutations(), st.lists(st.integers(0, 2**16), max_size=20))
def test_a_mutated_file_ends_in_an_answer_that_does_not_depend_on_the_pieces(data, cuts):
    assert outcome(data, cuts) == outcome(data, [])


@CALM
@given(st.binary(max_size=300))
def test_any_boxes_behind_a_good_start_end_in_an_answer(data):
    outcome(FTYP + box(b"moov", data) + data, [])
    outcome(movie(trak(stsd(data))), [])
    outcome(movie(trak(stsd(entry(b"mp4v", inside=box(b"esds", data))) + tables())), [])


def huge(pieces: Iterator[bytes]) -> tuple[int, float]:
    """Peak memory in bytes and time in seconds of a walk over a file that is never whole in memory."""
    walk = Mp4Check(MAX_PIXELS)
    tracemalloc.start()
    begun = time.perf_counter()
    try:
        for piece in pieces:
            walk.feed(piece)
        walk.finish()
    finally:
        taken = time.perf_counter() - begun
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak, taken


def test_media_data_is_skipped_in_constant_memory_and_no_time():
    def pieces() -> Iterator[bytes]:
        yield FTYP + struct.pack(">I4sQ", 1, b"mdat", 16 + 2**30)
        piece = bytes(2**16)
        for _ in range(2**14):
            yield piece
        yield box(b"moov", GOOD)

    peak, taken = huge(pieces())
    assert peak < 1_000_000
    assert taken < 5


def test_large_tables_are_summed_in_constant_memory():
    count = 1_000_000

    def pieces() -> Iterator[bytes]:
        inner = (("stsz", 12, 4), ("stts", 8, 8), ("stsc", 8, 12), ("co64", 8, 8))
        size = sum(8 + head + count * width for _, head, width in inner)
        stbl = struct.pack(">I4s", 8 + size + len(stsd(entry())), b"stbl") + stsd(entry())
        yield FTYP + box(b"mdat", bytes(100))
        for depth, kind in enumerate((b"moov", b"trak", b"mdia")):
            yield struct.pack(">I4s", 8 + size + len(stbl) + (2 - depth) * 8 + len(hdlr(b"vide")), kind)
        yield hdlr(b"vide") + stbl
        for kind, head, width in inner:
            numbers = (0, 0, count) if head == 12 else (0, count)
            yield struct.pack(f">I4s{len(numbers)}I", 8 + head + count * width, kind.encode(), *numbers)
            piece = b"\0\0\0\1" * 1000 if width < 8 else b"\0\0\0\0\0\0\0\1" * 500
            for _ in range(count * width // len(piece)):
                yield piece

    peak, taken = huge(pieces())
    assert peak < 1_000_000
    assert taken < 10
