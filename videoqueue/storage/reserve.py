"""The space that stays free on the disks of the service, so that accepted jobs can end.

Results, the database, the queue and the copies of videos that workers make use it. Uploads do not.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from videoqueue.errors import StorageFullError, StorageUnavailableError
from videoqueue.storage.base import meaning_of

_LARGE: Final = 1024**3
#: The default is at least this share of a volume, and at most that one.
_LEAST_SHARE, _LARGEST_SHARE = 0.05, 0.25
#: Where a file system has a fixed number of files, the reserve includes one for so many bytes.
_BYTES_OF_A_FILE: Final = 64 * 1024
#: How long the size of a refused video is remembered.
_REMEMBERED_SECONDS: Final = 60.0
#: Copies of videos leave half of the reserve free, at most this many bytes.
_MOST_BESIDE_COPIES: Final = 256 * 1024**2


class Reserve:
    """The space that uploads leave free.

    Args:
        videos: the folder in which videos are stored; None if they are stored elsewhere.
        others: further folders whose volumes the service needs.
        given: VIDEOQUEUE_RESERVE_BYTES; None for the default of each volume.
    """

    def __init__(self, videos: Path | None, others: Sequence[Path], given: int | None) -> None:
        self.videos = videos
        self.others = others
        self._given = given
        #: The size of the last video without room, and when it was refused by the monotonic clock.
        self._refused = (0, -math.inf)

    def require(self, size: int = 0, received: int = 0) -> None:
        """Returns if a video can be received.

        Args:
            size: the number of bytes that are still to be stored, as far as it is known.
            received: the number of bytes that are stored already.

        Raises:
            StorageFullError: with them, less than the reserve would be free.
            StorageUnavailableError: a volume cannot be examined.
        """
        if self.videos is not None:
            self._require(self.videos, size, received)
        for folder in self.others:
            self._require(folder)

    def require_usual_room(self) -> None:
        """Returns if uploads are not refused for lack of space, as far as it is known.

        A video that was refused within the last minute has to fit now, unless it is too large for the disk.

        Raises:
            StorageFullError, StorageUnavailableError: as in `require`.
        """
        size, since = self._refused
        self.require(size if time.monotonic() - since < _REMEMBERED_SECONDS else 0)

    def shortages(self) -> Iterator[str]:
        """Yields a message for the operator for each volume that has too little free space for any upload."""
        folders = [self.videos, *self.others] if self.videos is not None else self.others
        volumes: dict[int, tuple[Volume, Path]] = {}
        for folder in folders:
            with suppress(StorageUnavailableError, OSError):  # requests report it
                volumes[device_of(folder)] = Volume.of(folder), folder
        for volume, folder in volumes.values():
            reserve = volume.reserve(self._given)
            if volume.lacks_files(reserve):
                yield (
                    f"Uploads are refused: the volume of {folder} can have {volume.free_files} files more, "
                    "which is too few for accepted jobs (VIDEOQUEUE_RESERVE_BYTES)."
                )
            if volume.has_size and volume.free < reserve:
                yield (
                    f"Uploads are refused: {reserve} bytes have to stay free (VIDEOQUEUE_RESERVE_BYTES), but "
                    f"the volume of {folder} has {volume.total} bytes, of which {volume.free} are free."
                )

    def _require(self, folder: Path, size: int = 0, received: int = 0) -> None:
        volume = Volume.of(folder)
        reserve = volume.reserve(self._given)
        if volume.lacks_files(reserve):
            raise StorageFullError(
                "The disk of the service has no room for further files: some stay free for accepted jobs "
                "(VIDEOQUEUE_RESERVE_BYTES). Delete jobs that are no longer needed, or send the video again "
                "when the operator has removed files."
            )
        if not volume.has_size or volume.free - size >= reserve:
            return
        if 0 < size + received <= volume.total - reserve:
            self._refused = (size + received, time.monotonic())
        raise StorageFullError(
            f"The disk of the service has no room for this video: {reserve} bytes stay free for accepted "
            "jobs (VIDEOQUEUE_RESERVE_BYTES). Delete jobs that are no longer needed, or send the video "
            "again when the operator has freed space."
        )


def device_of(folder: Path) -> int:
    """Returns the number of the device of a folder that may not exist yet.

    Raises:
        OSError: it cannot be examined.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return existing.stat().st_dev


def require_room_for_copy(folder: Path, size: int, given: int | None) -> None:
    """Returns if a worker can write so many bytes of a video to its folder.

    Database and queue may be on the same volume, so that a part of the reserve has to stay free.

    Args:
        folder: the folder.
        size: the number of bytes.
        given: VIDEOQUEUE_RESERVE_BYTES; None for the default of the volume.

    Raises:
        StorageFullError: there is no room for them.
        StorageUnavailableError: the volume cannot be examined.
    """
    volume = Volume.of(folder)
    if volume.has_size and volume.free - size < min(volume.reserve(given) // 2, _MOST_BESIDE_COPIES):
        raise StorageFullError("The disk has no room for a copy of the video.")


@dataclass(frozen=True)
class Volume:
    """A file system: its bytes and files, and those that this user can still write.

    Files are 0 where their number has no limit.
    """

    total: int
    free: int
    files: int = 0
    free_files: int = 0

    @classmethod
    def of(cls, folder: Path) -> Volume:
        """Returns the volume of a folder that may not exist yet.

        Raises:
            StorageUnavailableError: it cannot be examined.
        """
        while True:
            try:
                found = os.statvfs(folder)
            except FileNotFoundError:
                folder = folder.parent
            except OSError as error:
                raise meaning_of(error) from error
            else:
                size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
                return cls(size, free, found.f_files, found.f_favail)

    @property
    def has_size(self) -> bool:
        """Returns False for file systems that do not know their size, such as some network ones."""
        return self.total > 0

    def lacks_files(self, reserve: int) -> bool:
        """Returns whether fewer files can be made than belong to a reserve of so many bytes."""
        return self.free_files < self.reserved_files(reserve)

    def reserved_files(self, reserve: int) -> int:
        """Returns the files that uploads leave free for a reserve of so many bytes; 0 without a limit."""
        return min(reserve // _BYTES_OF_A_FILE, int(self.files * _LARGEST_SHARE))

    def reserve(self, given: int | None) -> int:
        """Returns the bytes that uploads leave free.

        Args:
            given: VIDEOQUEUE_RESERVE_BYTES, which replaces the default.
        """
        if given is not None:
            return given
        return min(max(_LARGE, int(self.total * _LEAST_SHARE)), int(self.total * _LARGEST_SHARE))
