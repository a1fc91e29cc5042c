"""A TCP proxy that cuts, delays and eats: in front of Postgres, Valkey and the web server alike."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.tcp_faults import PIECE, Fault, Pair, answer, reset


class TcpProxy:
    """Forwards a port of 127.0.0.1 to a port or a unix socket, from a thread of its own.

    A connection whose bytes were eaten is out of step with its server, and is cut when the eating ends.
    With `tls` its clients have to speak TLS; the server behind it does not.
    """

    def __init__(self, upstream: tuple[str, int] | Path, tls: ssl.SSLContext | None = None) -> None:
        self._upstream = upstream
        self._tls = tls
        self._pairs: set[Pair] = set()
        self._open = threading.Event()
        self._open.set()
        self._delay = 0.0
        self._eating = False
        self._trap = b""
        #: The faults of the next connections, in turn; later ones have none.
        self.faults: deque[Fault] = deque()
        self.connections = 0
        self.trapped = threading.Event()
        self._eaten = threading.Event()
        #: Bytes that clients were sent.
        self.replied = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Resets every connection; new ones are taken."""
        self._call(self._cut)

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Resets every connection, and each new one."""
        self._open.clear()
        self.cut()
        try:
            yield
        finally:
            self._open.set()

    @contextlib.contextmanager
    def redirected(self, upstream: tuple[str, int] | Path) -> Iterator[None]:
        """Forwards to another server for the block; resets every connection at its begin and its end."""
        before, self._upstream = self._upstream, upstream
        self.cut()
        try:
            yield
        finally:
            self._upstream = before
            self.cut()

    @contextlib.contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """Holds every piece back for so long, in both directions."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    @contextlib.contextmanager
    def eating_replies(self) -> Iterator[None]:
        """Requests arrive, responses are dropped; at the end the connections are reset."""
        self._eaten.clear()
        self._eating = True
        try:
            yield
        finally:
            self._eating = False
            self._call(self._cut_eaten)

    def await_eaten(self) -> None:
        """Until a first answer has been eaten."""
        assert self._eaten.wait(10), "there was no answer to eat"

    def eat_reply_to(self, request: bytes) -> None:
        """The next request that holds these bytes arrives; instead of its answer, a reset. Sets `trapped`."""
        self.trapped.clear()
        self._trap = request

    def release(self) -> None:
        """Unsets a trap nobody stepped in."""
        self._trap = b""

    def close(self) -> None:
        self._open.clear()
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._listener.close()
        self._loop.close()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, function: Callable[[], object]) -> None:
        done = threading.Event()

        def run() -> None:
            function()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(10)

    def _cut(self) -> None:
        for pair in list(self._pairs):
            pair.reset()

    def _cut_eaten(self) -> None:
        for pair in list(self._pairs):
            if pair.eaten:
                pair.reset()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, sock=self._listener, ssl=self._tls)
        )
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open.is_set():
            reset(writer)
            return
        self.connections += 1
        fault = self.faults.popleft() if self.faults else Fault()
        if fault.response:
            await answer(reader, writer, fault.response)
            return
        try:
            if isinstance(self._upstream, Path):
                up_reader, up_writer = await asyncio.open_unix_connection(str(self._upstream))
            else:
                up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            reset(writer)
            return
        pair = Pair(writer, up_writer, fault)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._pump(pair, reader, up_writer, replies=False),
                self._pump(pair, up_reader, writer, replies=True),
            )
        finally:
            self._pairs.discard(pair)
            pair.reset()

    async def _pump(
        self, pair: Pair, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, replies: bool
    ) -> None:
        try:
            await self._forward(pair, source, target, replies=replies)
        except (OSError, RuntimeError):
            pair.reset()  # the other peer would wait for ever for the one that crashed

    async def _forward(
        self, pair: Pair, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, replies: bool
    ) -> None:
        rest = pair.fault.response_after if replies else pair.fault.request
        while piece := await source.read(PIECE):
            if self._delay:
                await asyncio.sleep(self._delay)
            if replies and pair.trapped:
                self.trapped.set()
                pair.reset()
                return
            if replies and self._eating:
                pair.eaten = True
                self._eaten.set()
                continue
            if not replies and self._trap and self._trap in piece:
                self._trap = b""
                pair.trapped = True
            sent = piece if rest is None else piece[:rest]
            if replies:
                self.replied += len(sent)
            target.write(sent)
            await target.drain()
            if rest is not None and len(piece) >= rest:
                await pair.end(replies=replies)
                return
            rest = None if rest is None else rest - len(piece)
        if replies:
            pair.close()  # the server hung up
        elif target.can_write_eof():
            target.write_eof()
