"""Reads multipart/form-data (RFC 7578) as a stream: text fields whole, the video in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from videoqueue.api.form_headers import PartHeaders
from videoqueue.api.form_parts import FormError, FormLimits, FormTooLargeError, read_parts
from videoqueue.api.problems import ApiError

#: A field `file` without a file name counts as text if it is not longer than this and has no zero byte.
_MISTAKEN_BYTES: Final = 4096

HOW: Final = (
    "Send it as the form field `file` (curl -F file=@video.mp4), "
    "or as a raw body with Content-Type: video/mp4."
)

#: The text encodings that a form can name. Some codecs of Python are not text encodings.
_TEXT: Final = re.compile(
    r"(utf-?(8|16|32)|ascii|us-ascii|iso-?8859|latin|windows-|cp\d|shift|sjis|ms932|euc-|gb|big5|koi8)[\w.-]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Field:
    """A text field of a form."""

    name: str
    value: str


@dataclass(frozen=True)
class FileName:
    """The file name of the video, as the client sent it."""

    value: str


#: What a form consists of; the bytes are pieces of the video.
Part: TypeAlias = Field | FileName | bytes


def read_form(pieces: Iterable[bytes], boundary: str, limits: FormLimits) -> Iterator[Part]:
    """Yields the text fields, the file name, and the video in pieces, in the order of the form.

    Args:
        pieces: the request body.
        boundary: the boundary of the form, with one character for each byte, like every header in WSGI.
        limits: the limits of the form.

    Raises:
        ApiError: the form cannot be read or exceeds a limit, or it does not have exactly one video.
    """
    try:
        yield from _Form(limits).read(pieces, boundary.encode("latin-1"))
    except FormTooLargeError as error:
        raise ApiError("invalid_parameter", str(error)) from None
    except FormError as error:
        raise ApiError("invalid_parameter", f"The body is not valid multipart/form-data: {error}.") from None


class _Form:
    """The state of one form while it is read."""

    def __init__(self, limits: FormLimits) -> None:
        self._limits = limits
        self._has_file = False
        self._has_content = False
        self._charset = "UTF-8"

    def read(self, pieces: Iterable[bytes], boundary: bytes) -> Iterator[Part]:
        for part, body in read_parts(pieces, boundary, self._limits):
            _require_plain(part)
            if not (part.name or part.names_file):
                raise ApiError(
                    "invalid_parameter",
                    "A part of the form has no name. Each part needs the header "
                    'Content-Disposition: form-data; name="...".',
                )
            if part.name == "file":
                yield from self._video(part, body)
            elif part.names_file or part.kind.startswith("video/"):
                self._require_empty(part, body)
            elif part.name == "_charset_":  # RFC 7578 section 4.6
                self._charset = self._text(part, body)
            else:
                yield Field(part.name, self._text(part, body))
        if not self._has_file:
            raise ApiError("file_missing", f"The form has no field `file`. {HOW}")

    def _video(self, part: PartHeaders, body: Iterator[bytes]) -> Iterator[FileName | bytes]:
        """Yields the file name and the bytes of a part named `file`.

        Such a part can occur again if all but one are empty.
        """
        self._has_file = True
        had_content = self._has_content
        for piece in body if part.names_file else _reject_text(body):
            if had_content:
                raise ApiError(
                    "invalid_parameter", "The form has two fields `file`. Send one video at a time."
                )
            if part.file_name and not self._has_content:
                yield FileName(part.file_name)
            self._has_content = True
            yield piece

    def _require_empty(self, part: PartHeaders, body: Iterator[bytes]) -> None:
        """Rejects a file under another name unless it is empty: browsers send unused file inputs as empty."""
        if next(body, None) is None:
            return
        name = part.name[:100]
        if self._has_content:
            raise ApiError(
                "invalid_parameter",
                f"The form has a second file, in the field {name!r}. Send one video at a time, as `file`.",
            )
        raise ApiError("file_missing", f"The video is in the field {name!r} instead of `file`. {HOW}")

    def _text(self, part: PartHeaders, body: Iterator[bytes]) -> str:
        value = bytearray()
        for piece in body:
            value += piece
            if len(value) > self._limits.field_bytes:
                most = f"{self._limits.field_bytes:,} bytes (VIDEOQUEUE_MAX_FORM_FIELD_BYTES)"
                raise _unusable(part, f"takes at most {most}")
        charset = part.charset or self._charset
        charset = charset if _TEXT.fullmatch(charset) else "UTF-8"
        try:
            if part.name == "name":  # only shown: it need not be exact
                return value.decode(charset, "replace")
            return value.decode(charset).strip()
        except (LookupError, UnicodeError):
            raise _unusable(part, f"takes text in {charset}") from None


def _reject_text(body: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the bytes of a field without a file name. Clients send the name of the file there by mistake.

    An MP4 starts with the size of its first box in four bytes. At least one of them is zero in a small file.

    Raises:
        ApiError: the bytes are short and text.
    """
    held = b""
    for piece in body:
        held += piece
        if b"\0" in held or len(held) > _MISTAKEN_BYTES:
            yield held
            yield from body
            return
    if held:
        raise ApiError("file_missing", f"The form field `file` contains text, not a file. {HOW}")


def _require_plain(part: PartHeaders) -> None:
    if part.codings:
        raise ApiError(
            "unsupported_media_type",
            f"A part of the form is encoded ({', '.join(part.codings)[:100]}). Send it without "
            "Content-Encoding, and with no Content-Transfer-Encoding other than binary.",
        )


def _unusable(part: PartHeaders, takes: str) -> ApiError:
    return ApiError("invalid_parameter", f"The form field {part.name[:100]!r} cannot be used: it {takes}.")
