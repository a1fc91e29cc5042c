"""Clients that cost little beside the servers they measure: plain sockets, requests prepared as bytes."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BOUNDARY = b"videoqueue-benchmark"


@dataclass(frozen=True)
class Rate:
    """Requests a second over all connections, and how long single ones took, in milliseconds."""

    per_second: float
    median_ms: float
    worst_ms: float


@dataclass(frozen=True)
class Upload:
    """A file on its way to `path`: raw, or as the form field `file`."""

    file: Path
    path: str
    form: bool = False

    def send(self, port: int) -> float:
        """Sends the request and waits for the response. Returns seconds.

        Raises:
            RuntimeError: the answer is not 2xx.
        """
        before, after = self._around()
        size = self.file.stat().st_size
        kind = f"multipart/form-data; boundary={_BOUNDARY.decode()}" if self.form else "video/mp4"
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(before) + size + len(after)}\r\nConnection: close\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
            started = time.perf_counter()
            connection.sendall(head + before)
            with self.file.open("rb") as file:
                connection.sendfile(file)
            connection.sendall(after)
            status = connection.makefile("rb").readline()
            seconds = time.perf_counter() - started
        if not status.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"{self.path} answered {status.decode().strip()}")
        return seconds

    def _around(self) -> tuple[bytes, bytes]:
        if not self.form:
            return b"", b""
        disposition = b'Content-Disposition: form-data; name="file"; filename="video.mp4"'
        before = b"--%b\r\n%b\r\nContent-Type: video/mp4\r\n\r\n" % (_BOUNDARY, disposition)
        return before, b"\r\n--%b--\r\n" % _BOUNDARY


class Uploads:
    """Four clients that upload one file after the other for as long as the `with` lasts."""

    def __init__(self, upload: Upload, port: int, clients: int = 4) -> None:
        self._ended = threading.Event()
        self._errors: list[Exception] = []
        self._upload, self._port = upload, port
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Uploads:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._upload.send(self._port)
        except Exception as error:  # noqa: BLE001 - raised again where it is seen
            self._errors.append(error)


def request_rate(
    port: int,
    paths: Sequence[str],
    seconds: float,
    headers: str = "",
    connections: int = 4,
    expect: int = 200,
) -> Rate:
    """Asks for the paths in turn over kept-alive connections, for so many seconds.

    Raises:
        RuntimeError: an answer has another status than `expect`.
    """
    took: list[list[float]] = [[] for _ in range(connections)]
    errors: list[Exception] = []
    requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode() for path in paths]
    started = time.perf_counter()

    def ask(number: int) -> None:
        try:
            _ask(port, requests[number:] + requests[:number], started + seconds, expect, took[number])
        except Exception as error:  # noqa: BLE001 - raised again where it is seen
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    elapsed = time.perf_counter() - started
    times = [one for many in took for one in many]
    return Rate(len(times) / elapsed, 1000 * statistics.median(times), 1000 * max(times))


def _ask(port: int, requests: list[bytes], deadline: float, expect: int, took: list[float]) -> None:
    wanted = f"HTTP/1.1 {expect} ".encode()
    number = 0
    while time.perf_counter() < deadline:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = connection.makefile("rb")
            while (started := time.perf_counter()) < deadline:
                connection.sendall(requests[number % len(requests)])
                number += 1
                keep = _read_answer(stream, wanted)
                took.append(time.perf_counter() - started)
                if not keep:
                    break


def _read_answer(stream: BinaryIO, wanted: bytes) -> bool:
    """Reads one answer to its end; says whether the connection stays open."""
    status = stream.readline()
    if not status.startswith(wanted):
        raise RuntimeError(f"the answer is {status.decode().strip()!r}")
    length, keep = 0, True
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.lower().partition(b":")
        if name == b"content-length":
            length = int(value)
        elif name == b"connection" and value.strip() == b"close":
            keep = False
    stream.read(length)
    return keep


@dataclass(frozen=True)
class Download:
    seconds_to_first: float
    seconds: float
    size: int


def download(port: int, path: str, headers: str = "") -> Download:
    """Fetches one answer over a connection of its own: seconds to its first byte and its end, and bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        started = time.perf_counter()
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n".encode()
        )
        size = len(connection.recv(1))
        first = time.perf_counter() - started
        while piece := connection.recv(1 << 18):
            size += len(piece)
        return Download(first, time.perf_counter() - started, size)
