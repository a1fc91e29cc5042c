"""Sends one signed webhook over HTTP.

Message and signature: Standard Webhooks 1.0 (https://www.standardwebhooks.com). What the receiver can do to
us is bounded: only the status line and the headers of its response are read, a time limit covers the whole
exchange, redirects are not followed, and proxies of the environment are not used.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

#: Seconds for the whole exchange: connection, request and the headers of the response.
TOTAL_SECONDS: Final = 20.0
_RETRY_AFTER: Final = re.compile(r"[0-9]{1,9}")


class NoResponseError(Exception):
    """The receiver was not reached, or did not respond with HTTP. The message is for operators."""


@dataclass(frozen=True)
class Reply:
    """The receiver's response."""

    status: int
    #: Seconds that it asks us to wait (RFC 9110, section 10.2.3); None if it does not, or names a date.
    retry_after: float | None


def sign(keys: Sequence[bytes], message_id: str, time: int, body: bytes) -> str:
    """Returns the value of the header `webhook-signature`: a signature for each key.

    Args:
        keys: the keys, the newest first.
        message_id: the value of `webhook-id`.
        time: the value of `webhook-timestamp`; seconds since 1970.
        body: the body of the request.
    """
    signed = f"{message_id}.{time}.".encode() + body
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


class Receiver:
    """The receiver of webhooks. Each message is sent over a connection of its own."""

    def __init__(self, url: str, keys: Sequence[bytes], seconds: float = TOTAL_SECONDS) -> None:
        """Connects to nothing yet.

        Args:
            url: http or https.
            keys: the keys that sign.
            seconds: the time limit of an exchange.
        """
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._keys = keys
        self._seconds = seconds

    def post(self, message_id: str, time: int, body: bytes) -> Reply:
        """Sends a message.

        Args:
            message_id: the same for all tries of an event.
            time: the time of this try; seconds since 1970.
            body: JSON.

        Returns:
            The response.

        Raises:
            NoResponseError: there was no response. The receiver may have got the message.
        """
        connection = self._connection()
        late = threading.Event()
        watch = threading.Timer(self._seconds, _cut, [connection, late])
        watch.daemon = True
        watch.start()
        try:
            connection.request("POST", self._path, body, self._headers(message_id, time, body))
            response = connection.getresponse()
            return Reply(response.status, _seconds(response.headers.get("retry-after")))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoResponseError(self._why(error, late.is_set())) from error
        finally:
            watch.cancel()
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._seconds)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._seconds, context=self._tls)

    def _headers(self, message_id: str, time: int, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": "videoqueue",
            "Connection": "close",
            "webhook-id": message_id,
            "webhook-timestamp": str(time),
            "webhook-signature": sign(self._keys, message_id, time, body),
        }

    def _why(self, error: Exception, late: bool) -> str:
        if late or isinstance(error, TimeoutError):
            return f"no response within {self._seconds:g} s"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate was refused: {error.verify_message}"
        if isinstance(error, http.client.RemoteDisconnected):
            return "it closed the connection without a response"
        if isinstance(error, http.client.HTTPException | ValueError):
            return "its response is not HTTP"
        assert isinstance(error, OSError)
        return f"no connection: {error.strerror or type(error).__name__}"


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    """Ends an exchange that takes too long. Time limits of sockets begin anew with each byte."""
    late.set()
    sock = connection.sock
    if isinstance(sock, socket.socket):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended in the meantime


def _seconds(retry_after: str | None) -> float | None:
    text = (retry_after or "").strip()
    return float(text) if _RETRY_AFTER.fullmatch(text) else None
