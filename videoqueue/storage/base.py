"""The interface of an object storage, its keys and its error messages."""

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
    """Writes one object, in a `with` block. If the block ends without `commit`, nothing is stored.

    Example:
        ::

            with storage.open_writer("inputs/7c3ea37da05f44ac9cf16e5cee6bfec8.mp4") as writer:
                writer.write(data)
                writer.commit()
    """

    def __enter__(self) -> ObjectWriter:
        """Returns this writer."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Discards what was written, unless it is committed."""
        ...

    def write(self, data: Bytes) -> None:
        """Appends bytes. The memory in use does not depend on the size of the object.

        Args:
            data: the bytes.

        Raises:
            StorageFullError: there is no space for them.
            StorageUnavailableError: the storage cannot be used.
        """

    def commit(self) -> None:
        """Stores the object durably under its key. Readers see the old object, or all of the new one.

        Raises:
            StorageFullError: there is no space for it.
            StorageUnavailableError: the storage cannot be used; the object may be stored nevertheless.
        """


class Blocks(Protocol):
    """The bytes of a part of an object, block by block.

    The iteration raises StorageUnavailableError if the storage does not have all of them.
    """

    def __iter__(self) -> Iterator[bytes]:
        """Returns the iterator."""
        ...

    def close(self) -> None:
        """Frees what reading needs, also before all is read. Calling it again has no effect."""


class ObjectStorage(Protocol):
    """Stores objects under keys such as `inputs/<32 hex>.mp4`. Several threads may use it.

    Every method that takes a key raises ValueError unless `is_key` accepts it. Every method raises
    StorageUnavailableError when the storage cannot be used.

    Example:
        ::

            storage = open_storage("s3://bucket/prefix", Path("unused"))
            sha256 = storage.download(key, folder / "video.mp4", check)
            storage.delete(key)

    Attributes:
        local_folder: the folder in which objects are stored; None if they are on no disk of this machine.
    """

    local_folder: Path | None

    def open_writer(self, key: str) -> ObjectWriter:
        """Returns a writer for the object with this key. Nothing is stored yet."""
        ...

    def download(self, key: str, path: Path, check: Check) -> str:
        """Makes a new file with the bytes of an object. A failed download leaves no file.

        If the connection breaks, a new one continues at the byte that was reached. The file is only for
        reading: it can be the stored object itself under another name.

        Args:
            key: the key of the object.
            path: the file, in a folder that exists.
            check: called before each block is written; an exception ends the download.

        Returns:
            The SHA-256 of the file, 64 hexadecimal digits.

        Raises:
            ObjectMissingError: there is no object with this key.
            StorageFullError: the disk has no space for the copy.
            StorageUnavailableError: also when `path` exists, or the object was replaced during the download.
        """

    def open_range(self, key: str, start: int, length: int) -> Blocks:
        """Returns an opened part of an object. The caller closes it.

        Args:
            key: the key of the object.
            start: the first byte; 0 for the first of the object.
            length: the number of bytes, at least 1.

        Returns:
            The bytes, in blocks of at most 256 KiB from a folder and of at most 1 MiB from S3.

        Raises:
            ObjectMissingError: there is no object with this key.
            StorageUnavailableError: also when the object ends before that many bytes.
        """
        ...

    def delete(self, key: str) -> None:
        """Removes the object with this key. Does nothing if there is none."""

    def exists(self, key: str) -> bool:
        """Returns whether there is an object with this key."""
        ...

    def list_older_than(self, seconds: float) -> Iterator[str]:
        """Yields keys of objects written more than `seconds` ago, in any order, without unfinished ones."""

    def remove_stale(self, seconds: float) -> int:
        """Removes unfinished objects of killed writers that have not changed for `seconds`.

        Returns:
            The number of removed objects.
        """

    def check(self) -> None:
        """Checks that the storage can be used.

        Raises:
            StorageFullError: it has no space.
        """


def is_key(text: str) -> bool:
    """Returns whether the text is a key: lower-case parts joined by `/`, without `..` or a leading `/`."""
    return _KEY.fullmatch(text) is not None


def require_key(key: str) -> str:
    """Returns the key.

    Raises:
        ValueError: `is_key` does not accept it.
    """
    if not is_key(key):
        raise ValueError("not a storage key")
    return key


def meaning_of(error: OSError) -> TransientError:
    """Returns the storage error for a failed system call."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageFullError(FULL)
    return StorageUnavailableError(UNAVAILABLE)
