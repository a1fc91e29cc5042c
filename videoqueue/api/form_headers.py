"""Reads the headers of forms: the boundary, and the headers of a part. Lenient, like common servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final
from urllib.parse import unquote_to_bytes

_FORM: Final = re.compile(r"[ \t]*multipart/form-data[ \t]*(?:[;,]|$)", re.IGNORECASE)
_BOUNDARY: Final = re.compile(
    r'[;,][ \t]*boundary[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.IGNORECASE | re.ASCII
)
#: A parameter of Content-Disposition by RFC 9110 section 5.6.6; its value may be a quoted-string.
_PARAMETER: Final = re.compile(
    r'[ \t]*;[ \t]*(?:([^=;" \t]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^";]*))?', re.ASCII | re.DOTALL
)
#: The same without escapes: a quote ends the value if a parameter follows it, or nothing.
_LOOSE_PARAMETER: Final = re.compile(
    r';[ \t]*([^=;" \t]+)[ \t]*=[ \t]*("(?:.*?)"(?=[ \t]*(?:;|$))|[^;]*)', re.ASCII | re.DOTALL
)
#: A limit on the work: the search for one parameter can read the whole header.
_MAX_LOOSE_PARAMETERS: Final = 16
_FILE_NAME: Final = re.compile(r";[ \t]*filename[*0-9]*[ \t]*=", re.IGNORECASE | re.ASCII)
_CHARSET: Final = re.compile(r'charset[ \t]*=[ \t]*"?([^ \t;"]+)', re.IGNORECASE | re.ASCII)


def boundary_of(content_type: str) -> str | None:
    """Finds the boundary in the Content-Type of a request.

    An unquoted boundary ends at the next semicolon. RFC 2045 section 5.1 requires quotes around characters
    such as `=`, `/`, `:` and `?`, but some clients omit them.

    Returns:
        The boundary; '' for a form without one; None if the body is not a form.
    """
    if not _FORM.match(content_type):
        return None
    found = _BOUNDARY.search(content_type)
    if found is None:
        return ""
    quoted, plain = found.groups()
    return re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain.strip(' \t"')


@dataclass(frozen=True)
class PartHeaders:
    """The headers of one part.

    Attributes:
        name: the name of the field; '' if there is none.
        names_file: whether there is a file name, in any syntax.
        file_name: the file name, with a replacement for undecodable bytes; '' if there is none, or it cannot
            be found.
        kind: the media type in lower case; '' if there is none.
        charset: the encoding of text; '' if there is none.
        codings: the values of Content-Encoding and Content-Transfer-Encoding that change the bytes.
    """

    name: str
    names_file: bool
    file_name: str
    kind: str
    charset: str
    codings: tuple[str, ...]


def read_part_headers(headers: list[tuple[str, str]]) -> PartHeaders:
    """Returns the headers of a part. The first one counts if a header occurs several times.

    Args:
        headers: pairs of a name in lower case and a value with one character for each byte.
    """
    first = dict(reversed(headers))
    disposition = first.get("content-disposition", "")
    content_type = first.get("content-type", "")
    charset = _CHARSET.search(content_type)
    parameters = _parameters(disposition)
    codings = (first.get(f"content-{which}encoding", "").strip().lower() for which in ("", "transfer-"))
    return PartHeaders(
        name=_field_name(parameters),
        names_file=_FILE_NAME.search(disposition) is not None,
        file_name=_file_name(parameters),
        kind=content_type.partition(";")[0].strip().lower(),
        charset=charset.group(1) if charset else "",
        codings=tuple(
            coding for coding in codings if coding not in ("", "identity", "7bit", "8bit", "binary")
        ),
    )


def _parameters(disposition: str) -> dict[str, str]:
    text = disposition[disposition.find(";") :] if ";" in disposition else ""
    found: dict[str, str] = {}
    for key, value in _strictly(text) or _loosely(text):
        found.setdefault(key.lower(), value)
    return found


def _file_name(found: dict[str, str]) -> str:
    """Returns the file name; `filename*` (RFC 8187) comes before `filename`, as in RFC 6266 section 4.3."""
    if "filename*" in found:
        charset, _, value = found["filename*"].partition("'")
        encoding = "latin-1" if charset.strip().lower() == "iso-8859-1" else "utf-8"
        return unquote_to_bytes(value.partition("'")[2].strip(' \t"')).decode(encoding, "replace")
    # Browsers write a quote as %22 (HTML standard, multipart/form-data), other clients as \".
    text = _unquoted(found.get("filename", "")).replace('\\"', '"').replace("%22", '"')
    return text.encode("latin-1").decode("utf-8", "replace")


def _field_name(found: dict[str, str]) -> str:
    if "name" in found:
        return _decoded(_unquoted(found["name"]).encode("latin-1"))
    return _decoded(unquote_to_bytes(found.get("name*", "").rpartition("'")[2]))


def _strictly(text: str) -> list[tuple[str, str]] | None:
    """Returns the parameters by RFC 9110, or None if the text is not well-formed.

    It is not well-formed after a file name in Shift-JIS or GBK whose last byte is a backslash: that byte
    escapes the closing quote.
    """
    found = []
    at, end = 0, len(text.rstrip(" \t"))
    while at < end:
        match = _PARAMETER.match(text, at)
        if match is None:
            return None
        if match.group(1):
            found.append((match.group(1), match.group(2)))
        at = match.end()
    return found


def _loosely(text: str) -> Iterator[tuple[str, str]]:
    for match in islice(_LOOSE_PARAMETER.finditer(text), _MAX_LOOSE_PARAMETERS):
        yield match.group(1), match.group(2)


def _unquoted(value: str) -> str:
    value = value.strip(" \t")
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _decoded(name: bytes) -> str:
    try:
        return name.decode().strip()
    except UnicodeDecodeError:
        return name.decode("latin-1").strip()
