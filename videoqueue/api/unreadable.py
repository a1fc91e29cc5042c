"""The answer to bytes that are no HTTP request; it is given by the server, before there is an application."""

from __future__ import annotations

import json
from typing import Final

_BODY: Final = (
    json.dumps(
        {
            "type": "urn:videoqueue:problem:invalid_parameter",
            "title": "Invalid parameter",
            "status": 400,
            "detail": "The request could not be read: it is not valid HTTP, or its head is too long.",
            "instance": "urn:videoqueue:request:unread",
            "code": "invalid_parameter",
        }
    ).encode()
    + b"\n"
)

UNREADABLE: Final = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"Connection: close\r\n"
    b"Content-Type: application/problem+json\r\n"
    b"Cache-Control: no-store\r\n"
    b"X-Request-Id: unread\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_BODY)
) + _BODY
