"""Sends requests to the service, again if that is safe and can help."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Final, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from videoqueue.client.address import KeyHeader, is_loopback, shown_url
from videoqueue.client.attempts import Attempts, Failure
from videoqueue.client.pace import Pace, PacedAdapter
from videoqueue.client.responses import CutError, broken, refused, slowness, unreached
from videoqueue.client.upload import BodyError, Upload

T = TypeVar("T")

#: Connections that are kept for threads that use one client.
_CONNECTIONS: Final = 32


class _FailedError(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


@dataclass(frozen=True)
class Call:
    """A request that may be sent several times.

    Args:
        method: the method.
        path: the path below the URL of the service, encoded.
        query: the parameters; those that are None are left out.
        headers: returns further headers of the next attempt.
        body: the body.
        position: returns how many bytes of the response are safe. After an attempt that was not too slow and
            got further, the time for attempts begins anew.
        accepts: returns whether a response with another status than 200 to 299 is one to read.
    """

    method: str
    path: str
    query: Mapping[str, str | int | None] | None = None
    headers: Callable[[], Mapping[str, str]] = dict
    body: Upload | None = None
    position: Callable[[], int] = int
    accepts: Callable[[requests.Response], bool] = lambda _: False


@dataclass(frozen=True)
class Limits:
    """The time that calls may take.

    Args:
        timeout: seconds for connecting to one address, for the head of a response, and for each
            `timeout * min_bytes_per_second` bytes of a body.
        retry_seconds: for how long after its first failure a request is sent again.
        min_bytes_per_second: how slowly a body may be sent or received.

    Raises:
        ValueError: a number cannot be used.
    """

    timeout: float
    retry_seconds: float
    min_bytes_per_second: float

    def __post_init__(self) -> None:
        if not self.timeout > 0 or not self.retry_seconds >= 0 or not self.min_bytes_per_second > 0:
            raise ValueError(
                "timeout and min_bytes_per_second take numbers above 0, and retry_seconds one of at least 0."
            )


class Transport:
    """The connections to one service.

    Args:
        url: the URL of the service, without a slash at its end.
        auth: sends the key, if there is one.
        limits: the time that calls may take.
    """

    def __init__(self, url: str, auth: KeyHeader | None, limits: Limits) -> None:
        self._url = url
        self._auth = auth
        self._limits = limits
        self._session = requests.Session()
        # Cookies would be state that threads share.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers["User-Agent"] = "videoqueue-client"
        if is_loopback(urlsplit(url).hostname or ""):
            # A proxy of the environment would get the key, and lead to another machine's loopback.
            self._session.trust_env = False
            self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        if limits.retry_seconds == 0:
            # The service can close a kept connection at the moment of the next request, which would fail.
            self._session.headers["Connection"] = "close"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, PacedAdapter(pool_maxsize=_CONNECTIONS))

    @property
    def shown(self) -> str:
        """Returns the URL as it may be printed."""
        return shown_url(self._url)

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._session.close()

    def call(self, call: Call, read: Callable[[requests.Response], T], until: float | None = None) -> T:
        """Sends a request until a response has been read.

        Args:
            call: the request.
            read: reads the response, again from its beginning for each attempt. It raises CutError if the
                response is not whole.
            until: a time of `time.monotonic`; no attempt begins after it.

        Returns:
            What `read` returns.

        Raises:
            ClientError: it was refused, or the time for attempts is over.
        """
        attempts = Attempts(self._limits.retry_seconds, until)
        request_id = uuid.uuid4().hex
        reached = 0
        while True:
            timeout = attempts.remaining(self._limits.timeout)
            end = None if until is None else time.monotonic() + timeout
            pace = Pace(timeout, self._limits.min_bytes_per_second, end)
            try:
                with pace.current():
                    return self._attempt(call, read, request_id, timeout)
            except _FailedError as failed:
                failure = failed.failure
            except BodyError as error:
                cause = error.cause
                break
            # Nothing is raised while an exception of `requests` is handled: it would be the context of the
            # error, and it has the headers of the request.
            if failure.again and call.body is not None and not call.body.repeatable:
                raise call.body.unrepeatable(failure)
            gained = call.position() - reached
            if gained > 0 and pace.allows(gained):
                reached, attempts = call.position(), Attempts(self._limits.retry_seconds, until)
            attempts.pause(failure)
        raise cause

    def _attempt(
        self, call: Call, read: Callable[[requests.Response], T], request_id: str, timeout: float
    ) -> T:
        if call.body is not None:
            call.body.rewind()
        started = False
        try:
            with self._session.request(
                call.method,
                self._url + call.path,
                params={name: value for name, value in (call.query or {}).items() if value is not None},
                data=call.body,
                headers={"X-Request-Id": request_id, **call.headers()},
                auth=self._auth,
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            ) as response:
                started = True
                if 200 <= response.status_code < 300 or call.accepts(response):
                    return read(response)
                failure = refused(self.shown, response, request_id)
        except CutError as error:
            failure = broken(self.shown, str(error), request_id)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if started:
                why = slowness(error) or "the connection broke off"
                failure = broken(self.shown, why, request_id)
            else:
                failure = unreached(self.shown, error, request_id)
        raise _FailedError(failure)
