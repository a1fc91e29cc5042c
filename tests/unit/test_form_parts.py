"""Forms are split as they were put together, however the bytes arrive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videoqueue.api.form_headers import PartHeaders, boundary_of, read_part_headers
from videoqueue.api.form_parts import FormError, FormLimits, FormTooLargeError, read_parts

BOUNDARY = b"-b"
LIMITS = FormLimits(parts=16, headers=16, header_bytes=64 * 1024, field_bytes=4096)
#: Made of what delimiters are made of.
CONTENT = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--", b"b", b"x", b"\0"]), max_size=30).map(b"".join)
HEAD = b'Content-Disposition: form-data; name="f"'


def in_pieces(body: bytes, sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        if body:
            yield body[:size]
            body = body[size:]
    if body:
        yield body


def read(body: bytes, sizes: list[int], boundary: bytes = BOUNDARY) -> list[bytes]:
    return [b"".join(part) for _, part in read_parts(in_pieces(body, sizes), boundary, LIMITS)]


@given(
    contents=st.lists(CONTENT, max_size=4),
    end=st.sampled_from([b"\r\n", b"\n"]),
    before=st.sampled_from([b"", b"\r\n", b"\n", b"This is a form.\r\n"]),
    behind=st.sampled_from([b"", b"\r\n", b"-- the end"]),
    sizes=st.lists(st.integers(1, 9), max_size=200),
)
def test_every_part_comes_out_as_it_went_in(
    contents: list[bytes], end: bytes, before: bytes, behind: bytes, sizes: list[int]
) -> None:
    dashed = b"--" + BOUNDARY
    whole = [content for content in contents if end + dashed not in end + content + end]
    parts = b"".join(dashed + end + HEAD + end + end + content + end for content in whole)
    assert read(before + parts + dashed + b"--" + behind, sizes) == whole


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_an_empty_part_may_end_with_the_empty_line_after_its_headers(end: bytes, size: int) -> None:
    dashed = b"--" + BOUNDARY
    empty, full = dashed + end + HEAD + end + end, dashed + end + HEAD + end + end + b"x" + end
    body = empty + full + empty + empty + dashed + b"--"
    assert read(body, [size] * len(body)) == [b"", b"x", b"", b""]


@given(body=st.binary(max_size=300), sizes=st.lists(st.integers(1, 50), max_size=20))
def test_no_bytes_raise_anything_but_a_form_error(body: bytes, sizes: list[int]) -> None:
    for start in (b"", b"--b\r\n", b"--b\n", b"--b\r\n" + HEAD + b"\r\n\r\n"):
        try:
            read(start + body, sizes, b"b")
        except FormError:
            continue


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_no_header_raises(value: str) -> None:
    read_part_headers([("content-disposition", f"form-data{value}"), ("content-type", value)])
    boundary_of(f"multipart/form-data{value}")


def test_a_cut_form_is_an_error_wherever_it_is_cut() -> None:
    body = b"--b\r\n" + HEAD + b"\r\n\r\nx\r\n--b--"
    assert read(body, [], b"b") == [b"x"]
    for end in range(len(body)):
        with pytest.raises(FormError):
            read(body[:end], [3], b"b")


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\n" + b"x" * 70_000,
        b"--b\r\n" + (b"X: " + b"x" * 20_000 + b"\r\n") * 4,
        b"--b\r\n" + b"X: y\r\n" * 17 + b"\r\n",
        (b"--b\r\n" + HEAD + b"\r\n\r\n\r\n") * 17 + b"--b--",
    ],
    ids=["line", "headers", "count", "parts"],
)
def test_what_is_held_at_once_is_bounded(body: bytes) -> None:
    with pytest.raises(FormTooLargeError):
        read(body, [1000] * 200, b"b")


@pytest.mark.parametrize(
    "value",
    [
        "; a=" + '"\\' * 30_000,
        ';a="' * 15_000,
        "; a" + " " * 60_000,
        ";" * 60_000,
        '; a="' + '" ' * 30_000,
        ";a=b" * 15_000,
    ],
)
def test_no_header_takes_long(value: str) -> None:
    """Hangs if a pattern looks at each character once for every other one."""
    for _ in range(20):
        read_part_headers(
            [("content-disposition", f'form-data{value}; name="file"'), ("content-type", value)]
        )


def named(disposition: bytes) -> PartHeaders:
    return read_part_headers([("content-disposition", disposition.decode("latin-1"))])


@pytest.mark.parametrize(
    "disposition",
    [
        b'form-data; name="file"; filename="Pr\xe4sentation.mp4"',
        b'form-data; name="file"; filename="\x95\x5c"',  # Shift-JIS, ends with a backslash
        b'form-data; filename="\x95\x5c"; name="file"',
        b'form-data; filename="\x1b$B"; \x1b(B.mp4"; name="file"',  # ISO-2022-JP, a quote within
        b'form-data; name="file"; filename="a"b.mp4"',
        b'form-data; filename="a"b.mp4"; name="file"',
        b'form-data; filename="a\\"; name=\\"x\\".mp4"; name="file"',
        b'form-data; name="file"; filename="C:\\dir\\"',
        b'form-data; filename="C:\\dir\\"; name="file"',
        b'form-data; name="file"; filename="',
        b'form-data; name="file"; filename=',
        b'form-data; name="file"; filename',
        b"form-data; name=file; filename=my video.mp4",
        b"form-data; filename=my video.mp4; name=file",
        b"form-data;name=file;filename=a",
        b'FORM-DATA ;\tNAME = "file" ; FileName="a";',
        b"form-data; name*=UTF-8''file; filename=a",
        b"form-data; name=\"file\"; filename*=UTF-8''%E4%zz%",
        b"form-data; filename*=ISO-8859-1''%E4; name=\"file\"",
        b'form-data; filename=""; name="file"',
        b'form-data; name="file"; name="other"; filename="\x00\x01\x7f"',
        b'attachment; name="file"; filename="a"',
    ],
)
def test_no_file_name_hides_the_name_of_the_field(disposition: bytes) -> None:
    part = named(disposition)
    assert part.name == "file"
    assert part.names_file or b"filename" in disposition.lower().split(b";")[-1]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('multipart/form-data; boundary="abc"', "abc"),
        ("Multipart/Form-Data;BOUNDARY = abc ; charset=utf-8", "abc"),
        ("multipart/form-data; charset=utf-8; boundary=abc", "abc"),
        ("multipart/form-data, boundary=abc", "abc"),
        ("multipart/form-data; boundary=----=_Part_1_2.3", "----=_Part_1_2.3"),
        ("multipart/form-data; boundary=a/b:c?d=(e),f'g+h", "a/b:c?d=(e),f'g+h"),
        ('multipart/form-data; boundary="a;b"', "a;b"),
        ('multipart/form-data; boundary="a\\"b"', 'a"b'),
        ('multipart/form-data; boundary="abc', "abc"),
        ("multipart/form-data; boundary=\xe4", "\xe4"),
        ("multipart/form-data; boundary=", ""),
        ("multipart/form-data", ""),
        ("multipart/form-datas; boundary=abc", None),
        ("multipart/mixed; boundary=abc", None),
        ("", None),
    ],
)
def test_a_boundary_is_read_as_clients_write_it(content_type: str, boundary: str | None) -> None:
    assert boundary_of(content_type) == boundary
