"""Which bytes the headers of a request ask for."""

from __future__ import annotations

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from videoqueue.api.problems import ApiError
from videoqueue.api.ranges import ByteRange, wanted_range

ETAG = "abc"


def wanted(header: str, size: int = 100, if_range: str | None = None) -> ByteRange | None:
    headers = [("Range", header)] + ([] if if_range is None else [("If-Range", if_range)])
    return wanted_range(Request(EnvironBuilder(headers=headers).get_environ()), size, ETAG)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-", 0, 100),
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=99-", 99, 100),
        ("bytes=50-1000", 50, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-1000", 0, 100),
        ("Bytes= 3-4 ", 3, 5),
        ("bytes=3-4, 10-20", 3, 5),
        ("bytes=,3-4", 3, 5),
        ("bytes=200-300, 10-20", 10, 21),
        (f"bytes=0-{'9' * 5000}", 0, 100),
    ],
)
def test_a_range_is_the_bytes_asked_for(header: str, start: int, end: int) -> None:
    assert wanted(header) == ByteRange(start, end, 100)


@pytest.mark.parametrize(
    "header",
    [
        *("", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1-2-3", "items=0-1"),
        *("bytes=0-1, x", "bytes=+1-2", "bytes=٠-١", "bytes=0-1,5-4"),
    ],
)
def test_what_is_no_range_of_bytes_asks_for_the_whole(header: str) -> None:
    assert wanted(header) is None


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=500-,600-700", f"bytes={'9' * 5000}-"]
)
def test_what_is_behind_the_end_cannot_be_had(header: str) -> None:
    with pytest.raises(ApiError, match="100 bytes") as raised:
        wanted(header)
    assert (raised.value.code, raised.value.headers) == (
        "range_not_satisfiable",
        {"Content-Range": "bytes */100"},
    )


def test_if_range_asks_for_the_whole_of_another_version() -> None:
    assert wanted("bytes=0-1", if_range='"abc"') == ByteRange(0, 2, 100)
    for other in ('"abd"', 'W/"abc"', "abc", "Sat, 31 Jan 2026 12:00:00 GMT"):
        assert wanted("bytes=0-1", if_range=other) is None


@given(st.text("bytes=0123456789-, \t", max_size=30), st.integers(1, 10**12))
def test_any_header_is_the_whole_a_part_or_refused(header: str, size: int) -> None:
    try:
        found = wanted(header.strip(), size)
    except ApiError:  # there are no such bytes
        return
    assert found is None or 0 <= found.start < found.end <= found.size == size
