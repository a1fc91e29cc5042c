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
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from videoqueue.settings.urls import authority

#: Seconds for the whole exchange: connection, request and the headers of the response. The lookup of the
#: host's name has the limit of the system's resolver.
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


def sign(keys: Sequence[bytes], message_id: str, sent: int, body: bytes) -> str:
    """Returns the value of the header `webhook-signature`: a signature for each key.

    Args:
        keys: the keys, the newest first.
        message_id: the value of `webhook-id`.
        sent: the value of `webhook-timestamp`; seconds since 1970.
        body: the body of the request.
    """
    signed = f"{message_id}.{sent}.".encode() + body
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
        self.host, self._port = parts.hostname or "", parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._keys = keys
        self._seconds = seconds

    @property
    def address(self) -> str:
        """Returns the host and the port, without the rest of the URL, which may have secrets."""
        return authority(self.host, self._port or (443 if self._tls else 80))

    def reach(self) -> None:
        """Connects, with a handshake of TLS if there is one, and sends no message.

        Raises:
            NoResponseError: there is no connection.
        """
        connection = _Connection(self.host, self._port, self._tls, self._seconds)
        with connection.limited():
            try:
                connection.connect()
                connection.require_in_time()
            except (OSError, ValueError) as error:
                raise NoResponseError(self._why(error, connection.is_late)) from error
            finally:
                connection.close()

    def post(self, message_id: str, sent: int, body: bytes) -> Reply:
        """Sends a message.

        Args:
            message_id: the same for all tries of an event.
            sent: the time of this try; seconds since 1970.
            body: JSON.

        Returns:
            The response.

        Raises:
            NoResponseError: there was no response. The receiver may have got the message.
        """
        connection = _Connection(self.host, self._port, self._tls, self._seconds)
        with connection.limited():
            try:
                connection.request("POST", self._path, body, self._headers(message_id, sent, body))
                response = connection.getresponse()
                connection.require_in_time()  # what was cut off can look like a response
                return Reply(response.status, _seconds(response.headers.get("retry-after")))
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise NoResponseError(self._why(error, connection.is_late)) from error
            finally:
                connection.close()

    def _headers(self, message_id: str, sent: int, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": "videoqueue",
            "Connection": "close",
            "webhook-id": message_id,
            "webhook-timestamp": str(sent),
            "webhook-signature": sign(self._keys, message_id, sent, body),
        }

    def _why(self, error: Exception, late: bool) -> str:
        if late or isinstance(error, TimeoutError):
            return f"no response within {self._seconds:g} s"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate was refused: {error.verify_message}"
        if isinstance(error, http.client.RemoteDisconnected):
            return "it closed the connection without a response"
        if isinstance(error, UnicodeError | socket.gaierror):
            return "its host name cannot be looked up"
        if isinstance(error, http.client.HTTPException | ValueError):
            return "its response is not HTTP"
        assert isinstance(error, OSError)
        return f"no connection: {error.strerror or type(error).__name__}"


class _Response(http.client.HTTPResponse):
    """A response without the interim ones before it, which a client has to skip (RFC 9110, section 15.2)."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Connection(http.client.HTTPConnection):
    """A connection whose time limit covers all of it. Time limits of sockets begin anew with each byte."""

    response_class = _Response

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext | None, seconds: float) -> None:
        super().__init__(host, port or (443 if tls else 80), timeout=seconds)
        self._tls = tls
        self._until = time.monotonic() + seconds
        self._ended = threading.Event()

    @property
    def is_late(self) -> bool:
        """Returns whether the time is over."""
        return time.monotonic() >= self._until

    def require_in_time(self) -> None:
        """Raises TimeoutError if the time is over."""
        if self.is_late:
            raise TimeoutError

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Cuts the connection off at the limit, if the block has not ended."""
        watch = threading.Thread(target=self._watch, name="webhook-limit", daemon=True)
        watch.start()
        try:
            yield
        finally:
            self._ended.set()
            watch.join()

    def connect(self) -> None:
        """Tries each address of the host, within the limit."""
        name = self.host
        try:
            self._connect_to_first(name)
        finally:
            self.host = name
        if self._tls is not None:
            # The handshake is a step of its own, so that the limit can cut it off.
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def _connect_to_first(self, name: str) -> None:
        failure: OSError = TimeoutError()
        for *_, address in socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM):
            self.require_in_time()
            self.host, self.timeout = str(address[0]), self._until - time.monotonic()
            try:
                super().connect()
                return
            except OSError as error:
                failure = error
        raise failure

    def _watch(self) -> None:
        wait = self._until - time.monotonic()
        while not self._ended.wait(max(0.0, wait)):
            wait = 0.1  # it may not have had a socket yet
            if isinstance(self.sock, socket.socket):
                with suppress(OSError):  # it has ended in the meantime
                    self.sock.shutdown(socket.SHUT_RDWR)


def _seconds(retry_after: str | None) -> float | None:
    text = (retry_after or "").strip()
    return float(text) if _RETRY_AFTER.fullmatch(text) else None
