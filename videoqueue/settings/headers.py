"""The parser for the name of the header in which a proxy names the owner of a request."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
#: Headers with a meaning of their own (RFC 9110 and the registry of IANA), and those with the address of a
#: client. Clients, proxies or this service write them: none of them names a user whom a proxy has checked.
_TAKEN: Final = re.compile(
    r"accept(-.*)?|access-control-.*|authorization|cache-control|cdn-loop|cf-.*|connection|content-.*|cookie"
    r"|date|dnt|expect|fastly-client-ip|forwarded(-for)?|from|host|idempotency-key|if-.*|keep-alive"
    r"|max-forwards|origin|pragma|priority|proxy-.*|range|referer|sec-.*|set-cookie|te|trailer"
    r"|traceparent|tracestate|transfer-encoding|true-client-ip|upgrade(-insecure-requests)?|user-agent|via"
    r"|x-(client|real|cluster-client|proxyuser)-ip|x-csrf-token|x-forwarded"
    r"|x-forwarded-(for|host|port|prefix|proto|scheme|server|ssl)|x-original-.*|x-request-id|x-requested-with",
    re.IGNORECASE,
)


def owner_header(value: str) -> str:
    """Returns the name of a header that has no other meaning."""
    if not _NAME.fullmatch(value):
        raise ValueError("takes the name of a header: letters, digits and -")
    if _TAKEN.fullmatch(value):
        raise ValueError(
            "takes the name of a header that only the proxy writes, such as X-Remote-User; this one has "
            "another meaning"
        )
    return value
