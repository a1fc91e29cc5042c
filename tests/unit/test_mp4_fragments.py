"""Files in fragments: which samples are counted, and which tables are refused."""

from __future__ import annotations

import struct

import pytest

from tests.support.mp4_boxes import (
    BOUNDED,
    FTYP,
    MAX_SAMPLES,
    box,
    check,
    fault,
    fragment,
    stream,
    tfhd,
)
from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import Mp4Check


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
