"""The video of a submission as the body of a request."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from videoqueue.client.attempts import Failure
from videoqueue.client.errors import ClientError

#: Bytes that are sent at once. The service refuses bodies of many tiny chunks.
_PIECE: Final = 256 * 1024

#: Called with the bytes that were sent, and with those there are, or None if that is not known.
Progress = Callable[[int, int | None], object]


class Readable(Protocol):
    """A binary file object."""

    def read(self, size: int, /) -> bytes:
        """Returns at most so many bytes; none at the end."""
        ...


class BodyError(Exception):
    """The video cannot be read. It is no OSError, which urllib3 would take for one of the connection."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class Upload:
    """The bytes of a file object from its position on.

    Args:
        file: the file object.
        progress: called before the first piece and after each.

    Raises:
        TypeError: it is a text file, or no file.
    """

    def __init__(self, file: Readable, progress: Progress | None = None) -> None:
        self._file = _binary(file)
        self._progress = progress
        self._start = _position(file)
        self._size = None if self._start is None else _end(file, self._start) - self._start
        self._sent = 0
        self._begun = False

    @property
    def repeatable(self) -> bool:
        """Returns whether the body can be sent again."""
        return self._start is not None or not self._begun

    def unrepeatable(self, failure: Failure) -> ClientError:
        """Returns the error of a failure, with the note that the body could not be sent again."""
        error = failure.error
        error.detail += " The upload was not repeated: the file object is not seekable, and was read once."
        error.maybe_done = failure.maybe_done
        return error

    def rewind(self) -> None:
        """Goes to the beginning, for the next attempt."""
        if self._start is not None and self._begun:
            self._file.seek(self._start)
        self._sent = 0

    def __len__(self) -> int:
        """Returns the bytes to send; 0 if they are not known."""
        return self._size or 0

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._report()
            while piece := self._next():
                yield piece
                self._sent += len(piece)
                self._report()
        except Exception as error:  # noqa: BLE001 - of the caller's file object or callback
            raise BodyError(error) from None

    def _next(self) -> bytes:
        """Returns the next bytes: a whole piece, except at the end."""
        self._begun = True
        wanted = _PIECE if self._size is None else min(_PIECE, self._size - self._sent)
        piece = b""
        while len(piece) < wanted:
            more = self._file.read(wanted - len(piece))
            if not isinstance(more, bytes | bytearray | memoryview):
                raise TypeError("The file object has to be opened in binary mode: read() returned no bytes.")
            if not more:
                break
            piece += more
        if self._size is not None and len(piece) < wanted:
            raise ClientError(
                "The file became shorter while it was uploaded. Submit it when it is complete.",
                code="bad_file",
            )
        return piece

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._sent, self._size)


def _binary(file: Any) -> Any:
    if isinstance(file, io.TextIOBase) or not callable(getattr(file, "read", None)):
        raise TypeError("submit takes a path or a file object that is opened in binary mode.")
    return file


def _position(file: Any) -> int | None:
    """Returns the position of a file object; None if it cannot come back to it."""
    try:
        return int(file.tell()) if file.seekable() else None
    except (AttributeError, OSError):
        return None


def _end(file: Any, start: int) -> int:
    end = int(file.seek(0, os.SEEK_END))
    file.seek(start)
    return max(end, start)


def name_of(file: object) -> str | None:
    """Returns the name of a file without its folder, as far as it is text; None if there is none."""
    is_path = isinstance(file, str | os.PathLike)
    name = file if is_path else getattr(file, "name", None)
    if not isinstance(name, str | os.PathLike):
        return None
    shown = os.fsencode(Path(os.fsdecode(name)).name).decode(errors="replace")
    return None if not shown or (shown.startswith("<") and not is_path) else shown  # as in "<stdin>"
