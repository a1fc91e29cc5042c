"""The parts of a URL, parsed strictly (RFC 3986).

An error is the end of a sentence that begins with the setting's name. It contains no part of the value: a
password with an unescaped `@`, `/`, `?` or `#` may be in any part.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

from videoqueue.settings.values import alternatives

_ESCAPE: Final = (
    "In the user name and the password, write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"
)
_HOST: Final = re.compile(r"[^\s:/?#@,\[\]\"'<>\\^`{|}]+|\[[0-9A-Fa-f:.]+\]")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNPRINTABLE: Final = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Url:
    """The parts of a URL. Host and port may be empty. Only `query` is unescaped."""

    user: str | None
    hosts: list[tuple[str, str]]
    path: str
    query: list[tuple[str, str]]


def require_scheme(value: str, *schemes: str) -> str:
    """Returns the scheme of the URL.

    Raises:
        ValueError: it is not one of `schemes`.
    """
    scheme, separator, _ = value.partition("://")
    if not separator or scheme not in schemes:
        raise ValueError("takes a URL that begins with " + alternatives([f"{name}://" for name in schemes]))
    return scheme


def parse(value: str, form: str) -> Url:
    """Returns the parts of a URL.

    Args:
        value: a URL with a valid scheme.
        form: how such a URL looks, for the error.

    Raises:
        ValueError: it is not a URL.
    """
    rest = value.partition("://")[2]
    if _UNPRINTABLE.search(rest):
        raise bad(form, "it has a space or a control character")
    if "#" in rest:
        raise bad(form, "it has an unescaped #")
    before, _, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    user, at, hosts = authority.rpartition("@")
    if "@" in user or "@" in path:
        raise bad(form, "it has an unescaped @, or an unescaped / before an @")
    if not _is_escaped(before):
        raise bad(form, "it has an unescaped %")
    found = [_host_and_port(text, form) for text in hosts.split(",")]
    return Url(user if at else None, found, slash + path, pairs(query, form))


def _is_escaped(text: str) -> bool:
    if _BAD_PERCENT.search(text):
        return False
    try:
        return "\0" not in unquote(text, errors="strict")
    except UnicodeDecodeError:
        return False


def _host_and_port(text: str, form: str) -> tuple[str, str]:
    host, port = text, ""
    if not text.endswith("]"):
        host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise bad(form, "its port is not a number from 1 to 65535")
    if host and not _HOST.fullmatch(host):
        raise bad(form, "its host or port is invalid")
    return host, port


def pairs(query: str, form: str) -> list[tuple[str, str]]:
    """Returns the names and values of the part after the ?, unescaped."""
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict") if query else []
    except ValueError:
        raise bad(form, "the part after the ? is not NAME=VALUE pairs, joined by &") from None


def require_host(url: Url, form: str) -> None:
    """Checks that the URL has exactly one host."""
    if len(url.hosts) != 1 or not url.hosts[0][0]:
        raise bad(form, "it does not have exactly one host")


def require_known(
    query: list[tuple[str, str]], known: Collection[str], form: str, which: str | None = None
) -> None:
    """Checks that all options after the ? are known. `which` describes the known ones in the error."""
    if any(name not in known for name, _ in query):
        which = which or ", ".join(sorted(known))
        raise bad(form, f"it has an unknown option after the ?; known options are {which}")


def bad(form: str, why: str) -> ValueError:
    """Returns the error for a URL that is not as `form` says."""
    return ValueError(f"takes {form}, but {why}. {_ESCAPE}")
