"""What is told of the video track: the shape of its pixels, its colours, its turn and its edits."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest

from tests.support.mp4_boxes import (
    DEFAULTS,
    FTYP,
    GOOD,
    NONE,
    SAMPLES,
    box,
    check,
    entry,
    fault,
    fragment,
    full,
    movie,
    stsd,
    tkhd,
    track,
    trak,
)
from videoqueue.mp4 import (
    CheckLimits,
    ColourTags,
    EditList,
    TableAt,
    square_size,
)


def test_the_shape_of_pixels_is_that_of_the_first_sample_entry() -> None:
    wide, tall = (box(b"pasp", struct.pack(">II", *ratio)) for ratio in ((32, 11), (1, 2)))
    entries = stsd(entry(inside=box(b"colr", bytes(11)) + wide), entry(inside=tall))
    assert check(movie(trak(entries + SAMPLES))).video.pixel_aspect == (32, 11)
    assert check(movie(GOOD)).video.pixel_aspect is None
    assert check(movie(track(inside=box(b"pasp", bytes(4))))).video.pixel_aspect is None


def colours(*boxes: bytes) -> ColourTags | None:
    return check(movie(track(inside=b"".join(boxes)))).video.colours


PQ_TAGS = struct.pack(">3H", 9, 16, 9)


def test_the_colours_are_those_of_the_first_box_that_has_codes() -> None:
    profile = box(b"colr", b"prof", bytes(40))
    sdr = box(b"colr", b"nclx", struct.pack(">3H", 1, 1, 1), b"\0")
    assert colours() is None
    assert colours(box(b"colr", b"nclx", PQ_TAGS, b"\x80")) == ColourTags(9, 16, 9, full_range=True)
    assert colours(profile, box(b"colr", b"nclx", PQ_TAGS, b"\0"), sdr) == ColourTags(9, 16, 9, False)
    assert colours(box(b"colr", b"nclc", PQ_TAGS)) == ColourTags(9, 16, 9, None)
    assert colours(box(b"colr", b"nclx", PQ_TAGS)) == ColourTags(9, 16, 9, None)


def test_colours_of_a_second_sample_entry_are_not_read() -> None:
    second = entry(inside=box(b"colr", b"nclc", PQ_TAGS))
    assert check(movie(trak(stsd(entry(), second) + SAMPLES))).video.colours is None


@pytest.mark.parametrize("kind", [b"prof", b"rICC", b"nclx", b"nclc", b"????"])
@pytest.mark.parametrize("size", [0, 3, 4, 9])
def test_a_colour_box_that_is_short_or_a_profile_says_nothing(kind: bytes, size: int) -> None:
    assert colours(box(b"colr", (kind + PQ_TAGS)[:size])) is None
    assert colours(box(b"colr", b"prof", PQ_TAGS, bytes(900)), box(b"colr", b"rICC", PQ_TAGS)) is None


@pytest.mark.parametrize("code", [0, 256, 0xFFFF])
def test_a_colour_code_that_no_picture_can_have_is_not_said(code: int) -> None:
    tags = struct.pack(">3H", code, 16, code)
    assert colours(box(b"colr", b"nclc", tags)) == ColourTags(2, 16, 2)


def test_the_matrix_of_the_track_header_is_told() -> None:
    turned = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    head = bytearray(tkhd())
    head[-44:-8] = struct.pack(">9i", *turned)
    assert check(movie(trak(stsd(entry()) + SAMPLES, head=bytes(head)))).video.matrix == turned


def elst(edits: list[tuple[int, int]], version: int = 0) -> bytes:
    form = ">Qqi" if version else ">Iii"
    entries = b"".join(struct.pack(form, *edit, 1 << 16) for edit in edits)
    return box(b"edts", box(b"elst", bytes([version, 0, 0, 0]), struct.pack(">I", len(edits)), entries))


def clock(kind: bytes, timescale: int, duration: int, version: int = 0) -> bytes:
    """An `mvhd` or `mdhd`."""
    form = ">B3xQQIQ" if version else ">B3xIIII"
    return box(kind, struct.pack(form, version, 1, 1, timescale, duration), bytes(4))


@pytest.mark.parametrize("edits", [[(0, 1280)], [(500, -1), (0, 40)], [(100, 0), (100, 500)]])
@pytest.mark.parametrize("version", [0, 1])
def test_an_edit_list_is_told_with_where_its_tables_lie_and_what_its_ticks_are(
    edits: Any, version: int
) -> None:
    shifts = full(b"ctts", 2, 1, 2000, 1, 0)
    data = (
        FTYP
        + box(b"mdat", bytes(100))
        + box(
            b"moov",
            clock(b"mvhd", 600, 1, version),
            track(samples=SAMPLES + shifts, more=elst(edits, version) + clock(b"mdhd", 12800, 2048, version)),
        )
    )
    found = check(data).video.edits
    assert found == EditList(
        table=TableAt(data.index(b"elst") + 12, len(edits)),
        version=version,
        times=TableAt(data.index(b"stts") + 12, 1),
        movie_timescale=600,
        timescale=12800,
        media_duration=2048,
        first_time=2000,
    )


@pytest.mark.parametrize("version", [0, 1])
def test_an_unknown_duration_of_the_media_is_0(version: int) -> None:
    unknown = clock(b"mdhd", 600, (1 << 64 if version else 1 << 32) - 1, version)
    data = (
        FTYP
        + box(b"mdat", bytes(100))
        + box(b"moov", clock(b"mvhd", 600, 1), track(more=elst([(0, 0)]) + unknown))
    )
    edits = check(data).video.edits
    assert edits is not None
    assert edits.media_duration == 0


@pytest.mark.parametrize(("short", "expected"), [(b"mvhd", None), (b"mdhd", (9, 0))])
def test_a_clock_too_short_for_what_it_says_is_passed_over(
    short: bytes, expected: tuple[int, int] | None
) -> None:
    clocks = {
        kind: box(kind, bytes(10)) if kind == short else clock(kind, 9, 9) for kind in (b"mvhd", b"mdhd")
    }
    moov = box(b"moov", clocks[b"mvhd"], track(more=elst([(0, 0)]) + clocks[b"mdhd"]))
    found = check(FTYP + box(b"mdat", bytes(100)) + moov).video.edits
    assert (found and (found.timescale, found.media_duration)) == expected


def test_a_track_that_its_edit_list_hides_is_passed_over() -> None:
    hidden = track(more=elst([(500, -1)]))
    assert check(movie(hidden, track(track_id=2))).video.track_id == 2
    assert check(movie(hidden, track(track_id=2, enabled=False))).video.track_id == 2
    assert "hidden by its edit list" in fault(movie(hidden))[1]


@pytest.mark.parametrize("edits", [[], [(500, -1), (0, 0)], [(500, -1), (0, -2)]])
def test_a_track_of_which_any_edit_shows_something_is_not_hidden(edits: Any) -> None:
    assert check(movie(track(more=elst(edits)), track(track_id=2))).video.track_id == 1


def test_a_stream_in_fragments_is_not_hidden_by_an_empty_edit() -> None:
    extends = box(b"mvex", full(b"trex", 1, 1, 0, 7, 0))
    moov = box(b"moov", track(samples=NONE, more=elst([(500, -1)])), extends)
    assert check(FTYP + moov + fragment(0, 3)).video.samples == 3


@pytest.mark.parametrize(
    ("size", "ratio", "square"),
    [
        ((352, 576), (32, 11), (1024, 576)),
        ((720, 576), (64, 45), (1024, 576)),
        ((720, 480), (8, 9), (720, 540)),
        ((100, 100), (1, 3), (100, 300)),
        ((101, 50), (3, 2), (152, 50)),
        ((64, 48), (1, 1), (64, 48)),
        ((64, 48), (8, 1), (512, 48)),
        ((64, 48), (1, 8), (64, 384)),
        ((64, 48), (801, 100), (64, 48)),
        ((64, 48), (100, 801), (64, 48)),
        ((64, 48), (0, 1), (64, 48)),
        ((64, 48), (1, 0), (64, 48)),
        ((64, 48), (0xFFFFFFFF, 0xFFFFFFFF), (64, 48)),
        ((64, 48), None, (64, 48)),
    ],
)
def test_pixels_are_made_square_by_making_the_picture_larger(
    size: tuple[int, int], ratio: tuple[int, int] | None, square: tuple[int, int]
) -> None:
    assert square_size(*size, ratio) == square


def test_the_limit_of_pixels_holds_for_square_pixels() -> None:
    wide = movie(track(inside=box(b"pasp", struct.pack(">II", 2, 1))))
    assert check(wide, limits=CheckLimits(pixels=2 * 64 * 48)).video.width == 64
    code, message = fault(wide, limits=replace(DEFAULTS, pixels=2 * 64 * 48 - 1))
    assert (code, message) == (
        "unsupported_video",
        "The picture has 6,144 pixels; at most 6,143 are accepted (VIDEOQUEUE_MAX_PIXELS). Make it smaller.",
    )
