"""The response to bytes that are no HTTP request; the server sends it, before there is an application."""

from __future__ import annotations

import json
from typing import Final

from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException

#: The request head: bytes of its first line, header fields, and bytes of one field. Proxies have such limits.
MAX_LINE: Final = 4094
MAX_FIELDS: Final = 100
MAX_FIELD_BYTES: Final = 8190


def unreadable(error: ParseException) -> bytes:
    """Returns the whole HTTP response, with a problem document that says what was wrong."""
    body = json.dumps(
        {
            "type": "urn:videoqueue:problem:invalid_parameter",
            "title": "Invalid parameter",
            "status": 400,
            "detail": _detail(error),
            "instance": "urn:videoqueue:request:unread",
            "code": "invalid_parameter",
        }
    )
    content = body.encode() + b"\n"
    return (
        b"HTTP/1.1 400 Bad Request\r\n"
        b"Connection: close\r\n"
        b"Content-Type: application/problem+json\r\n"
        b"Cache-Control: no-store\r\n"
        b"X-Request-Id: unread\r\n"
        b"X-Content-Type-Options: nosniff\r\n"
        b"Content-Length: %d\r\n\r\n" % len(content)
    ) + content


def _detail(error: ParseException) -> str:
    if isinstance(error, LimitRequestLine):
        return f"The first line of the request is longer than {MAX_LINE:,} bytes. Shorten the URL."
    if isinstance(error, LimitRequestHeaders):
        return (
            f"The request has more than {MAX_FIELDS} header fields, or one of more than {MAX_FIELD_BYTES:,} "
            "bytes. Send fewer or shorter ones, for example without cookies."
        )
    return "The request could not be read: it is not valid HTTP."
