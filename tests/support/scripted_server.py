"""An HTTP server whose responses the test writes itself, byte by byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO


def response(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> bytes:
    """Returns a whole response with a JSON body."""
    content = b"" if body is None else json.dumps(body).encode()
    media_type = "application/problem+json" if status >= 400 else "application/json"
    lines = {"Content-Type": media_type, "Content-Length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}Connection: close\r\n\r\n".encode() + content


def problem(status: int, code: str, detail: str = "Why.", headers: Mapping[str, str] | None = None) -> bytes:
    """Returns a refusal of the service."""
    return response(status, {"code": code, "detail": detail, "status": status}, headers)


@dataclass
class Received:
    """A request."""

    line: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class ScriptedServer:
    """Sends one response on each connection; the last one again and again."""

    responses: list[bytes]
    host: str = "127.0.0.1"
    requests: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self.encrypted(connection) as connection, connection.makefile("rb") as stream:
                self.requests.append(_received(stream.readline().decode().strip(), stream))
                self.send(connection, self.responses.pop(0) if len(self.responses) > 1 else self.responses[0])

    def encrypted(self, connection: socket.socket) -> socket.socket:
        """Returns the connection that is spoken on: the same, unless a test wants TLS."""
        return connection

    def send(self, connection: socket.socket, response: bytes) -> None:
        """Sends a response on its connection."""
        connection.sendall(response)


def _received(line: str, stream: BinaryIO) -> Received:
    headers: dict[str, str] = {}
    while (text := stream.readline().decode().strip()) != "":
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    request = Received(line, headers)
    if headers.get("transfer-encoding") == "chunked":
        while size := int(stream.readline(), 16):
            request.body += stream.read(size)
            stream.readline()
        stream.readline()
    else:
        request.body = stream.read(int(headers.get("content-length", "0")))
    return request
