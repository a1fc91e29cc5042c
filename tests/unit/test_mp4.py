"""The gate in front of FFmpeg, fed with files that PyAV made and with boxes built by hand."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest

from tests.support.mp4_boxes import (
    BOUNDED,
    DEFAULTS,
    FTYP,
    GOOD,
    LAYOUTS,
    box,
    check,
    encode,
    entry,
    fault,
    fragment,
    full,
    hdlr,
    movie,
    sample,
    stream,
    stsd,
    tables,
    tfhd,
    tkhd,
    trak,
)
from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import CheckLimits, Mp4Check

MAX_SAMPLES, MAX_TRACKS = DEFAULTS.samples, DEFAULTS.tracks


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
def test_every_allowed_codec_passes_with_its_name_size_and_frames(
    codec: str, expected: str, fourcc: str
) -> None:
    data = encode(codec)
    info = check(data)
    assert (info.video.codec, info.video.fourcc, info.video.width, info.video.height) == (
        expected,
        fourcc,
        64,
        48,
    )
    assert (info.video.samples, info.tracks, info.fragmented, info.size) == (5, 1, False, len(data))


def test_h263_passes_in_a_3gp_file() -> None:
    info = check(encode("h263", "3gp", size=(176, 144)))
    assert (info.video.codec, info.video.fourcc, info.video.samples) == ("h263", "s263", 5)


@pytest.mark.parametrize("audio", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_sound_beside_the_picture_passes(container: str, audio: str) -> None:
    info = check(encode(container=container, audio=audio))
    assert (info.video.codec, info.video.samples, info.tracks) == ("h264", 5, 2)


def test_fragments_are_counted() -> None:
    info = check(sample("fragmented"))
    assert (info.video.samples, info.fragmented) == (5, True)


@pytest.mark.parametrize("rest", [b"\r\n", bytes(3), bytes(4096), b"PK\x03\x04" + bytes(40), b"\xff" * 30])
def test_bytes_behind_the_last_box_are_ignored(rest: bytes) -> None:
    assert check(sample("moov-last") + rest).video.samples == 5


def test_a_file_without_ftyp_passes_as_old_quicktime_wrote_it() -> None:
    assert check(box(b"wide") + movie(GOOD)[len(FTYP) :]).video.samples == 2


def test_the_last_box_may_go_on_to_the_end_of_the_file() -> None:
    head = FTYP + box(b"moov", GOOD)
    assert check(head + struct.pack(">I4s", 0, b"mdat") + bytes(100)).video.samples == 2
    assert check(FTYP + box(b"mdat", bytes(100)) + struct.pack(">I4s", 0, b"moov") + GOOD).video.samples == 2


def test_a_box_header_that_is_cut_off_in_such_a_last_box_is_truncated() -> None:
    data = FTYP + box(b"mdat", bytes(100)) + struct.pack(">I4s", 0, b"moov") + GOOD
    assert fault(data + b"\0\0\0")[0] == "truncated_mp4"
    assert fault(data + struct.pack(">I4s", 1, b"udta"))[0] == "truncated_mp4"


def test_sizes_of_64_bits_pass() -> None:
    assert (
        check(FTYP + box(b"mdat", bytes(100), large=True) + box(b"moov", GOOD, large=True)).video.samples == 2
    )


def test_quicktimes_second_handler_and_padding_are_no_fault() -> None:
    stbl = stsd(entry(inside=bytes(4))) + tables()
    minf = box(b"minf", hdlr(b"alis", b"dhlr"), box(b"stbl", stbl), bytes(4))
    track = box(b"trak", tkhd(), box(b"mdia", hdlr(b"vide", b"mhlr"), minf))
    assert check(movie(track, box(b"udta", bytes(4)), box(b"meta", b"plain or full"))).video.codec == "h264"


def test_the_first_readable_video_track_is_the_one_described() -> None:
    picture = trak(stsd(entry(b"jpeg")) + tables())
    info = check(movie(picture, trak(stsd(entry(b"hvc1", 320, 180)) + tables((5, 5, 5)))))
    assert (info.video.codec, info.video.width, info.video.height, info.video.samples, info.tracks) == (
        "hevc",
        320,
        180,
        3,
        2,
    )


def test_compressed_sound_that_counts_single_values_passes() -> None:
    stbl = stsd(box(b"ima4", bytes(28))) + full(b"stts", 1, 500_000_000, 1) + full(b"stsz", 1, 500_000_000)
    assert check(movie(GOOD, trak(stbl + full(b"stsc", 1, 1, 9, 1), b"soun"))).tracks == 2


def test_a_version_1_track_header_is_read() -> None:
    assert check(movie(trak(stsd(entry()) + tables(), head=tkhd(version=1)))).video.samples == 2
    data = movie(trak(stsd(entry()) + tables(), head=tkhd(9000, 9000, version=1)))
    assert fault(data, limits=BOUNDED)[0] == "unsupported_video"


def test_dolby_vision_is_hevc_only_with_its_configuration() -> None:
    dolby = entry(b"dvh1", inside=box(b"hvcC", bytes(23)))
    assert check(movie(trak(stsd(dolby) + tables()))).video.codec == "hevc"
    assert fault(movie(trak(stsd(entry(b"dvh1")) + tables())))[0] == "unsupported_video"


# What is refused


def test_an_empty_file_is_empty() -> None:
    assert fault(b"") == ("file_empty", "The file is empty.")


@pytest.mark.parametrize(
    "data", [b"x", b"hello, world", bytes(100), b"#EXTM3U\n#EXTINF:1,\n/etc/passwd", b"ffconcat version 1.0"]
)
def test_other_bytes_are_not_mp4(data: bytes) -> None:
    message = "This is not an MP4 or QuickTime file. Convert the video to MP4 and upload that."
    assert fault(data) == ("not_mp4", message)


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [("avi", "mpeg4", "an AVI"), ("matroska", "libx264", "a WebM or Matroska")],
)
def test_another_container_is_named(container: str, codec: str, name: str) -> None:
    code, message = fault(encode(codec, container))
    assert (code, message) == (
        "not_mp4",
        f"This is {name} file, not an MP4. Convert it to MP4 and upload that.",
    )


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("h264", "libx264"),
        ("hevc", "libx265"),
        ("mpeg", "mpeg2video"),
        ("mpegts", "libx264"),
        ("asf", "mpeg4"),
    ],
)
def test_a_raw_stream_is_not_mp4(container: str, codec: str) -> None:
    message = "This is not an MP4 or QuickTime file. Convert the video to MP4 and upload that."
    assert fault(encode(codec, container)) == ("not_mp4", message)


def test_a_segment_without_its_beginning_is_not_a_video() -> None:
    assert fault(sample("fragmented")[sample("fragmented").index(b"moof") - 4 :])[0] == "not_mp4"


@pytest.mark.parametrize("layout", ["moov-last", "fragmented", "moov-first"])
def test_a_file_cut_inside_its_last_samples_or_its_header_is_truncated(layout: str) -> None:
    data = sample(layout).partition(b"mfra")[0]
    data = data[:-4] if layout == "fragmented" else data
    last = data.rindex({"moov-last": b"moov", "fragmented": b"mdat", "moov-first": b"mdat"}[layout])
    for length in range(last + 4, len(data), max(1, (len(data) - last) // 20)):
        assert fault(data[:length])[0] == "truncated_mp4"


def test_a_file_without_its_header_is_truncated() -> None:
    assert fault(sample("moov-last")[: sample("moov-last").index(b"moov") - 4])[0] == "truncated_mp4"


def test_the_beginning_of_a_stream_alone_is_truncated() -> None:
    assert fault(sample("fragmented")[: sample("fragmented").index(b"moof") - 4])[0] == "truncated_mp4"


def test_a_header_alone_is_truncated() -> None:
    code, message = fault(FTYP + box(b"moov", trak(stsd(entry()) + tables((5000, 5000)))))
    assert code == "truncated_mp4"
    assert message.startswith("The file is cut off: it declares 10,000 bytes of video and has ")


def test_a_chunk_beyond_the_end_is_truncated() -> None:
    assert fault(movie(trak(stsd(entry()) + tables(offset=100_000))))[0] == "truncated_mp4"
    far = stsd(entry()) + tables() + full(b"co64", 1, 1, 0)
    assert fault(movie(trak(far)))[0] == "truncated_mp4"


@pytest.mark.parametrize(
    "traks", [(), (trak(stsd(entry(b"mp4a")) + tables(), b"soun"),), (trak(tables(), b"text"),)]
)
def test_a_file_without_a_picture_has_no_video_track(traks: Any) -> None:
    assert fault(movie(*traks))[0] == "no_video_track"


def test_a_video_track_without_frames_is_none() -> None:
    assert fault(movie(trak(stsd(entry()) + tables(()))))[0] == "no_video_track"


def test_a_still_image_has_no_video_track() -> None:
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
def test_another_codec_is_refused_by_name(codec: str, container: str, name: str) -> None:
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
def test_an_encrypted_video_is_refused_as_encrypted(kind: bytes) -> None:
    protected = entry(kind, inside=box(b"pasp", bytes(8)) + box(b"sinf", box(b"frma", b"avc1")))
    code, message = fault(movie(trak(stsd(protected) + tables())))
    assert (code, message) == (
        "unsupported_video",
        "The video is encrypted (DRM). Upload it without encryption. Found: track 1: "
        f"{'encv' if kind == b'encv' else 'h264'}, encrypted.",
    )


def test_a_name_that_cannot_be_printed_is_shown_in_hexadecimal() -> None:
    assert "0x00ff0a1b" in fault(movie(trak(stsd(entry(b"\x00\xff\x0a\x1b")) + tables())))[1]


def test_a_compressed_header_is_refused() -> None:
    assert fault(FTYP + box(b"moov", box(b"cmov", bytes(50))))[0] == "unsupported_video"


@pytest.mark.parametrize(
    "track",
    [
        trak(stsd(entry(width=16000, height=16000)) + tables()),
        trak(stsd(entry()) + tables(), head=tkhd(16000, 16000)),
    ],
)
def test_a_picture_above_the_limit_is_refused_with_the_limit(track: Any) -> None:
    code, message = fault(movie(track), limits=BOUNDED)
    assert code == "unsupported_video"
    assert message.startswith(
        "The picture has 256,000,000 pixels; at most 35,389,440 are accepted (VIDEOQUEUE_MAX_PIXELS)."
    )
    assert check(movie(track), limits=CheckLimits(pixels=16000 * 16000)).video.samples == 2


def test_a_picture_of_exactly_the_limit_passes() -> None:
    assert check(sample("moov-last"), limits=CheckLimits(pixels=64 * 48)).video.width == 64
    assert fault(sample("moov-last"), limits=CheckLimits(pixels=64 * 48 - 1))[0] == "unsupported_video"


# Bombs


def test_samples_of_one_byte_that_the_file_cannot_hold_are_refused() -> None:
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
def test_more_samples_than_the_limit_are_refused_before_the_end(table: Any) -> None:
    walk = Mp4Check(BOUNDED)
    if b"stz2" in table:
        table = full(b"stz2", 4, MAX_SAMPLES + 1, rest=bytes(MAX_SAMPLES // 2 + 1))
    with pytest.raises(InvalidVideoError) as caught:
        walk.feed(FTYP + box(b"moov", trak(stsd(entry()) + table)))
    assert str(caught.value) == (
        "The file declares 10,000,001 samples in a track; at most 10,000,000 are accepted "
        "(VIDEOQUEUE_MAX_SAMPLES). Upload a part."
    )


def test_sound_does_not_hide_a_bomb() -> None:
    """Only one duration of one tick makes FFmpeg count by the chunk."""
    two = full(b"stts", 2, 30_000_000, 1, 30_000_000, 1) + full(b"stsz", 1, 60_000_000)
    assert fault(movie(GOOD, trak(two, b"soun")))[0] == "unsupported_video"
    many = full(b"stts", 1, 2**31, 1) + full(b"stsz", 1, 2**31)
    chunks = full(b"stsc", 1, 1, 2**30, 1) + full(b"stco", 3, 0, 0, 0)
    assert fault(movie(GOOD, trak(many + chunks, b"soun")))[0] == "unsupported_video"
    runs = full(b"stsc", 2, 1, 2**30, 1, 3, 2**30, 1) + full(b"stco", 3, 0, 0, 0)
    assert fault(movie(GOOD, trak(many + runs, b"soun")))[0] == "unsupported_video"


@pytest.mark.parametrize("kind", [b"stts", b"ctts", b"stss", b"stsc", b"stco", b"co64", b"elst"])
def test_a_table_longer_than_its_box_is_damaged(kind: bytes) -> None:
    code, message = fault(movie(trak(stsd(entry()) + full(kind, 1000, 1, 1))))
    assert (code, message) == (
        "not_mp4",
        "The file is damaged: a table is longer than its box. Write it anew as MP4.",
    )


@pytest.mark.parametrize(("bits", "code"), [(4, "not_mp4"), (8, "not_mp4"), (16, "not_mp4"), (5, "not_mp4")])
def test_a_compact_size_table_longer_than_its_box_is_damaged(bits: int, code: str) -> None:
    assert fault(movie(trak(stsd(entry()) + full(b"stz2", bits, 1000, rest=bytes(10)))))[0] == code


def test_a_compact_size_table_of_a_width_that_does_not_exist_is_damaged() -> None:
    assert fault(movie(trak(stsd(entry()) + full(b"stz2", 5, 1, rest=bytes(10)))))[0] == "not_mp4"


def test_a_compact_size_table_is_counted() -> None:
    stbl = stsd(entry()) + full(b"stz2", 4, 3, rest=b"\x12\x30") + full(b"stco", 1, 0)
    assert check(movie(trak(stbl))).video.samples == 3


def test_too_many_edits_are_refused() -> None:
    edits = full(b"elst", 3, *[1, 0, 1 << 16] * 3)
    file = movie(trak(stsd(entry()) + tables(), more=box(b"edts", edits)))
    assert check(file, limits=CheckLimits(edits=3)).video.samples == 2
    assert fault(file, limits=replace(DEFAULTS, edits=2)) == (
        "unsupported_video",
        "The file has 3 edits in a track; at most 2 are accepted (VIDEOQUEUE_MAX_EDITS). "
        "Encode the edited video anew.",
    )


def test_too_many_tracks_are_refused() -> None:
    assert check(movie(*[GOOD] * MAX_TRACKS)).tracks == MAX_TRACKS
    assert fault(movie(*[GOOD] * (MAX_TRACKS + 1)))[0] == "unsupported_video"


def test_deep_nesting_is_refused() -> None:
    nested = b""
    for _ in range(50):
        nested = box(b"trak", nested)
    assert fault(FTYP + box(b"moov", nested))[0] == "not_mp4"


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack(">I4s", 7, b"mvhd"),
        struct.pack(">I4s", 0xFFFFFFFF, b"trak"),
        struct.pack(">I4sQ", 1, b"mvhd", 15),
        struct.pack(">I4sQ", 1, b"trak", 2**64 - 1),
    ],
)
def test_a_box_that_does_not_fit_is_damaged(bad: Any) -> None:
    assert fault(FTYP + box(b"moov", bad + bytes(100)))[0] == "not_mp4"


def test_a_box_beyond_every_file_is_damaged_and_one_of_4_gib_truncated() -> None:
    assert fault(FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**63 + 1))[0] == "not_mp4"
    assert fault(FTYP + struct.pack(">I4s", 0xFFFFFFFF, b"mdat") + bytes(100))[0] == "truncated_mp4"


def test_fragments_that_declare_more_than_the_file_holds_are_truncated() -> None:
    assert check(stream(fragment(0, 30), box(b"mdat", bytes(30)))).video.samples == 30
    assert fault(stream(fragment(0, 3000), box(b"mdat", bytes(30))))[0] == "truncated_mp4"
    assert fault(stream(fragment(0, 10, size=300), box(b"mdat", bytes(30))))[0] == "truncated_mp4"
    sizes = struct.pack(">6I", 1, 2000, 1, 2000, 1, 2000)
    assert fault(stream(fragment(0x300, 3, sizes), box(b"mdat", bytes(30))))[0] == "truncated_mp4"


def test_fragments_of_one_shape_are_summed_like_fragments_of_many() -> None:
    sizes = [struct.pack(">4I", size, 1, 2 * size, 1) for size in range(1, 9)]
    alike = stream(*(fragment(0x600, 2, size) for size in sizes), box(b"mdat", bytes(40)))
    unlike = stream(
        *(fragment(0x600, 2, size + bytes(at)) for at, size in enumerate(sizes)), box(b"mdat", bytes(12))
    )
    assert len(alike) == len(unlike)
    assert check(alike) == check(unlike)
    assert check(alike).video.samples == 16
    for data in (alike, unlike):
        missing = len(data) + 1 - 3 * 36
        more = data.replace(sizes[7], struct.pack(">4I", missing + 24, 1, 0, 1))
        code, message = fault(more)
        assert code == "truncated_mp4"
        assert message.startswith(
            f"The file is cut off: it declares {len(data) + 1:,} bytes of video and has {len(data):,}."
        )


def test_fragments_of_another_track_are_not_counted_as_pictures() -> None:
    sound = fragment(0, 5, track_id=2)
    data = stream(*[fragment(0, 3), sound] * 4, box(b"mdat", bytes(40)))
    assert check(data).video.samples == 12


@pytest.mark.parametrize("room", [0, 1 << 16])
def test_a_run_of_no_track_is_not_counted_as_pictures(room: int) -> None:
    run = box(b"trun", struct.pack(">II", 0, 5))
    named = box(b"traf", tfhd(), run)
    data = stream(box(b"moof", named, box(b"traf", run), box(b"free", bytes(room))))
    assert check(data).video.samples == 5


@pytest.mark.parametrize("room", [0, 1 << 16])
@pytest.mark.parametrize("kind", [b"trak", b"stsz", b"tfhd", b"moof", b"trex"])
def test_a_header_mixed_up_with_a_fragment_is_damaged(kind: bytes, room: int) -> None:
    message = "The file is damaged: boxes of its header lie in a fragment, or the other way round. "
    data = stream(box(b"moof", box(kind, bytes(20)), box(b"free", bytes(room))))
    assert fault(data) == ("not_mp4", message + "Write it anew as MP4.")
    nested = stream(box(b"moof", box(b"traf", box(b"traf")), box(b"free", bytes(room))))
    assert fault(nested) == ("not_mp4", message + "Write it anew as MP4.")
    assert fault(FTYP + box(b"moov", box(b"traf")))[1] == message + "Write it anew as MP4."


@pytest.mark.parametrize("flags", [0, 0x200, 0x305, 0xF00])
def test_a_long_fragment_is_summed_like_a_short_one(flags: int) -> None:
    count, fields = 3000, (flags >> 8).bit_count()
    before = bytes(4 * (flags & 1) + (flags & 4))
    run = fragment(flags, count, before + struct.pack(">I", 99) * fields * count, size=99)
    for moof in (run, run.replace(b"traf", b"skip") + run, large_moof(run)):
        data = stream(moof)
        data += box(b"mdat", bytes(99 * count - len(data) - 8))
        assert len(data) == 99 * count
        assert check(data).video.samples == count
        assert fault(data[:-1])[0] == "truncated_mp4"


def large_moof(fragment: bytes) -> bytes:
    """The same with so much else in it that it is not read at once."""
    return box(b"moof", fragment[8:], box(b"free", bytes(1 << 16)))


def test_a_file_may_end_with_a_fragments_table() -> None:
    assert check(stream(box(b"mdat", bytes(30)), fragment(0, 30))).video.samples == 30


def test_fragments_with_too_many_samples_are_refused_at_once() -> None:
    walk = Mp4Check(BOUNDED)
    with pytest.raises(InvalidVideoError) as caught:
        walk.feed(stream(fragment(0, MAX_SAMPLES), fragment(0, 1)))
    assert caught.value.code == "unsupported_video"


@pytest.mark.parametrize("flags", [0x100, 0x200, 0x400, 0x800, 0xF00, 0x205])
def test_a_run_longer_than_its_box_is_damaged(flags: int) -> None:
    assert fault(stream(fragment(flags, 1000, bytes(100))))[0] == "not_mp4"


# How it is fed


def test_a_fault_is_raised_again_by_every_later_call() -> None:
    walk = Mp4Check(BOUNDED)
    for use in (lambda: walk.feed(b"hello, world"), lambda: walk.feed(sample("moov-last")), walk.finish):
        with pytest.raises(InvalidVideoError) as caught:
            use()
        assert caught.value.code == "not_mp4"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_the_answer_does_not_depend_on_the_pieces(layout: Any, piece: int) -> None:
    data = sample(layout)
    assert check(data, piece=piece) == check(data, piece=len(data))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_taken(kind: Any) -> None:
    walk = Mp4Check(BOUNDED)
    walk.feed(kind(sample("moov-last")))
    walk.feed(kind(b""))
    assert walk.finish().video.samples == 5
