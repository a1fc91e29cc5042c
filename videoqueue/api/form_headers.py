"""Headers of forms, read as leniently as clients write them: the boundary, and what a part is."""

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
#: The same where a backslash means nothing, and a quote ends the value if a parameter or nothing follows it.
_LOOSE_PARAMETER: Final = re.compile(
    r';[ \t]*([^=;" \t]+)[ \t]*=[ \t]*("(?:.*?)"(?=[ \t]*(?:;|$))|[^;]*)', re.ASCII | re.DOTALL
)
#: Each may be looked for up to the end of the header.
_MAX_LOOSE_PARAMETERS: Final = 16
_FILE_NAME: Final = re.compile(r";[ \t]*filename[*0-9]*[ \t]*=", re.IGNORECASE | re.ASCII)
_CHARSET: Final = re.compile(r'charset[ \t]*=[ \t]*"?([^ \t;"]+)', re.IGNORECASE | re.ASCII)


def boundary_of(content_type: str) -> str | None:
    """Finds the boundary that a request's Content-Type names.

    An unquoted boundary goes on to the next semicolon: clients forget the quotes that RFC 2045 section 5.1
    asks for around characters such as `=`, `/`, `:` and `?`.

    Returns:
        The boundary, '' if a form has none, None if the body is no form.
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
    """What the headers of one part say.

    Attributes:
        name: the name of the field; '' if there is none.
        names_file: whether a file name is given, in whatever form. The name itself is used nowhere.
        kind: the media type in lower case; '' if there is none.
        charset: the encoding of text; '' if there is none.
        codings: Content-Encoding and Content-Transfer-Encoding, where they change the bytes.
    """

    name: str
    names_file: bool
    kind: str
    charset: str
    codings: tuple[str, ...]


def read_part_headers(headers: list[tuple[str, str]]) -> PartHeaders:
    """Reads headers as (name in lower case, value with each byte as a character); of several the first."""
    first = dict(reversed(headers))
    disposition = first.get("content-disposition", "")
    content_type = first.get("content-type", "")
    charset = _CHARSET.search(content_type)
    codings = (first.get(f"content-{which}encoding", "").strip().lower() for which in ("", "transfer-"))
    return PartHeaders(
        name=_field_name(disposition),
        names_file=_FILE_NAME.search(disposition) is not None,
        kind=content_type.partition(";")[0].strip().lower(),
        charset=charset.group(1) if charset else "",
        codings=tuple(
            coding for coding in codings if coding not in ("", "identity", "7bit", "8bit", "binary")
        ),
    )


def _field_name(disposition: str) -> str:
    parameters = disposition[disposition.find(";") :] if ";" in disposition else ""
    found: dict[str, str] = {}
    for key, value in _strictly(parameters) or _loosely(parameters):
        found.setdefault(key.lower(), value)
    if "name" in found:
        return _decoded(_unquoted(found["name"]).encode("latin-1"))
    return _decoded(unquote_to_bytes(found.get("name*", "").rpartition("'")[2]))


def _strictly(text: str) -> list[tuple[str, str]] | None:
    """The parameters, or None if the whole is not well-formed.

    The second byte of a character in Shift-JIS or GBK may be a backslash. Before the closing quote of a file
    name it would quote that.
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
