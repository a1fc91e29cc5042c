"""The gate under hostile bytes: an answer or InvalidVideoError, the same for every way to cut the file."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.mp4_boxes import (
    BOUNDED,
    FTYP,
    GOOD,
    LAYOUTS,
    box,
    entry,
    fragment,
    movie,
    sample,
    stream,
    stsd,
    tables,
    trak,
)
from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import CheckLimits, ColourTags, Mp4Check, Mp4Info, video_track

pytestmark = pytest.mark.usefixtures("unmeasured")

CALM = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 7, 8, 15, 16, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
    st.integers(0, 2**32 - 1),
)
CONTAINERS = [
    b"moov",
    b"trak",
    b"mdia",
    b"minf",
    b"stbl",
    b"edts",
    b"mvex",
    b"moof",
    b"traf",
    b"stsd",
    b"udta",
    b"tref",
]
LEAVES = [
    b"ftyp",
    b"mvhd",
    b"mdhd",
    b"mdat",
    b"free",
    b"meta",
    b"mfhd",
    b"tkhd",
    b"hdlr",
    b"elst",
    b"avc1",
    b"stts",
    b"ctts",
]
LEAVES += [
    b"stss",
    b"stsc",
    b"stco",
    b"co64",
    b"stsz",
    b"stz2",
    b"trex",
    b"tfhd",
    b"trun",
    b"cmov",
    b"udta",
    b"chap",
    b"thmb",
    b"uuid",
    b"abcd",
]


def outcome(
    data: bytes, cuts: list[int], accept_truncated: bool = False, limits: CheckLimits = BOUNDED
) -> Mp4Info | tuple[str, str]:
    walk = Mp4Check(limits, accept_truncated)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, end in pairwise(edges):
            walk.feed(data[start:end])
        return walk.finish()
    except InvalidVideoError as error:
        return error.code, str(error)


@st.composite
def leaves(draw: st.DrawFn) -> bytes:
    """A box with a small table, or with anything in it."""
    words = st.lists(st.one_of(st.integers(0, 5), NUMBERS), max_size=12)
    content = struct.pack(">I", draw(st.sampled_from([0, 0, 0, 0x10, 0x200, 0x305, 0xF00, 1 << 24])))
    content += b"".join(struct.pack(">I", word) for word in draw(words)) + draw(st.binary(max_size=4))
    return box(draw(st.sampled_from(LEAVES)), content, large=draw(st.integers(0, 9)) == 0)


@st.composite
def parents(draw: st.DrawFn, children: st.SearchStrategy[bytes]) -> bytes:
    """A container; one in twenty lies about its size."""
    whole = bytearray(box(draw(st.sampled_from(CONTAINERS)), *draw(st.lists(children, max_size=5))))
    if draw(st.integers(0, 19)) == 0:
        whole[:4] = struct.pack(">I", draw(st.one_of(st.integers(0, 2 * len(whole)), NUMBERS)))
    return bytes(whole)


TREES = st.recursive(leaves(), parents, max_leaves=25)


@st.composite
def fragments(draw: st.DrawFn) -> bytes:
    """Fragments of a few shapes, with numbers of their own, and some media data between them."""
    shape = st.tuples(st.sampled_from([0, 0x10, 0x11, 0x38]), st.sampled_from([0, 1, 0x200, 0x305, 0xF00]))
    shapes = draw(st.lists(shape, min_size=1, max_size=3))
    parts = []
    for _ in range(draw(st.integers(1, 12))):
        tfhd, trun = draw(st.sampled_from(shapes))
        word = st.integers(0, 40)
        head = struct.pack(">9I", tfhd, draw(st.integers(1, 2)), *(draw(word) for _ in range(7)))
        count = draw(st.integers(0, 2))
        run = struct.pack(">2I", trun, count) + b"".join(struct.pack(">I", draw(word)) for _ in range(10))
        moof = box(b"moof", box(b"mfhd", bytes(8)), box(b"traf", box(b"tfhd", head), box(b"trun", run)))
        parts += [moof, box(b"mdat", bytes(draw(st.integers(0, 30))))]
    return b"".join(parts)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A real file, some numbers changed, cut short, or with a piece repeated, left out or put in front."""
    data = bytearray(sample(draw(st.sampled_from(list(LAYOUTS)))))
    header = data.find(b"moov")
    near = st.integers(header, min(header + 1500, len(data) - 4))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.one_of(st.integers(0, len(data) - 4), near))
        data[at : at + 4] = struct.pack(">I", draw(NUMBERS))
    for _ in range(draw(st.integers(0, 2))):
        start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        if draw(st.booleans()):
            data[start:start] = data[start : min(end, start + 500)]
        elif end - start < 200:
            del data[start:end]
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return (draw(leaves()) if draw(st.integers(0, 4)) == 0 else b"") + bytes(data)


CUTS = st.lists(st.integers(0, 2**16), max_size=20)


@CALM
@given(mutations(), CUTS)
def test_a_mutated_file_ends_in_an_answer_that_does_not_depend_on_the_pieces(
    data: bytes, cuts: list[int]
) -> None:
    assert outcome(data, cuts) == outcome(data, [])


