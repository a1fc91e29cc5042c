"""Copies a response to a file. One that breaks off is continued, or begun again."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

import requests

from videoqueue.client.errors import ClientError
from videoqueue.client.responses import CutError, pieces

_PARTIAL: Final = 206
_NO_SUCH_BYTES: Final = 416


class Writable(Protocol):
    """A binary file object."""

    def write(self, data: bytes, /) -> object:
        """Writes all bytes. Returns anything; it is ignored."""
        ...


class Download:
    """The bytes of one representation, over all attempts.

    Args:
        output: where they go.
        restart: empties the output; None if it cannot be emptied.
        ranges: whether the service sends a part of it.
    """

    def __init__(self, output: Writable, restart: Callable[[], object] | None, *, ranges: bool) -> None:
        self._output = output
        self._restart = restart
        self._ranges = ranges
        self._written = 0
        self._etag: str | None = None
        self._has_rest = True
        self._asked_for_rest = False

    def position(self) -> int:
        """Returns how many bytes are written."""
        return self._written

    def headers(self) -> dict[str, str]:
        """Returns the headers of the next attempt: those that ask for the rest."""
        if not self._ranges:
            return {}
        headers = {"Accept-Encoding": "identity"}
        self._asked_for_rest = False
        if self._written and self._etag is not None and self._has_rest:
            self._asked_for_rest = True
            headers |= {"Range": f"bytes={self._written}-", "If-Range": self._etag}
        return headers

    def accepts(self, response: requests.Response) -> bool:
        """Returns whether `read` takes a response that is no success: there is no rest to send."""
        return self._asked_for_rest and response.status_code == _NO_SUCH_BYTES

    def read(self, response: requests.Response) -> None:
        """Writes what is not written yet.

        Raises:
            CutError: the response ended early.
            ClientError: the content changed, and what was written cannot be taken back.
        """
        if response.status_code == _NO_SUCH_BYTES:
            self._require_all(response)
            return
        skip = self._skipped(response)
        for piece in pieces(response):
            rest = piece[skip:]
            skip = max(0, skip - len(piece))
            if rest:
                _write(self._output, rest)
                self._written += len(rest)
        if skip:
            raise CutError("it is shorter than before")

    def _require_all(self, response: requests.Response) -> None:
        """Returns if all bytes are written: the connection broke off behind the last one.

        The header says how many there are (RFC 9110, section 15.5.17). Without it, or with another number,
        the next attempt asks for all of them.
        """
        if response.headers.get("Content-Range", "").strip() != f"bytes */{self._written}":
            self._has_rest = False
            raise CutError("it has no rest, and does not say that all of it was sent")

    def _skipped(self, response: requests.Response) -> int:
        """Returns how many bytes of the response are written already."""
        etag = response.headers.get("ETag")
        if response.status_code == _PARTIAL:
            begin = f"bytes {self._written}-"
            if not self._ranges or not response.headers.get("Content-Range", "").startswith(begin):
                raise CutError("it is another part than the one that was asked for")
            return 0
        if self._written and (etag is None or etag != self._etag):
            self._begin_again()
        self._etag = etag
        return self._written

    def _begin_again(self) -> None:
        if self._restart is None:
            raise ClientError(
                "The connection broke off, and what the service sends has changed since, so that the output "
                "cannot be continued. Empty it and repeat the call.",
                code="broken_response",
            )
        self._restart()
        self._written = 0


def _write(output: Writable, data: bytes) -> None:
    """Writes all bytes, also to a file without a buffer, which may take only a part of them."""
    while data:
        taken = output.write(data)
        data = data[taken:] if isinstance(taken, int) and taken > 0 else b""


@contextmanager
def replacing(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], object] | None]]:
    """Yields a file that gets the name `path` when the block ends without an error, and how it is emptied.

    Until then a file with that name stays as it is. A device or a pipe is written to directly.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        with target.open("wb") as file:
            yield file, None
        return
    temporary = target.with_name(f".videoqueue-{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            yield file, lambda: (file.seek(0), file.truncate())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
