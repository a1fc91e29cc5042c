"""Responses as the server writes them."""

from __future__ import annotations

from gunicorn.http import wsgi


class QuietResponse(wsgi.Response):  # type: ignore[misc]
    """Sends no `Server` header, and closes the connection if the application sends `Connection: close`.

    It also closes it if the client still waits for the word to send its body: whether the body follows
    nevertheless is then unknown.
    """

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        super().process_headers(headers)
        if self.req.expectation.waits:
            self.req.expectation.waits = False
            self.force_close()
        if any(name.lower() == "connection" and value.lower() == "close" for name, value in headers):
            self.force_close()

    def default_headers(self) -> list[str]:
        """Returns the lines that begin every response."""
        return [line for line in super().default_headers() if not line.startswith("Server:")]
