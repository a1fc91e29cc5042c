"""The outermost layer: a request id and the security headers on every answer, whoever gave it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from videoqueue.logs import set_request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID: Final = "X-Request-Id"
#: What proxies and platforms send; anything else could forge lines of the log.
_SANE: Final = re.compile(r"[A-Za-z0-9._=+/-]{1,200}")
#: Added where the application has not said otherwise.
_DEFAULTS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


def _request_id(given: str | None) -> str:
    """Returns the id given, when it is a sane one, else a new one."""
    return given if given is not None and _SANE.fullmatch(given) else uuid.uuid4().hex


class Middleware:
    """WSGI middleware."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = _request_id(environ.get("HTTP_X_REQUEST_ID"))
        set_request_id(name)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            said = {header.lower() for header, _ in headers}
            headers.extend(pair for pair in _DEFAULTS if pair[0].lower() not in said)
            headers.append((REQUEST_ID, name))
            return start_response(status, headers, exc_info)

        try:
            body = self._application(environ, start)
        except BaseException:
            set_request_id("")
            raise
        return _Body(body)


class _Body:
    """The answer's body; the request is over when it is closed."""

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
