"""What responses mean: whole or cut off, and which failures another attempt can mend."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from videoqueue.client.attempts import Failure, retry_after
from videoqueue.client.errors import ClientError
from videoqueue.client.pace import SlowError

_PIECE: Final = 256 * 1024
#: The longest body of a refusal that is read.
_MAX_PROBLEM: Final = 64 * 1024
#: The statuses after which another attempt can succeed: 408, 429, 503 and 507 of the service, and 502 and 504
#: of proxies whose server is away.
TRY_AGAIN: Final = frozenset({408, 429, 502, 503, 504, 507})
#: The service did not get the whole body: the connection broke off, but the response arrived.
_INCOMPLETE: Final = "upload_incomplete"
#: The errors of urllib3 that say that a request was not sent.
_NOT_SENT: Final = frozenset(
    {"NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError"}
)


class CutError(Exception):
    """A response ended early, or cannot be known to be whole."""


def pieces(response: requests.Response) -> Iterator[bytes]:
    """Yields the decoded body of a response that says where it ends.

    Raises:
        CutError: it does not: its headers ended early, or a proxy speaks HTTP/1.0.
    """
    # Headers that end early can have a part of a value.
    length, coding = (response.headers.get(name, "") for name in ("Content-Length", "Transfer-Encoding"))
    if not length.isdecimal() and coding.lower() != "chunked":
        raise CutError("it has no length, so that it cannot be known to be whole")
    yield from response.iter_content(_PIECE)


def decoded(response: requests.Response) -> Any:
    """Returns the JSON of a response.

    Raises:
        CutError: it is not whole.
        ClientError: it is of another type.
    """
    body = b"".join(response.iter_content(_PIECE))
    media_type = response.headers.get("Content-Type", "")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    if body and media_type and "json" not in media_type:
        raise bad_response(response)
    raise CutError("it is not whole JSON")


def nothing(_response: requests.Response) -> None:
    """Reads a response without a body."""


def field(body: Any, name: str, kind: type) -> Any:
    """Returns a field of a JSON body.

    Raises:
        ClientError: the body has no such field.
    """
    if not isinstance(body, dict) or not isinstance(body.get(name), kind):
        raise bad_response()
    return body[name]


def bad_response(response: requests.Response | None = None) -> ClientError:
    """Returns the error for a response that is not one of this service."""
    return ClientError(
        "The response is not one of a videoqueue service. Check that the URL is the address of one.",
        code="bad_response",
        status=None if response is None else response.status_code,
        request_id=None if response is None else response.headers.get("X-Request-Id"),
    )


def unreached(service: str, error: Exception, request_id: str) -> Failure:
    """Returns the failure of a request that no response came to.

    Args:
        service: the URL of the service as it may be printed.
        error: the error of `requests` or urllib3.
        request_id: the id of the request.
    """
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        detail = (
            f"The certificate of {service} cannot be verified. Set REQUESTS_CA_BUNDLE to the file of its "
            "authority."
        )
        return Failure(ClientError(detail, code="certificate", request_id=request_id), again=False)
    why = slowness(error)
    detail = (
        f"No response from {service}{f': {why}' if why else ''}. Check its address, and that the service is "
        "running."
    )
    again = isinstance(error, requests.ConnectionError | requests.Timeout)
    sent = not any(type(cause).__name__ in _NOT_SENT for cause in causes)
    return Failure(
        ClientError(detail, code="no_response", request_id=request_id), again, maybe_done=again and sent
    )


def slowness(error: Exception) -> str | None:
    """Returns which limit of time an error of `requests` or urllib3 is about; None if about none."""
    return next((str(cause) for cause in _causes(error) if isinstance(cause, SlowError)), None)


def broken(service: str, why: str, request_id: str) -> Failure:
    """Returns the failure of a request whose response ended early."""
    detail = f"The response of {service} ended early: {why}."
    error = ClientError(detail, code="broken_response", request_id=request_id)
    return Failure(error, again=True, maybe_done=True)


def refused(service: str, response: requests.Response, request_id: str) -> Failure:
    """Returns the failure of a request whose response is no success."""
    status = response.status_code
    request_id = response.headers.get("X-Request-Id", request_id)[:200]
    after = retry_after(response.headers.get("Retry-After"))
    code: str | None = None
    if 300 <= status < 400:
        code, detail = "redirected", _redirected(service, response)
    else:
        code, found = _problem(response)
        detail = found or (
            f"{service} returned status {status} without a problem description. Check that this is the "
            "address of a videoqueue service."
        )
    error = ClientError(detail, code=code, status=status, request_id=request_id, retry_after=after)
    again = status in TRY_AGAIN or code == _INCOMPLETE
    return Failure(error, again, after, maybe_done=code is None and status >= 500)


def _redirected(service: str, response: requests.Response) -> str:
    try:
        parts = urlsplit(response.headers.get("Location", ""))
        target = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else "another path"
    except ValueError:
        target = "another address"
    return (
        f"{service} redirects to {target[:200]!r}. Redirects are not followed, because they would get "
        "the key. Use the URL of the service itself."
    )


def _problem(response: requests.Response) -> tuple[str | None, str | None]:
    """Returns `code` and `detail` of a refusal; None where the response has none."""
    body = b""
    for piece in response.iter_content(_PIECE):
        body += piece
        if len(body) > _MAX_PROBLEM:
            break
    try:
        found = json.loads(body[:_MAX_PROBLEM])
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(found, dict):
        return None, None
    code, detail = found.get("code"), found.get("detail")
    return code if isinstance(code, str) else None, detail if isinstance(detail, str) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error and those in it: `requests` and urllib3 have them as arguments or as `reason`."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [*found.args, getattr(found, "reason", None), found.__cause__, found.__context__]
