"""Protects the memory and the files of the service from other processes and users."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from videoqueue.errors import SettingsError

_PR_SET_DUMPABLE: Final = 4
_OPEN_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
#: The environment of a program that needs no address and no key of database, queue or storage.
_PLAIN: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONHOME")
#: Names in a data folder that the service or the file system makes.
_OWN_FOLDERS: Final = ("objects", "valkey", "work", "lost+found")
_OWN_FILES: Final = ("lock", "videoqueue.db", "api-key")
#: What the names of the files of an SQLite database end in.
SQLITE_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")


def harden() -> None:
    """Makes this process private and raises its limit of open files. Calling it again has no effect."""
    private_files()
    private_memory()
    raise_file_limit()


def private_files() -> None:
    """Makes the files that this process creates from now on accessible to its user only."""
    os.umask(_OPEN_TO_OTHERS)


def private_memory() -> None:
    """Closes /proc/PID/environ, /proc/PID/mem and /proc/PID/fd of this process to others of the same user.

    The environment holds the keys of database, queue and storage, and a compromised child process runs as the
    same user. fork(2) keeps this state, execve(2) resets it. The process can no longer write its own
    oom_score_adj. Linux only: see prctl(2), PR_SET_DUMPABLE, and proc(5).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_file_limit() -> None:
    """Raises the soft limit of open files to the hard one, as far as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def file_limit() -> int:
    """Returns how many files a process may have open after `raise_file_limit`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def plain_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the part of `environ` without secrets, for programs whose memory stays readable."""
    return {name: environ[name] for name in _PLAIN if name in environ}


def make_private_folder(folder: Path) -> None:
    """Makes `folder` and its parents, or closes an existing folder to other users.

    Only files of this user are changed. A folder that contains other folders than the service's own (a home
    folder, /srv), or that all users share (/tmp), stays open. The service's own files in it are always
    closed.

    Raises:
        OSError: the folder cannot be made or read.
        SettingsError: it belongs to another user, or something of the service in it does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = require_own_folder(folder)
    for entry in found:
        if _is_ours(entry):
            _close(Path(entry.path))
    if not any(entry.is_dir(follow_symlinks=False) and entry.name not in _OWN_FOLDERS for entry in found):
        _close(folder)


def require_own_folder(folder: Path) -> list[os.DirEntry[str]]:
    """Checks that an existing data folder, and what is of the service in it, belongs to this user.

    Returns:
        Its entries.

    Raises:
        OSError: the folder cannot be read.
        SettingsError: it belongs to another user, or something of the service in it does.
    """
    _require_own(folder, folder.stat())
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in filter(_is_ours, found):
        _require_own(Path(entry.path), entry.stat(follow_symlinks=False))
    return found


def _is_ours(entry: os.DirEntry[str]) -> bool:
    return entry.name in _OWN_FOLDERS or entry.name.startswith(_OWN_FILES)


def make_private_database(file: Path) -> None:
    """Makes an empty SQLite file for this user only; SQLite creates its other files with the same mode.

    An existing one is closed to other users, with the files beside it. Errors are ignored: opening the
    database reports them.
    """
    with suppress(OSError):
        os.close(open_private(file))
    for suffix in SQLITE_SUFFIXES:
        _close(Path(f"{file}{suffix}"))


def open_private(file: Path) -> int:
    """Opens a file for reading and writing, and creates it for this user only. Returns the file descriptor.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _require_own(path: Path, found: os.stat_result) -> None:
    """Checks that no other user can replace what is in the data folder, also if this process is root.

    Root could read it anyway, and many container platforms make volumes that belong to root and a group.
    """
    if found.st_uid == os.geteuid() or (found.st_uid == 0 and not found.st_mode & stat.S_IWOTH):
        return
    owner, user = _name_of(found.st_uid), _name_of(os.geteuid())
    raise SettingsError(
        f"The data folder (VIDEOQUEUE_DATA_DIR) cannot be used: {path} belongs to the user {owner}, and this "
        f"process runs as {user}. Run it as {owner}, change the owner (chown -R {user}), or choose another "
        "folder."
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may have no entry for its user
        return str(uid)


def _close(path: Path) -> None:
    """Removes the rights of group and others from a file or folder of this user; links are not followed."""
    with suppress(OSError), _opened(path) as file:
        found = os.fstat(file)
        if found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX:
            os.fchmod(file, stat.S_IMODE(found.st_mode) & ~_OPEN_TO_OTHERS)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)
