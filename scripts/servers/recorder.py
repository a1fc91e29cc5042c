"""A server that keeps the headers of each request, to see what a proxy passes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Recorder(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[list[tuple[str, str]]] = []

    def last(self, name: str) -> list[str]:
        """Returns the values of a header of the last request."""
        return [value for given, value in self.requests[-1] if given.lower() == name.lower()]


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_GET(self) -> None:
        self.server.requests.append(self.headers.items())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Logs nothing."""


@contextmanager
def recorder() -> Iterator[Recorder]:
    """Runs the server for the block."""
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
