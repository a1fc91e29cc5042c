"""How slow an exchange may be. A time limit of a socket begins anew with each byte; these do not.

The head of a response has to arrive within `timeout` seconds. A body may take as long as it is large: in each
`timeout` seconds of waiting, `min_bytes_per_second` have to be moved on average. The time that the caller's
file needs does not count.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import urllib3
from requests.adapters import HTTPAdapter

_CURRENT: Final[ContextVar[Pace]] = ContextVar("pace")
#: The largest piece that is sent at once; bytes.
_PIECE: Final = 64 * 1024


class SlowError(TimeoutError):
    """The service is slower than allowed. The message is the end of a sentence and names the limit."""


class Pace:
    """The time that one exchange may wait for the network.

    Args:
        seconds: the time for the head of the response, and for each `seconds * rate` bytes of a body.
        rate: the least bytes per second of a body.
        until: a time of `time.monotonic` at which the exchange ends; None for no such time.
    """

    def __init__(self, seconds: float, rate: float, until: float | None = None) -> None:
        self._seconds = seconds
        self._rate = rate
        self._until = math.inf if until is None else until
        self.begin_body()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Applies to what connections do in the block."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def begin_head(self) -> None:
        """Begins to wait for the head of a response."""
        self._enough = math.inf
        self._moved, self._waited = 0, 0.0

    def begin_body(self) -> None:
        """Begins to send, or to receive a body."""
        self._enough = self._seconds * self._rate
        self._moved, self._waited = 0, 0.0
        self._all_moved, self._all_waited = 0, 0.0

    def allows(self, gained: int) -> bool:
        """Returns whether the whole body was not slower than allowed, on average.

        Args:
            gained: the bytes that were not there before this exchange. Some of them may have arrived with the
                head.
        """
        return max(self._all_moved, gained) >= self._all_waited * self._rate

    @property
    def piece(self) -> int:
        """Returns the bytes to send at once."""
        return max(1, min(_PIECE, int(self._seconds * self._rate)))

    @contextmanager
    def waiting(self, sock: socket.socket) -> Iterator[None]:
        """Limits a block that waits once for the network.

        Raises:
            SlowError: the time is over.
        """
        began = time.monotonic()
        left = min(self._seconds - self._waited, self._until - began)
        if left <= 0:
            raise self._slow()
        sock.settimeout(left)
        try:
            yield
        except TimeoutError:
            raise self._slow() from None
        finally:
            took = time.monotonic() - began
            self._waited += took
            self._all_waited += took

    def moved(self, count: int) -> None:
        """Counts bytes that were sent or received."""
        self._all_moved += count
        self._moved += count
        if self._moved >= self._enough:
            self._moved, self._waited = 0, 0.0

    def _slow(self) -> SlowError:
        if time.monotonic() >= self._until:
            return SlowError("the time limit of the call is over")
        seconds = f"within {self._seconds:g} seconds (timeout)"
        if self._enough == math.inf:
            return SlowError(f"its head was not whole {seconds}")
        least = f"{math.ceil(self._enough)} bytes {seconds}"
        return SlowError(f"fewer than {least}, which is below {self._rate:g} a second (min_bytes_per_second)")


class _Reader(io.RawIOBase):
    """The bytes of a socket."""

    def __init__(self, raw: Any, sock: socket.socket, pace: Pace) -> None:
        self._raw = raw
        self._sock = sock
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with self._pace.waiting(self._sock):
            count: int = self._raw.readinto(buffer)
        self._pace.moved(count)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Reader(self.fp.detach(), sock, _CURRENT.get()))


class _Connection(http.client.HTTPConnection):
    """What connections of urllib3 do differently."""

    response_class = _Response

    def send(self, data: Any) -> None:
        """Sends in pieces, so that each has to be taken in time."""
        pace = _CURRENT.get()
        if self.sock is None:
            self.connect()
        view = memoryview(data)
        for start in range(0, len(view), pace.piece):
            piece = view[start : start + pace.piece]
            with pace.waiting(self.sock):
                super().send(piece)
            pace.moved(len(piece))

    def getresponse(self) -> http.client.HTTPResponse:
        """Returns the response; its body is not read yet."""
        pace = _CURRENT.get()
        pace.begin_head()
        response = super().getresponse()
        pace.begin_body()
        return response


class PacedAdapter(HTTPAdapter):
    """Connections that obey the current `Pace`. There has to be one."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Makes the pools for direct connections."""
        super().init_poolmanager(*args, **options)
        _pace_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Returns the pools for a proxy."""
        manager = super().proxy_manager_for(*args, **options)
        _pace_pools(manager)
        return manager


def _pace_pools(manager: urllib3.PoolManager) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _paced(pool) for scheme, pool in pools.items()}


def _paced(pool: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
    before: type = pool.ConnectionCls
    if issubclass(before, _Connection):
        return pool
    connection = type(f"Paced{before.__name__}", (_Connection, before), {})
    return type(f"Paced{pool.__name__}", (pool,), {"ConnectionCls": connection})
