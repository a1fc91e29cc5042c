"""The gate in front of FFmpeg, fed with files that PyAV made and with boxes built by hand."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.support.mp4_boxes import (
    BOUNDED,
    FTYP,
    GOOD,
    LAYOUTS,
    box,
    check,
    encode,
    entry,
    fault,
    full,
    hdlr,
    movie,
    sample,
    stsd,
    tables,
    tkhd,
    trak,
)
from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import Mp4Check

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
