"""The outermost WSGI layer: a request id and the security headers on every response."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from videoqueue.logs import set_request_id

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID: Final = "X-Request-Id"
#: The ids that proxies and platforms send. Other characters could forge lines of the log.
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9._=+/-]{1,200}")
#: Headers that a response gets unless it has them.
_DEFAULTS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class Middleware:
    """Adds the headers, and names the request in the log from its start to the end of its response."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = _request_id(environ.get("HTTP_X_REQUEST_ID"))
        set_request_id(name)

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
        ) -> Callable[[bytes], object]:
            present = {header.lower() for header, _ in headers}
            headers.extend(pair for pair in _DEFAULTS if pair[0].lower() not in present)
            headers.append((REQUEST_ID, name))
            return start_response(status, headers, exc_info)

        try:
            body = self._application(environ, start)
        except BaseException:
            set_request_id("")
            raise
        return _Body(body)


class _Body:
    """The body of a response. The request ends when the server closes it."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            set_request_id("")


def _request_id(given: str | None) -> str:
    """Returns the client's id if it is safe to log, else a new one."""
    return given if given is not None and _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
