"""The interface of every object storage, and the texts of its errors."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeAlias

from videoqueue.errors import StorageFullError, StorageUnavailableError, TransientError

Bytes: TypeAlias = bytes | bytearray | memoryview
#: Called now and then during a long call; what it raises ends the call.
Check: TypeAlias = Callable[[], None]

UNAVAILABLE = "The storage for videos cannot be used at the moment. Try again in a minute."
FULL = "The storage for videos is full. Try again when space has been freed."
MISSING = "The stored video is gone. Submit it again."

_KEY = re.compile(r"(?:[a-z0-9_-]{1,64}/){0,4}[a-z0-9_-]{1,128}(?:\.[a-z0-9]{1,10})?")


class ObjectWriter(Protocol):
    """Writes one object; use it in a `with`. Leaving that without `commit` leaves nothing behind."""

    def __enter__(self) -> ObjectWriter: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def write(self, data: Bytes) -> None:
        """Appends bytes; memory stays bounded however many there are.

        Raises:
            StorageFullError, StorageUnavailableError
        """

    def commit(self) -> None:
        """Makes the object appear under its key, whole and durable; replaces an older one at once.

        Raises:
            StorageFullError, StorageUnavailableError: the object may have appeared all the same.
        """


class ObjectStorage(Protocol):
    """Keeps objects under keys such as `inputs/<32 hex>.mp4`. Safe to use from several threads.

    Every method that takes a key raises ValueError when `is_key` refuses it, and every method raises
    StorageUnavailableError when the storage cannot be reached or used.
    """

    def open_writer(self, key: str) -> ObjectWriter: ...

    def download(self, key: str, path: Path, check: Check) -> str:
        """Copies the object to a new file in a folder that exists; a failed download leaves no file.

        A connection that breaks off is made anew, and the copy goes on from the byte it had reached.

        Args:
            check: is called before each block is written.

        Returns:
            The SHA-256 of the copy, 64 hexadecimal digits.

        Raises:
            ObjectMissingError: nothing is stored under the key.
            StorageFullError: there is no room for the copy.
            StorageUnavailableError: also when `path` exists, or the object was replaced meanwhile.
        """

    def delete(self, key: str) -> None:
        """Removes the object; does nothing when it is gone already."""

    def exists(self, key: str) -> bool: ...

    def list_older_than(self, seconds: float) -> Iterator[str]:
        """Keys of objects last written more than `seconds` ago, in no order; unfinished ones never appear."""

    def remove_stale(self, seconds: float) -> int:
        """Removes what writers that were killed have left, when untouched for `seconds`; returns how many."""

    def check(self) -> None:
        """Returns when the storage can be used.

        Raises:
            StorageFullError: it could be, but for want of space.
        """


def is_key(text: str) -> bool:
    """Whether it is a key: lower-case parts joined by `/`, so that none can lead out of the storage."""
    return _KEY.fullmatch(text) is not None


def require_key(key: str) -> str:
    if not is_key(key):
        raise ValueError("not a storage key")
    return key


def meaning_of(error: OSError) -> TransientError:
    """The storage error that stands for a failed system call."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageFullError(FULL)
    return StorageUnavailableError(UNAVAILABLE)
