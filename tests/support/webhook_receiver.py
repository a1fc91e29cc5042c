"""A receiver of webhooks, on a port of its own, that replies as it is told."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

#: Replies as they are sent; the last one is repeated.
ACCEPTED = b"HTTP/1.1 204 No Content\r\n\r\n"


def refused(status: int, *headers: str) -> bytes:
    """Returns a response with this status and these headers."""
    lines = [f"HTTP/1.1 {status} No", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()


R = TypeVar("R", bound="TestReceiver")


@dataclass(frozen=True)
class Message:
    """What a receiver got. The names of headers are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class TestReceiver:
    """A server that is running."""

    __test__ = False

    url: str
    replies: Sequence[bytes | None] = (ACCEPTED,)
    #: Whether a reply of None is a byte now and then.
    drips: bool = False
    #: Seconds after which it closes a connection on which it has said nothing.
    patience: float = 60.0
    messages: list[Message] = field(default_factory=list)
    #: Set when a message has arrived.
    arrived: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket) -> None:
        """Handles connections, each in a thread, until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._handle, args=[connection], daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            line = file.readline().decode().strip()
            if not line:
                return
            headers = {}
            while text := file.readline().decode().strip():
                name, _, value = text.partition(":")
                headers[name.lower()] = value.strip()
            body = file.read(int(headers.get("content-length", 0)))
            message = Message(line, headers, body)
            self.messages.append(message)
            reply = self.reply(message)
            self.arrived.set()
            try:
                if reply is None:
                    self._drip(connection)
                else:
                    connection.sendall(reply)
            except OSError:
                return  # the client does not wait any longer

    def reply(self, message: Message) -> bytes | None:
        """Returns the reply to the message that has just arrived."""
        return self.replies[min(len(self.messages), len(self.replies)) - 1]

    def _drip(self, connection: socket.socket) -> None:
        """Begins a response and does not end it: a byte at a time."""
        end = time.monotonic() + self.patience
        while time.monotonic() < end and not self.released.wait(0.05):
            connection.sendall(b"H" if self.drips else b"")


@contextmanager
def receiving(*replies: bytes | None, tls: ssl.SSLContext | None = None) -> Iterator[TestReceiver]:
    """Starts a receiver. A reply of None says nothing until the end of the test."""
    with listening(lambda url: TestReceiver(url, replies or (ACCEPTED,)), tls) as receiver:
        yield receiver


@contextmanager
def listening(make: Callable[[str], R], tls: ssl.SSLContext | None = None) -> Iterator[R]:
    """Starts the receiver that `make` returns for the URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        scheme = "https" if tls else "http"
        receiver = make(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/hook?a=b")
        accepting = tls.wrap_socket(listener, server_side=True) if tls else listener
        thread = threading.Thread(target=receiver.serve, args=[accepting], daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            accepting.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            accepting.close()
