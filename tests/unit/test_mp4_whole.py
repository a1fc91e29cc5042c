"""Whether a file is whole: all its samples count, not what its last box claims."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.mp4_boxes import (
    FTYP,
    GOOD,
    box,
    check,
    encode,
    entry,
    fault,
    fragment,
    full,
    movie,
    sample,
    stream,
    stsd,
    tables,
    trak,
)

TRUNCATED = "truncated_mp4"
SETTING = "VIDEOQUEUE_ACCEPT_TRUNCATED"


def claims(kind: bytes, size: int = 1 << 20, content: bytes = b"x" * 100, large: bool = False) -> bytes:
    """The beginning of a box that claims so many bytes."""
    if large:
        return struct.pack(">I4sQ", 1, kind, size) + content
    return struct.pack(">I4s", size, kind) + content


def ends_of(data: bytes, kind: bytes) -> list[int]:
    """Where each outermost box of a kind ends."""
    ends, at = [], 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        at += size
        ends += [at] if name == kind else []
    return ends


# How a file begins


@pytest.mark.parametrize("kind", [b"uuid", b"abcd", b"\xa9xyz", b"junk", b"styp", b"sidx", b"emsg", b"jP  "])
@pytest.mark.parametrize("large", [False, True])
def test_another_box_may_come_first(kind: bytes, large: bool) -> None:
    assert check(box(kind, b"x" * 5000, large=large) + sample("moov-last")).video.samples == 5


def test_several_other_boxes_may_come_first() -> None:
    assert check(box(b"uuid", bytes(100)) + box(b"abcd") * 3 + sample("moov-first")).video.samples == 5


@pytest.mark.parametrize(
    "data",
    [
        box(b"abcd", bytes(40)),
        box(b"abcd") * 100,
        claims(b"abcd", 5000),
        claims(b"\0\0\x01\0", 5000),
        claims(b"free", 7),
        b"a text that begins with a letter, and goes on",
        b"PK\x03\x04" + bytes(60),
        b"\x89PNG\r\n\x1a\n" + bytes(60),
        bytes.fromhex("000001ba44000400") + bytes(60),
        bytes.fromhex("0000000167640028") + bytes(60),
    ],
)
def test_what_holds_no_box_of_an_mp4_is_none(data: bytes) -> None:
    assert fault(data)[0] == "not_mp4"


def test_a_segment_is_told_from_other_things_behind_another_box() -> None:
    segment = box(b"styp", b"msdh") + box(b"sidx", bytes(20)) + fragment(0, 1) + box(b"mdat", bytes(9))
    for data in (segment, box(b"abcd") + segment, box(b"styp", b"msdh")):
        assert fault(data) == (
            "not_mp4",
            "This is one segment of a stream without its beginning. Upload the whole video.",
        )


# A last box that claims more than the file has


@pytest.mark.parametrize(
    "kind", [b"free", b"udta", b"skip", b"uuid", b"meta", b"mdat", b"wide", b"mfra", b"abcd"]
)
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("layout", ["moov-last", "moov-first", "fragmented", "quicktime"])
def test_a_last_box_may_claim_more_than_the_file_has(layout: str, large: bool, kind: bytes) -> None:
    assert check(sample(layout) + claims(kind, large=large)).video.samples == 5


@pytest.mark.parametrize("layout", ["moov-first", "fragmented", "fragmented-with-sound", "ismv", "dash"])
@pytest.mark.parametrize("claimed", [1 << 16, 0xFFFFFFFF])
def test_the_media_data_itself_may_claim_more_than_the_file_has(layout: str, claimed: int) -> None:
    data = bytearray(sample(layout)[: ends_of(sample(layout), b"mdat")[-1]])
    at = data.rindex(b"mdat") - 4
    data[at : at + 4] = struct.pack(">I", claimed)
    assert check(bytes(data)).video.samples == 5


@pytest.mark.parametrize("frames", [1, 2, 40])
@pytest.mark.parametrize("audio", [None, "aac"])
@pytest.mark.parametrize("kind", [b"mdat", b"free"])
def test_a_file_with_its_header_first_is_truncated_as_soon_as_a_byte_of_a_sample_is_missing(
    frames: int, audio: str | None, kind: bytes
) -> None:
    data = encode(frames=frames, audio=audio, options={"movflags": "faststart"})
    if kind == b"free":  # the samples lie in what no box describes as media data
        data = data.replace(b"mdat", b"free")
    assert check(data).video.samples == frames
    assert {fault(data[:-missing])[0] for missing in range(1, 30)} == {TRUNCATED}


@pytest.mark.parametrize("sizes", [full(b"stsz", 0, 3000, *[1] * 3000), full(b"stsz", 1, 3000)])
@pytest.mark.parametrize(
    "chunks",
    [
        full(b"stsc", 2, 1, 2000, 1, 2, 1000, 1) + full(b"stco", 2, 30_000, 32_000),
        full(b"stsc", 1, 1, 3000, 1) + full(b"stco", 1, 30_000),
        full(b"stsc", 1, 1, 1, 1) + full(b"stco", 3000, *range(30_000, 33_000)),
        full(b"stsc", 1, 1, 10, 1)
        + full(b"co64", 300, *(n for at in range(30_000, 33_000, 10) for n in (0, at))),
    ],
)
def test_samples_that_are_missing_are_noticed_however_the_tables_say_where_they_lie(
    chunks: Any, sizes: Any
) -> None:
    for tables_in_order in (chunks + sizes, sizes + chunks):
        head = FTYP + box(b"moov", trak(stsd(entry()) + tables_in_order))
        data = head + claims(b"mdat", content=bytes(33_000 - len(head) - 8))
        assert check(data).video.samples == 3000
        assert fault(data[:-1])[0] == TRUNCATED


def test_of_chunks_out_of_order_the_one_that_lies_last_has_to_be_there() -> None:
    stbl = stsd(entry()) + full(b"stsz", 0, 3, 10, 20, 30) + full(b"stsc", 1, 1, 1, 1)
    head = FTYP + box(b"moov", trak(stbl + full(b"stco", 3, 1300, 1200, 1100)))
    data = head + claims(b"mdat", content=bytes(1301 - len(head) - 8))
    assert check(data).video.samples == 3
    assert fault(data[:-1])[0] == TRUNCATED


def test_a_sound_track_whose_samples_lie_elsewhere_is_no_fault_of_a_whole_file() -> None:
    elsewhere = trak(stsd(box(b"mp4a", bytes(28))) + tables(offset=100_000), b"soun")
    whole = movie(GOOD, elsewhere)
    assert check(whole).video.samples == 2
    assert fault(whole + claims(b"free"))[0] == TRUNCATED


def test_a_header_that_is_cut_off_is_truncated() -> None:
    data = sample("moov-last")
    header = data.index(b"moov") - 4
    for length in range(header, len(data), 37):
        assert fault(data[:length])[0] == TRUNCATED


# Boxes within the header


@pytest.mark.parametrize("kind", [b"udta", b"free", b"meta", b"abcd", b"uuid"])
def test_a_box_of_the_header_that_nobody_opens_may_claim_more_than_what_contains_it(kind: bytes) -> None:
    wrong = claims(kind, 1 << 20)
    assert check(movie(GOOD, wrong)).video.samples == 2
    assert check(movie(trak(stsd(entry()) + tables(), more=wrong))).video.samples == 2


@pytest.mark.parametrize("rest", [b"\0\0\0\0", b"\0", b"\xff" * 7])
def test_bytes_too_few_for_a_box_may_end_what_contains_it(rest: bytes) -> None:
    track = trak(stsd(entry(inside=rest)) + tables() + rest, more=rest)
    assert check(movie(track, rest)).video.samples == 2


@pytest.mark.parametrize("rest", [bytes(4), bytes(8), bytes(5000), b"\0\0\0\7free", b"\xff" * 16])
@pytest.mark.parametrize("layout", ["moov-last", "moov-first", "fragmented"])
def test_padding_at_the_end_is_no_fault(layout: str, rest: bytes) -> None:
    assert check(sample(layout) + rest).video.samples == 5


def test_media_data_without_a_size_goes_on_to_the_end() -> None:
    data = bytearray(sample("moov-first"))
    at = data.rindex(b"mdat") - 4
    data[at : at + 4] = bytes(4)
    assert check(bytes(data)).video.samples == 5
    assert fault(bytes(data[:-1]))[0] == TRUNCATED


# Fragments


def many_fragments(layout: str) -> bytes:
    audio = "aac" if layout != "fragmented" else None
    flags = {
        "fragmented": "frag_every_frame+empty_moov",
        "fragmented-with-sound": "frag_every_frame+empty_moov+default_base_moof",
        "ismv": "frag_every_frame+empty_moov",
        "hybrid": "frag_every_frame",
    }[layout]
    container = "ismv" if layout == "ismv" else "mp4"
    return encode(container=container, frames=8, audio=audio, options={"movflags": flags})


@pytest.mark.parametrize("layout", ["fragmented", "fragmented-with-sound", "ismv", "hybrid"])
def test_a_recording_cut_in_a_fragment_is_truncated_and_the_refusal_names_the_setting(layout: str) -> None:
    data = many_fragments(layout)
    starts = [at - 4 for at in range(len(data)) if data.startswith(b"moof", at)][2:]
    cuts = [start + 20 for start in starts] + [start + 60 for start in starts]
    cuts += [end - 1 for end in ends_of(data, b"mdat")[2:]]
    for cut in cuts:
        code, message = fault(data[:cut])
        assert code == TRUNCATED
        assert message == (
            "The file is cut off in its last fragment. Upload the whole file. The fragments before the last "
            f"one are read only where {SETTING} is on."
        )


@pytest.mark.parametrize("layout", ["fragmented", "fragmented-with-sound", "ismv", "hybrid"])
def test_where_it_is_allowed_the_whole_fragments_of_a_recording_are_counted(layout: str) -> None:
    data = many_fragments(layout)
    starts = [at - 4 for at in range(len(data)) if data.startswith(b"moof", at)]
    ends = [*starts[1:], ends_of(data, b"mdat")[-1]]
    for start, end in list(zip(starts, ends, strict=True))[2:]:
        before = check(data[:start], accept_truncated=True).video
        assert before.usable_size == start
        for cut in {start + 9, (start + end) // 2, end - 1}:
            assert check(data[:cut], accept_truncated=True).video == before
        whole = check(data[:end], accept_truncated=True).video
        assert whole.usable_size == end
        assert whole.samples >= before.samples
    assert check(data, accept_truncated=True).video.samples == 8


def test_a_recording_without_one_whole_fragment_stays_refused() -> None:
    data = many_fragments("fragmented")
    first = data.index(b"moof") - 4
    for cut in (first, first + 20, first + 120):
        code, message = fault(data[:cut], accept_truncated=True)
        assert code == TRUNCATED
        assert SETTING not in message


def test_where_it_is_allowed_a_file_with_all_samples_in_its_header_stays_refused() -> None:
    data = sample("moov-first")
    code, message = fault(data[:-1], accept_truncated=True)
    assert code == TRUNCATED
    assert SETTING not in message


@pytest.mark.parametrize("room", [0, 1 << 16])
@pytest.mark.parametrize("pieces", [1, 50, 1 << 16])
def test_the_place_of_samples_is_told_by_the_fragment_however_it_is_written(room: int, pieces: int) -> None:
    def moof(tfhd_flags: int, base: bytes, *runs: tuple[int, bytes]) -> bytes:
        head = box(b"tfhd", struct.pack(">II", tfhd_flags | 0x10, 1), base, struct.pack(">I", 100))
        boxes = [box(b"trun", struct.pack(">II", flags, 1), rest) for flags, rest in runs]
        return box(b"moof", box(b"traf", head, *boxes), box(b"free", bytes(room)))

    offset = struct.pack(">i", 500 + room)
    fragments: list[tuple[Callable[[int], bytes], int]] = [
        (lambda at: moof(0x20000, b"", (1, offset)), 600),  # counted from the fragment
        (lambda at: moof(0, b"", (1, offset)), 600),
        (lambda at: moof(0, b"", (1, offset), (0, b"")), 700),  # the second run behind the first
        (lambda at: moof(1, struct.pack(">Q", at + 40 + room), (1, offset)), 640 + room),
        (lambda at: moof(1, struct.pack(">Q", at + 40 + room), (0, b"")), 140),
    ]
    for made, needed in fragments:
        start = len(stream())
        last = len(stream(made(start)))
        data = stream(made(start), made(last))
        whole = data + bytes(last + room + needed - len(data))
        assert check(whole, piece=pieces).video.samples >= 2
        assert fault(whole[:-1], piece=pieces)[0] == TRUNCATED