@CALM
@given(mutations(), CUTS)
def test_where_cut_files_are_accepted_the_answer_does_not_depend_on_the_pieces_either(
    data: bytes, cuts: list[int]
) -> None:
    whole = outcome(data, [], accept_truncated=True)
    assert outcome(data, cuts, accept_truncated=True) == whole
    strict = outcome(data, [])
    if isinstance(strict, Mp4Info):
        assert whole == strict
    elif isinstance(whole, Mp4Info):
        assert strict[0] == "truncated_mp4"
        assert whole.video.usable_size < len(data)


@CALM
@given(mutations())
def test_a_file_on_disk_is_judged_like_the_bytes_of_an_upload(data: bytes) -> None:
    with NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            judged: object = video_track(Path(file.name), BOUNDED)
        except InvalidVideoError as error:
            judged = (error.code, str(error))
    whole = outcome(data, [])
    assert judged == (whole.video if isinstance(whole, Mp4Info) else whole)


@CALM
@given(st.lists(TREES, max_size=4), st.sampled_from([b"", FTYP, movie(GOOD), stream()]), CUTS)
def test_any_tree_of_boxes_ends_in_an_answer_that_does_not_depend_on_the_pieces(
    trees: list[bytes], start: bytes, cuts: list[int]
) -> None:
    data = start + b"".join(trees)
    assert outcome(data, cuts) == outcome(data, [])


@CALM
@given(fragments(), CUTS)
def test_fragments_end_in_an_answer_that_does_not_depend_on_the_pieces(data: bytes, cuts: list[int]) -> None:
    data = stream(data)
    assert outcome(data, cuts) == outcome(data, [])


KNOWN = fragment(0, 1)
LONG = box(b"moof", KNOWN[8:], large=True)


@pytest.mark.parametrize(
    "last", [KNOWN, LONG, box(b"moof", box(b"free")), box(b"free", large=True), box(b"meta"), box(b"moov")]
)
def test_the_limit_of_effort_is_met_at_the_same_place_however_the_file_is_cut(last: bytes) -> None:
    data = stream(KNOWN * 3, LONG, box(b"free") * 3, last)
    answers = set()
    for steps in range(700, 1100):
        limits = CheckLimits(steps=steps)
        whole = outcome(data, [], limits=limits)
        assert outcome(data, list(range(len(data))), limits=limits) == whole
        answers.add(isinstance(whole, Mp4Info))
    assert answers == {True, False}


@CALM
@given(fragments())
def test_a_fragment_that_is_recognised_counts_as_if_it_was_read(data: bytes) -> None:
    read = stream(box(b"moof", box(b"free", bytes(1 << 16))), data)
    with pytest.MonkeyPatch.context() as patch:
        recognised = outcome(read, [])
        patch.setattr("videoqueue.mp4.stencils._MAX_STENCILS", 0)
        assert outcome(read, []) == recognised


@CALM
@given(st.binary(max_size=300))
def test_any_content_of_a_box_ends_in_an_answer(data: bytes) -> None:
    for file in (
        FTYP + box(b"moov", data) + data,
        movie(trak(stsd(data))),
        movie(trak(stsd(entry(b"mp4v", inside=box(b"esds", data))) + tables())),
        movie(trak(stsd(entry(inside=box(b"colr", data))) + tables())),
        movie(trak(stsd(entry(inside=struct.pack(">I4s", len(data), b"colr") + data)) + tables())),
        stream(box(b"moof", data)),
    ):
        assert outcome(file, [9]) == outcome(file, [])


COLOUR_TYPES = st.one_of(st.sampled_from([b"nclx", b"nclc", b"prof", b"rICC"]), st.binary(max_size=4))
COLOUR_CODES = st.lists(st.sampled_from([0, 1, 2, 9, 16, 255, 256, 0xFFFF]), min_size=4, max_size=4)


@CALM
@given(st.lists(st.tuples(COLOUR_TYPES, COLOUR_CODES, st.integers(0, 8)), min_size=1, max_size=4), CUTS)
def test_the_colours_are_those_of_the_first_box_with_tags(
    contents: list[tuple[bytes, list[int], int]], cuts: list[int]
) -> None:
    parts = [(kind, struct.pack(">4H", *codes)[:size]) for kind, codes, size in contents]
    tagged = [
        (kind, struct.unpack_from(">3H", rest), rest[6:7])
        for kind, rest in parts
        if kind in (b"nclx", b"nclc") and len(rest) >= 6
    ]
    expected = None
    if tagged:
        kind, codes, flags = tagged[0]
        primaries, transfer, matrix = (code if 0 < code < 256 else 2 for code in codes)
        full_range = flags[0] >= 0x80 if kind == b"nclx" and flags else None
        expected = ColourTags(primaries, transfer, matrix, full_range)
    inside = b"".join(box(b"colr", *part) for part in parts)

    found = outcome(movie(trak(stsd(entry(inside=inside)) + tables())), cuts)

    assert isinstance(found, Mp4Info)
    assert found.video.colours == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_passes_however_it_is_cut(layout: str) -> None:
    data = sample(layout)
    assert outcome(data, []) == outcome(data, list(range(len(data))))
    assert isinstance(outcome(data, []), Mp4Info)
    for length in range(0, len(data), len(data) // 40):
        cut = outcome(data[:length], [])
        assert isinstance(cut, Mp4Info) or cut[0] in ("truncated_mp4", "file_empty", "not_mp4")
