"""What the service's long-lived processes do at their start, and what keeps its files from other users."""

from __future__ import annotations

import ctypes
import os
import resource
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_OPEN_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
#: What a program may see that needs no address and no key of database, queue or storage.
_PLAIN: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONHOME")
#: What the service, and a file system, put into a data folder.
_OWN_FOLDERS: Final = ("objects", "valkey", "work", "lost+found")
_OWN_FILES: Final = ("lock", "videoqueue.db")
_SQLITE_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")


def harden() -> None:
    """Makes this process private and raises its limit of open files. Calling it again changes nothing."""
    private_files()
    private_memory()
    raise_file_limit()


def private_files() -> None:
    """Files that this process makes from now on are for its user alone."""
    os.umask(_OPEN_TO_OTHERS)


def private_memory() -> None:
    """Closes /proc/PID/environ, /proc/PID/mem and /proc/PID/fd of this process to others of the same user.

    The environment holds the keys of database, queue and storage; a child process that hostile bytes have
    taken over runs as the same user. fork(2) keeps this state, execve(2) resets it. The process can no longer
    write its own oom_score_adj. Only Linux knows the call: see prctl(2), PR_SET_DUMPABLE, and proc(5).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_file_limit() -> None:
    """Raises the soft limit of open files to the hard one, as far as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def file_limit() -> int:
    """Returns how many files a process may have open once `raise_file_limit` was called."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def plain_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the part of `environ` that holds no secret, for programs whose memory stays readable."""
    return {name: environ[name] for name in _PLAIN if name in environ}


def make_private_folder(folder: Path) -> None:
    """Makes `folder` and its parents, or closes it to other users if it was there before.

    Only what belongs to this user is changed. A folder that has other folders in it than the service's own
    (somebody's home, /srv), or that all users share (/tmp), stays as it is. What the service keeps in it is
    closed in any case.

    Raises:
        OSError: the folder cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except PermissionError:
        return  # somebody else's, who lets us write there
    for entry in found:
        if entry.name in _OWN_FOLDERS or entry.name.startswith(_OWN_FILES):
            _close(Path(entry.path))
    if not any(entry.is_dir(follow_symlinks=False) and entry.name not in _OWN_FOLDERS for entry in found):
        _close(folder)


def make_private_database(file: Path) -> None:
    """Makes an empty SQLite file for this user alone; SQLite creates its other files with the same mode.

    One that was there before is closed to other users, with the files beside it. A failure is ignored: it
    shows when the database is opened.
    """
    with suppress(OSError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for suffix in _SQLITE_SUFFIXES:
        _close(Path(f"{file}{suffix}"))


def _close(path: Path) -> None:
    """Takes the rights of group and others away from this user's file or folder; links are not followed."""
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
