"""Forms byte by byte as clients send them, over a real socket. No file name costs an upload."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import Client, Web, serving
from tests.support.videos import make_video

HEAD = b'Content-Disposition: form-data; name="file"'
KIND = b"multipart/form-data; boundary=b"
HEADERS = "video octet-stream text bare unquoted folded type-first attachment transfer no-headers identity"
FIELDS = "type spaces utf-16 charset-field charset-field-ascii retrofit unknown-charset unquoted"
TEXT = b"Content-Type: text/plain; charset=UTF-8\r\n"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_video(tmp_path_factory.mktemp("video") / "video.mp4").read_bytes()


def send(web: Web, body: bytes, kind: bytes = KIND, more: bytes = b"") -> tuple[int, dict[str, Any]]:
    """One request whose every byte is given here."""
    head = (
        b"POST /video/submit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
        + kind
        + b"\r\n"
        + more
    )
    with Client(web) as client:
        client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        said = client.answer()
    return int(said.split(b" ")[1]), json.loads(said.partition(b"\r\n\r\n")[2])


def part(headers: bytes, content: bytes, boundary: bytes = b"b") -> bytes:
    return b"--" + boundary + b"\r\n" + headers + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def field(name: bytes, value: bytes, headers: bytes = b"") -> bytes:
    return part(b'Content-Disposition: form-data; name="' + name + b'"' + (b"\r\n" + headers).rstrip(), value)


def accepted(web: Web, video: bytes, answer: tuple[int, dict[str, Any]]) -> None:
    assert answer[0] == 202, answer
    (stored,) = web.files()
    assert stored.read_bytes() == video
    (job,) = web.rows()
    assert job.input_key == f"inputs/{stored.name}"
    assert job.input_key.isascii()


def refused(web: Web, answer: tuple[int, dict[str, Any]], status: int, code: str) -> str:
    assert (answer[0], answer[1]["code"]) == (status, code), answer
    assert (web.rows(), web.files()) == ([], [])
    detail: str = answer[1]["detail"]
    return detail


NAMES = {
    "latin-1": b'; filename="Pr\xe4sentation.mp4"',
    "windows-1252": b'; filename="\x93a\x94 \x80.mp4"',
    "utf-8": '; filename="Präsentation 表.mp4"'.encode(),
    "shift-jis": '; filename="予定表.mp4"'.encode("shift_jis"),
    "shift-jis-backslash-last": '; filename="予定表"'.encode("shift_jis"),
    "gbk": '; filename="誠"'.encode("gbk"),
    "iso-2022-jp": '; filename="動画.mp4"'.encode("iso2022_jp"),
    "utf-16": '; filename="動画.mp4"'.encode("utf-16-le"),
    "star-only": b"; filename*=UTF-8''Pr%C3%A4sentation.mp4",
    "both": b"; filename=\"a.mp4\"; filename*=UTF-8''%E8%A1%A8.mp4",
    "both-other-order": b"; filename*=ISO-8859-1'de'Pr%E4.mp4; filename=a.mp4",
    "broken-percent": b"; filename*=UTF-8''%E4%zz%",
    "unknown-charset": b"; filename*=nonsense''a",
    "continued": b'; filename*0="a"; filename*1=".mp4"',
    "encoded-word": b'; filename="=?UTF-8?B?w6Q=?="',
    "empty": b'; filename=""',
    "no-value": b"; filename=",
    "long": b'; filename="' + b"a" * 60_000 + b'"',
    "controls": b'; filename="\x01\x02\x1b[31m\x7f.mp4"',
    "line-ends": b'; filename="a\nb\rc.mp4"',
    "new-header-line": b'; filename="a\r\nb: c.mp4"\r\nd',
    "path": b'; filename="../../etc/passwd"',
    "drive": b'; filename="C:\\videos\\"',
    "quotes": b'; filename="a"b".mp4"',
    "escaped-quotes": b'; filename="a\\"b.mp4"',
    "unterminated": b'; filename="a.mp4',
    "unquoted": b"; filename=my video.mp4",
    "semicolons": b'; filename="a; name=other; b.mp4"',
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_no_file_name_costs_an_upload(web: Web, video: bytes, name: bytes) -> None:
    body = form(part(HEAD + name + b"\r\nContent-Type: video/mp4", video), field(b"frame_stride", b"3"))
    accepted(web, video, send(web, body))
    assert web.rows()[0].frame_stride == 3


@pytest.mark.parametrize("name", ["latin-1", "shift-jis-backslash-last", "quotes", "drive", "star-only"])
def test_no_file_name_before_the_name_of_the_field_costs_an_upload(web: Web, video: bytes, name: str) -> None:
    head = b"Content-Disposition: form-data" + NAMES[name] + b'; name="file"'
    accepted(web, video, send(web, form(part(head, video))))


@pytest.mark.parametrize(
    "headers",
    [
        HEAD + b"\r\nContent-Type: video/mp4",
        HEAD + b"\r\nContent-Type: application/octet-stream",
        HEAD + b"\r\nContent-Type: text/plain",
        HEAD,
        b"content-disposition:form-data;name=file\r\nCONTENT-TYPE:VIDEO/MP4",
        b'Content-Disposition: form-data;\r\n name="file";\r\n\tfilename="v.mp4"',
        b'Content-Type: video/mp4\r\nContent-Disposition: form-data; name="file"',
        b'Content-Disposition: attachment; name="file"; filename="v.mp4"',
        HEAD + b"\r\nContent-Transfer-Encoding: binary\r\nContent-Length: 17\r\nX-Any: \xff\xfe",
        HEAD + b"\r\nno header at all\r\n: neither\r\nX Y: nor this",
        HEAD + b"\r\nContent-Encoding: identity\r\nContent-Transfer-Encoding: 8BIT",
    ],
    ids=HEADERS.split(),
)
def test_a_part_named_file_is_the_file_whatever_else_its_headers_say(
    web: Web, video: bytes, headers: bytes
) -> None:
    accepted(web, video, send(web, form(part(headers, video))))


@pytest.mark.parametrize("value", [b"match.mp4", b"@match.mp4"])
@pytest.mark.parametrize("kind", [b"", b"\r\nContent-Type: text/plain", b"\r\nContent-Type: video/mp4"])
def test_text_instead_of_the_file_is_refused_with_the_remedy(web: Web, value: bytes, kind: bytes) -> None:
    answer = send(web, form(part(HEAD + kind, value)))
    assert "file=@video.mp4" in refused(web, answer, 400, "file_missing")


EMPTY = part(
    b'Content-Disposition: form-data; name="other"; filename=""\r\nContent-Type: application/octet-stream',
    b"",
)
EMPTY_FILE = EMPTY.replace(b"other", b"file")
FILE = HEAD + b'; filename="v.mp4"'


@pytest.mark.parametrize("empty", [EMPTY, EMPTY_FILE, part(HEAD, b"")], ids=["other", "file", "bare"])
@pytest.mark.parametrize("first", [True, False])
def test_an_extra_empty_file_input_is_ignored(web: Web, video: bytes, empty: bytes, first: bool) -> None:
    file = part(FILE, video)
    accepted(web, video, send(web, form(*((empty, file) if first else (file, empty)))))


def test_an_empty_file_alone_is_named_so(web: Web) -> None:
    refused(web, send(web, form(EMPTY_FILE)), 400, "file_empty")
    refused(web, send(web, form(EMPTY)), 400, "file_missing")
    refused(web, send(web, b"--b--\r\n"), 400, "file_missing")


def test_a_second_file_is_refused_by_its_name(web: Web, video: bytes) -> None:
    other = part(b'Content-Disposition: form-data; name="cover"; filename="c.jpg"', b"JPEG")
    assert "'cover'" in refused(web, send(web, form(part(FILE, video), other)), 400, "invalid_parameter")
    assert "'cover'" in refused(web, send(web, form(other, part(FILE, video))), 400, "file_missing")
    twice = form(part(FILE, video), part(FILE, video))
    assert "two fields `file`" in refused(web, send(web, twice), 400, "invalid_parameter")


def test_a_video_under_another_name_is_told_which(web: Web, video: bytes) -> None:
    headers = b'Content-Disposition: form-data; name="video"\r\nContent-Type: video/mp4'
    assert "'video'" in refused(web, send(web, form(part(headers, video))), 400, "file_missing")


def test_a_part_without_a_name_is_named_so(web: Web, video: bytes) -> None:
    for headers in (b"Content-Type: text/plain", b"Content-Disposition: form-data"):
        answer = send(web, form(part(headers, b"3"), part(FILE, video)))
        assert "Content-Disposition" in refused(web, answer, 400, "invalid_parameter")


@pytest.mark.parametrize(
    ("parameter", "boundary"),
    [
        (b"boundary=----=_Part_1_123.456", b"----=_Part_1_123.456"),
        (b"boundary=a/b:c?d=(e),f'g+h", b"a/b:c?d=(e),f'g+h"),
        (b'boundary="----=_Part_1_123.456"', b"----=_Part_1_123.456"),
        (b"charset=UTF-8; Boundary = a=b ; x=y", b"a=b"),
        (b'boundary="a;b"', b"a;b"),
        (b"boundary=\xe4", b"\xe4"),
    ],
)
def test_a_boundary_needs_no_quotes(web: Web, video: bytes, parameter: bytes, boundary: bytes) -> None:
    body = part(FILE, video, boundary) + b"--" + boundary + b"--"
    accepted(web, video, send(web, body, b"multipart/form-data; " + parameter))


def test_a_boundary_that_the_body_does_not_have_asks_for_quotes(web: Web, video: bytes) -> None:
    body = part(FILE, video, b"a;b") + b"--a;b--"
    for kind in (b"multipart/form-data; boundary=a;b", b"multipart/form-data; boundary=other"):
        assert "in double quotes" in refused(web, send(web, body, kind), 400, "invalid_parameter")


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"br", b"deflate", b"zstd", b"identity, gzip", b"x"])
@pytest.mark.parametrize("kind", [KIND, b"video/mp4"], ids=["form", "raw"])
def test_an_encoded_body_is_refused_as_such(web: Web, video: bytes, coding: bytes, kind: bytes) -> None:
    body = gzip.compress(form(part(FILE, video)) if kind == KIND else video)
    answer = send(web, body, kind, b"Content-Encoding: " + coding + b"\r\n")
    assert "Content-Encoding" in refused(web, answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("coding", [b"identity", b"Identity", b""])
def test_a_body_that_says_it_is_not_encoded_is_taken(web: Web, video: bytes, coding: bytes) -> None:
    answer = send(web, form(part(FILE, video)), more=b"Content-Encoding: " + coding + b"\r\n")
    accepted(web, video, answer)


@pytest.mark.parametrize("header", [b"Content-Encoding: gzip", b"Content-Transfer-Encoding: base64"])
def test_an_encoded_part_is_refused_as_such(web: Web, video: bytes, header: bytes) -> None:
    answer = send(web, form(part(FILE + b"\r\n" + header, video)))
    assert "encoded" in refused(web, answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("before", [b"", b"\r\n", b"\n", b"A form.\r\n"])
@pytest.mark.parametrize("behind", [b"", b"\r\n", b"\r\nthe end"])
def test_lines_may_end_as_they_like_and_text_may_stand_around(
    web: Web, video: bytes, end: bytes, before: bytes, behind: bytes
) -> None:
    body = end.join(
        [b"--b", FILE, b"", video, b"--b \t", HEAD.replace(b"file", b"frame_stride"), b"", b"3", b"--b--"]
    )
    accepted(web, video, send(web, before + body + behind))
    assert web.rows()[0].frame_stride == 3


def test_a_form_without_its_end_says_so(web: Web, video: bytes) -> None:
    body = form(part(FILE, video)).removesuffix(b"--\r\n")
    assert "its end is missing" in refused(web, send(web, body), 400, "invalid_parameter")


@pytest.mark.parametrize(
    "stride",
    [
        field(b"frame_stride", b"3", TEXT),
        field(b"frame_stride", b" 3\r\n"),
        field(b"frame_stride", "3".encode("utf-16"), b"Content-Type: text/plain; charset=UTF-16"),
        field(b"_charset_", b"UTF-16LE") + field(b"frame_stride", "3".encode("utf-16-le")),
        field(b"_charset_", b"windows-1252") + field(b"frame_stride", b"3"),
        field(b"frame_stride", b"3", b"Content-Type: multipart/form-data; charset=utf-8"),
        field(b"frame_stride", b"3", b"Content-Type: text/plain; charset=nonsense"),
        part(b"Content-Disposition: form-data; name=frame_stride", b"3"),
    ],
    ids=FIELDS.split(),
)
def test_a_field_is_read_in_the_encoding_it_names(web: Web, video: bytes, stride: bytes) -> None:
    accepted(web, video, send(web, form(stride, part(FILE, video))))
    assert web.rows()[0].frame_stride == 3


def test_a_field_that_is_no_text_in_its_encoding_is_refused(web: Web, video: bytes) -> None:
    bad = field(b"pipeline_id", b"\xe4", b"Content-Type: text/plain; charset=us-ascii")
    answer = send(web, form(bad, part(FILE, video)))
    assert "takes text in us-ascii" in refused(web, answer, 400, "invalid_parameter")


OVER_A_LIMIT = {
    "16 parts, the most that are accepted (VIDEOQUEUE_MAX_FORM_PARTS)": form(
        *[field(b"_charset_", b"utf-8")] * 17
    ),
    "16 headers, the most that are accepted (VIDEOQUEUE_MAX_FORM_HEADERS)": form(
        part(FILE + b"\r\nX: y" * 16, b"")
    ),
    "65,536 bytes of headers, the most that are accepted (VIDEOQUEUE_MAX_FORM_HEADER_BYTES)": form(
        part(FILE + b"\r\nX: " + b"y" * 70_000, b"")
    ),
    "at most 4,096 bytes (VIDEOQUEUE_MAX_FORM_FIELD_BYTES)": form(field(b"pipeline_id", b"y" * 4097)),
    "names within 65,536 bytes (VIDEOQUEUE_MAX_FORM_HEADER_BYTES)": b"y" * 70_000 + form(part(FILE, b"")),
    "its boundary also occurs in a part": part(FILE, b"\r\n--b" + b"y" * 70_000),
}


@pytest.mark.parametrize("says", OVER_A_LIMIT)
def test_a_form_over_a_limit_is_told_its_setting(web: Web, says: str) -> None:
    assert says in refused(web, send(web, OVER_A_LIMIT[says]), 400, "invalid_parameter")


def test_a_form_up_to_its_limits_is_taken(web: Web, video: bytes) -> None:
    full = FILE + b"\r\nX: y" * 14 + b"\r\nX: " + b"y" * 60_000
    accepted(web, video, send(web, form(*[EMPTY] * 15, part(full, video))))


def test_a_form_over_the_usual_limits_is_taken_where_they_are_higher(
    tmp_path: Path, redis_url: str, video: bytes
) -> None:
    higher = {
        "VIDEOQUEUE_MAX_FORM_PARTS": "20",
        "VIDEOQUEUE_MAX_FORM_HEADERS": "20",
        "VIDEOQUEUE_MAX_FORM_HEADER_BYTES": "100000",
        "VIDEOQUEUE_MAX_FORM_FIELD_BYTES": "5000",
    }
    full = FILE + b"\r\nX: y" * 18 + b"\r\nX: " + b"y" * 90_000
    padded = field(b"pipeline_id", b"yolo_ocr".ljust(5000))
    with serving(tmp_path / "web", REDIS_URL=redis_url, **higher) as web:
        accepted(web, video, send(web, form(*[EMPTY] * 18, padded, part(full, video))))


def test_a_form_may_come_byte_by_byte(web: Web, video: bytes, tmp_path: Path) -> None:
    body = form(field(b"frame_stride", b"3"), part(FILE, video))
    head = b"POST /video/submit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: " + KIND
    with Client(web) as client:
        client.send(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        said = client.answer()
    accepted(web, video, (int(said.split(b" ")[1]), {}))
