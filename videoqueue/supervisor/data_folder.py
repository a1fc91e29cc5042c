"""The data folder of `videoqueue up`: private, locked, and with a path for the socket of the queue."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import stat
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

from videoqueue.errors import VideoqueueError
from videoqueue.hardening import make_private_folder, open_private

_SOCKET_PATH_BYTES = 107  # the longest path of a unix socket; see unix(7)
_SOCKET_NAME = "valkey.sock"


class DataFolder:
    """The data folder: closed to other users, and locked until `close` or the end of the process.

    Raises:
        VideoqueueError: another process uses it, or it cannot be written. The message is one line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._socket_folder: Path | None = None
        self._lock = -1
        try:
            make_private_folder(self.path)
            self._lock = open_private(self.path / "lock")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            raise VideoqueueError(self._in_use()) from None
        except OSError as error:
            self._release()
            raise VideoqueueError(cannot_use(self.path, error)) from None

    def _in_use(self) -> str:
        pid = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
        self._release()
        holder = f" (process {pid})" if pid.isdigit() else ""
        return (
            f"{self.path} is in use by another `videoqueue up`{holder}. Stop it or choose another --data-dir."
        )

    def socket_path(self, folder: Path) -> Path:
        """Returns a path for a socket: in `folder`, or in a short private folder if that path is too long.

        Raises:
            VideoqueueError: no short folder can be made.
        """
        if _fits(folder):
            return folder / _SOCKET_NAME
        for short in _short_folders(self.path):
            if _fits(short) and _make_private(short):
                self._socket_folder = short
                return short / _SOCKET_NAME
        raise VideoqueueError(f"{self.path} is too long. Choose a shorter --data-dir.")

    def close(self) -> None:
        """Removes the socket's folder outside the data folder, and releases the lock."""
        if self._socket_folder:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_folder = None
        if self._lock >= 0:
            os.ftruncate(self._lock, 0)
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def socket_paths(data: Path, folder: Path) -> list[Path]:
    """Returns the paths that `DataFolder.socket_path` may return for the data folder `data`."""
    return [place / _SOCKET_NAME for place in (folder, *_short_folders(data)) if _fits(place)]


def is_listening(path: Path) -> bool:
    """Returns whether a server listens on the socket."""
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def cannot_use(folder: Path, error: OSError) -> str:
    """Returns the error text for a folder that cannot be written."""
    return f"{folder} cannot be used: {error.strerror}. Choose another --data-dir."


def _short_folders(data: Path) -> list[Path]:
    """Returns where the socket may be if its path in the data folder is too long."""
    name = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]
    bases = (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp")  # noqa: S108 - made 0700
    return [Path(base) / f"videoqueue-{os.geteuid()}-{name}" for base in bases if base]


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES


def _make_private(folder: Path) -> bool:
    """Makes `folder` for this user only, and removes what a killed process has left there."""
    try:
        with suppress(FileNotFoundError):
            found = folder.lstat()
            if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
                return False
            if not is_listening(folder / _SOCKET_NAME):
                shutil.rmtree(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return False
    return True
