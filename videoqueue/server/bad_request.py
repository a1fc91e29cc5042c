"""The responses that the server sends itself: the application does not see these requests."""

from __future__ import annotations

import json
from typing import Final

from gunicorn.http.errors import ExpectationFailed, LimitRequestHeaders, LimitRequestLine, ParseException

#: The request head: bytes of its first line, header fields, and bytes of one field. Proxies have such limits.
MAX_LINE: Final = 4094
MAX_FIELDS: Final = 100
MAX_FIELD_BYTES: Final = 8190
#: Bytes of a whole request head.
MAX_HEAD: Final = 64 * 1024


def unreadable(error: ParseException) -> bytes:
    """Returns the whole HTTP response, with a problem document that says what was wrong."""
    if isinstance(error, ExpectationFailed):  # RFC 9110 section 10.1.1
        return _problem(
            b"417 Expectation Failed",
            "expectation_failed",
            "Unknown expectation",
            "The header Expect has a value other than 100-continue. Send the request without it.",
        )
    return _problem(b"400 Bad Request", "invalid_parameter", "Invalid parameter", _detail(error))


def too_many_connections(share: int) -> bytes:
    """Returns the whole HTTP response for a connection beyond the share of its address."""
    return _problem(
        b"429 Too Many Requests",
        "rate_limited",
        "Too many requests at once",
        f"The limit of connections of one address is {share} (VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS), and "
        "all are in use. Use fewer at the same time, or try again shortly.",
        b"Retry-After: 5\r\n",
    )


def _problem(status: bytes, code: str, title: str, detail: str, headers: bytes = b"") -> bytes:
    body = json.dumps(
        {
            "type": f"urn:videoqueue:problem:{code}",
            "title": title,
            "status": int(status[:3]),
            "detail": detail,
            "instance": "urn:videoqueue:request:unread",
            "code": code,
        }
    )
    content = body.encode() + b"\n"
    return (
        b"HTTP/1.1 %b\r\n"
        b"Connection: close\r\n"
        b"Content-Type: application/problem+json\r\n"
        b"Cache-Control: no-store\r\n"
        b"X-Request-Id: unread\r\n"
        b"X-Content-Type-Options: nosniff\r\n"
        b"%bContent-Length: %d\r\n\r\n" % (status, headers, len(content))
    ) + content


def _detail(error: ParseException) -> str:
    if isinstance(error, LimitRequestLine):
        return f"The first line of the request is longer than {MAX_LINE:,} bytes. Shorten the URL."
    if isinstance(error, LimitRequestHeaders):
        return (
            f"The request has more than {MAX_FIELDS} header fields, or one of more than {MAX_FIELD_BYTES:,} "
            f"bytes, or more than {MAX_HEAD:,} bytes of them. Send fewer or shorter ones, for example "
            "without cookies."
        )
    return "The request could not be read: it is not valid HTTP."
