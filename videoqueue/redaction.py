"""Removes secrets from texts that are about to be logged or printed.

Masked are the secret part of API keys, values of the headers Authorization and Cookie (RFC 9110, section
11.6.2; RFC 6265), Bearer tokens (RFC 6750), and the values of the environment variables in `VARIABLES`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

#: What a secret is replaced by.
MASK: Final = "***"
#: Environment variables whose values are secrets.
VARIABLES: Final = (
    "VIDEOQUEUE_ADMIN_KEY",
    "VIDEOQUEUE_API_KEY",
    "VIDEOQUEUE_WEBHOOK_SECRET",
    "VIDEOQUEUE_WEBHOOK_URL",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
#: A shorter value is only masked where it is recognised as a key: it could be part of any text.
_MIN_CHARACTERS: Final = 16

#: A key of `videoqueue.jobs.api_key`, also a part of one; its id is public.
_KEY: Final = re.compile(r"(vq_[a-z2-7]{12}_)[0-9a-z]+", re.IGNORECASE)
#: What messages for users contain in place of a key.
_EXAMPLE: Final = "Bearer KEY"
#: A header in a request, in a mapping, as an item of a list of pairs, or in a variable of WSGI.
_HEADER: Final = re.compile(
    r"""((?:authorization|cookie)(?:\\*["']?\s*[:=]\s*(?:b?\\*["'])?|\\*["']\s*,\s*b?\\*["']))"""
    rf"""(?!{_EXAMPLE}["'`\\\r\n]|{_EXAMPLE}\Z)[^\s"'`\\][^"'`\r\n\\]*""",
    re.IGNORECASE,
)
#: `Bearer realm=` is what a challenge contains.
_BEARER: Final = re.compile(
    r"""\b(Bearer\s+)(?!KEY(?![^\s"'`,\\])|realm=|\*\*\*)[^\s"'`,\\]+""", re.IGNORECASE
)
_NAMES: Final = re.compile(r".*(authorization|cookie)", re.IGNORECASE)

_known: re.Pattern[str] | None = None


def remember(environ: Mapping[str, str]) -> None:
    """Makes `mask` recognise the values that the variables in `VARIABLES` have in `environ`.

    It replaces those of an earlier call.
    """
    global _known
    values = {environ.get(name, "").strip() for name in VARIABLES}
    forms = {form for value in values if len(value) >= _MIN_CHARACTERS for form in _forms(value)}
    longest_first = sorted(forms, key=len, reverse=True)
    _known = re.compile("|".join(map(re.escape, longest_first))) if forms else None


def _forms(value: str) -> set[str]:
    """Returns the value as it is in a text, in a URL, in Python's notation and in JSON."""
    in_url = quote(value, safe="", errors="surrogateescape")  # the bytes of the variable, also if not UTF-8
    return {value, in_url, repr(value)[1:-1], json.dumps(value)[1:-1]}


def mask(text: str) -> str:
    """Returns the text with every secret in it replaced by `MASK`.

    Mask a text before it is cut or escaped: a part of a secret cannot be recognised.

    Example:
        The id of a key stays::

            mask("key vq_abcdefghijkl_4fD0... refused")  # "key vq_abcdefghijkl_*** refused"
    """
    if _known is not None:
        text = _known.sub(MASK, text)
    text = _KEY.sub(rf"\1{MASK}", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    return _BEARER.sub(rf"\1{MASK}", text)


def is_secret(name: str) -> bool:
    """Returns whether a field of this name holds a secret: it is named like a header in `mask`."""
    return _NAMES.fullmatch(name) is not None
