"""Checks that keep other web sites from using the service through a visitor's browser.

They are for requests that carry no key: a browser sends those, and those with a cookie, also for a page of
another site. The name in Host is checked, because another site can give its own name the address of this
machine (DNS rebinding). Programs such as curl are not affected.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from flask import Request

from videoqueue.api.problems import ApiError
from videoqueue.settings.urls import is_loopback

_PORTS: Final = {"http": 80, "https": 443}


def require_known_host(request: Request, names: Collection[str]) -> None:
    """Checks the name by which the client knows the service: one of loopback, or one of `names`.

    A request without Host is accepted: every browser sends it.

    Args:
        request: the request.
        names: the accepted names, in lower case.

    Raises:
        ApiError: `unknown_host`.
    """
    given = request.environ.get("HTTP_HOST")
    if given is None:
        return
    name = _name_in(given)
    if name in names or is_loopback(name.strip("[]")):
        return
    raise ApiError(
        "unknown_host",
        "The service is not known by the name in the header Host. Use localhost, or add the name to "
        "VIDEOQUEUE_ALLOWED_HOSTS.",
    )


def require_same_site(request: Request) -> None:
    """Checks that no page of another site has sent the request.

    Sec-Fetch-Site decides where it was sent (Fetch Metadata, section 2.4). Otherwise an Origin has to be that
    of the service.

    Raises:
        ApiError: `cross_site`.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        foreign = origin is not None and not _is_own(origin, request)
    if foreign:
        raise ApiError(
            "cross_site",
            "A browser sent this request for a page of another site, which may not use the service. "
            "Open the service itself, or send a key in the header Authorization.",
        )


def _is_own(origin: str, request: Request) -> bool:
    own = f"{request.scheme}://{request.environ.get('HTTP_HOST', '')}"
    try:
        return _origin_of(origin) == _origin_of(own)
    except ValueError:  # no valid port or address
        return False


def _origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Returns scheme, host and port (RFC 6454, section 4)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _name_in(host: str) -> str:
    """Returns the name in a header Host, without its port and in lower case."""
    name = host.strip().lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] if ":" in name else name
    return name.rstrip(".")
