"""Refusals of requests whose caller is unknown or may not do this, before the body of the request is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Request

from videoqueue.api.problems import ApiError

#: How a client sends a key, and how the operator makes one.
SEND: Final = "Send it in the header `Authorization: Bearer KEY`."
CREATE: Final = (
    "The operator creates keys: `videoqueue keys create --owner NAME`, or `python -m videoqueue keys create "
    "--owner NAME` where that command is not installed."
)


def unauthorized(request: Request, detail: str, was_sent: bool = False) -> ApiError:
    """Returns the problem `unauthorized`.

    Args:
        request: the request.
        detail: the message for the user.
        was_sent: whether the request has a key.
    """
    challenge = 'Bearer realm="videoqueue"' + (', error="invalid_token"' if was_sent else "")
    return ApiError("unauthorized", detail, closing(request) | {"WWW-Authenticate": challenge})


def before_body(request: Request, check: Callable[[], None]) -> None:
    """Runs a check. If it fails, the connection is closed instead of reading the body."""
    try:
        check()
    except ApiError as error:
        error.headers = {**error.headers, **closing(request)}
        raise


def closing(request: Request) -> dict[str, str]:
    """Returns the header that closes the connection if the request has a body, which nobody reads."""
    has_body = request.content_length or "Transfer-Encoding" in request.headers
    return {"Connection": "close"} if has_body else {}
