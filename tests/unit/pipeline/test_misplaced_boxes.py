"""A top-level box whose type belongs inside another box changes neither the check nor a picture."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import pytest

from tests.support.mp4_boxes import box, check, sample
from videoqueue.mp4.misplaced import MISPLACED
from videoqueue.pipeline.decode import decoder

LAYOUTS = ("moov-first", "moov-last", "fragmented")


def pictures(file: Path) -> list[tuple[int, bytes]]:
    with decoder.open_video(file) as video:
        return [(frame.index, frame.image().tobytes()) for frame in video.frames()]


def assert_reads_as_before(tmp_path: Path, content: bytes, intact: bytes) -> None:
    """Both are accepted and have the same pictures."""
    expected = tmp_path / "intact.mp4"
    expected.write_bytes(intact)
    file = tmp_path / "changed.mp4"
    file.write_bytes(content)
    assert check(content).video.samples == check(intact).video.samples
    assert pictures(file) == pictures(expected)


@pytest.mark.parametrize("kind", sorted(MISPLACED))
def test_a_last_box_may_be_cut_off(kind: bytes, tmp_path: Path) -> None:
    intact = sample("moov-last")
    for there in (0, 3, 8, 20):
        assert_reads_as_before(tmp_path, intact + pack(">I4s", 5000, kind) + b"\xff" * there, intact)


@pytest.mark.parametrize("kind", sorted(MISPLACED))
@pytest.mark.parametrize("content", [b"", bytes(30), b"\xff" * 30])
def test_a_last_box_may_be_complete(kind: bytes, content: bytes, tmp_path: Path) -> None:
    intact = sample("moov-last")
    assert_reads_as_before(tmp_path, intact + box(kind, content), intact)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [b"uuid", b"pssh", b"stsd", b"trak", b"stts"])
@pytest.mark.parametrize("large", [False, True])
def test_such_a_box_may_have_a_size_of_64_bits(layout: str, kind: bytes, large: bool, tmp_path: Path) -> None:
    intact = sample(layout)
    assert_reads_as_before(tmp_path, intact + box(kind, b"abc", large=large), intact)


@pytest.mark.parametrize("kind", [b"uuid", b"pssh", b"stsd", b"trak", b"stts"])
def test_such_a_box_may_stand_in_front_of_the_header(kind: bytes, tmp_path: Path) -> None:
    intact = sample("moov-last")
    header = intact.index(b"moov") - 4
    assert_reads_as_before(tmp_path, intact[:header] + box(kind, b"abc") + intact[header:], intact)


def test_there_may_be_thousands_of_them(tmp_path: Path) -> None:
    intact = sample("moov-last")
    header = intact.index(b"moov") - 4
    many = b"".join(box(b"uuid", bytes(number % 16)) for number in range(5000))
    assert_reads_as_before(tmp_path, intact[:header] + many + intact[header:] + many, intact)


def test_the_first_file_type_counts_and_a_second_one_does_not(tmp_path: Path) -> None:
    intact = sample("moov-last")
    info = check(intact + box(b"ftyp", b"qt"))
    assert info.video.misplaced == (len(intact) + 4,)
    assert_reads_as_before(tmp_path, intact + box(b"ftyp", b"qt"), intact)


@pytest.mark.parametrize("kind", [b"\xa9x\x01\xff", bytes(4), b"\xff\xfe\xfd\xfc", "ö1".encode() + b"\0"])
def test_the_first_box_may_have_any_type(kind: bytes, tmp_path: Path) -> None:
    intact = sample("moov-last")
    assert_reads_as_before(tmp_path, intact[:4] + kind + intact[8:], intact)
