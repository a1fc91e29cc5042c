"""TCP ports of this machine: one that is free, and whether one can be listened on."""

from __future__ import annotations

import errno
import socket
from contextlib import closing

from videoqueue.errors import VideoqueueError


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
