"""What a proxy in front of the service adds to a request: that it is there, and who the user is."""

from __future__ import annotations

import re
from typing import Final

from flask import Request

from videoqueue.api.refusals import unauthorized
from videoqueue.errors import VideoqueueError
from videoqueue.jobs.keys import require_owner

#: The owner of the jobs that are submitted with VIDEOQUEUE_ADMIN_KEY.
ADMIN: Final = "admin"

#: Headers that proxies, tunnels and content delivery networks add, besides all that begin with X-Forwarded.
_ADDED: Final = (
    "Forwarded",
    "Forwarded-For",
    "Via",
    "CDN-Loop",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-ProxyUser-IP",
    "X-Envoy-External-Address",
    "X-Azure-ClientIP",
    "X-Amzn-Trace-Id",
    "X-Cloud-Trace-Context",
    "X-Appengine-User-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-Ray",
    "True-Client-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "Tailscale-User-Login",
)
#: What servers write for a user who is not known, and names of variables that were not replaced. All who are
#: not known would be one owner.
_UNKNOWN: Final = re.compile(
    r"-|[(<]?(?:null|none|nil|undefined|unknown|unset)[)>]?|[$%]?\{.*\}\w*|\$\w+|%\w+%|\(\)|\"\"|''",
    re.IGNORECASE,
)


def came_through_proxy(request: Request) -> bool:
    """Returns whether the request has a header that a proxy adds. A proxy need not add any."""
    return any(name in request.headers for name in _ADDED) or any(
        name.startswith("HTTP_X_FORWARDED") for name in request.environ
    )


def owner_in_header(request: Request, name: str) -> str:
    """Returns the owner whom the proxy names in the header.

    Raises:
        ApiError: `unauthorized`, if it names none, or one who cannot be a user of the proxy.
    """
    owner = request.headers.get(name, "")
    where = f"in the header {name} (VIDEOQUEUE_OWNER_HEADER)"
    try:
        if owner:
            require_owner(owner)
    except VideoqueueError as error:
        raise unauthorized(request, f"The proxy did not name the owner {where}. {error}") from None
    if not owner:
        raise unauthorized(request, f"The proxy did not name the owner {where}.")
    if _UNKNOWN.fullmatch(owner):
        raise unauthorized(
            request,
            f"The proxy named no user {where}: {owner!r} stands for an unknown one. The proxy has to check "
            "who the user is.",
        )
    if owner == ADMIN:
        raise unauthorized(
            request,
            f"The proxy named the owner {ADMIN!r} {where}, who is the owner of VIDEOQUEUE_ADMIN_KEY. Use "
            "another name for this user.",
        )
    return owner
