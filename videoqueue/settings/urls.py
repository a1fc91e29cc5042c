"""URLs in settings and addresses. URLs are parsed strictly (RFC 3986), before anything connects.

A parser raises ValueError. Its message is the end of a sentence that begins with the setting's name. It
contains no part of the value: a password with an unescaped `@`, `/`, `?` or `#` may be in any part.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from videoqueue.settings.values import alternatives

_ESCAPE: Final = (
    "In the user name and the password, write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"
)
_POSTGRES: Final = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_SQLITE: Final = "sqlite:///FILE"
_REDIS: Final = "redis://USER:PASSWORD@HOST:PORT/NUMBER"
_UNIX: Final = "unix:///PATH?db=NUMBER"
_HTTP: Final = "http://HOST:PORT or https://HOST"

_HOST: Final = re.compile(r"[^\s:/?#@,\[\]\"'<>\\^`{|}]+|\[[0-9A-Fa-f:.]+\]")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNPRINTABLE: Final = re.compile(r"[\s\x00-\x1f\x7f]")

#: Options of redis-py whose value can be written as text. `build_broker` checks the values.
_REDIS_OPTIONS: Final = frozenset(
    {
        *(
            "db",
            "username",
            "password",
            "client_name",
            "protocol",
            "health_check_interval",
            "max_connections",
        ),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "retry_on_timeout"),
        *("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
        *("ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
    }
)
_SQLITE_OPTIONS: Final = frozenset({"uri", "mode", "cache", "nolock", "immutable", "vfs", "timeout"})


def authority(host: str, port: int) -> str:
    """Returns HOST:PORT for a URL, with an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class _Url:
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


def http_url(value: str) -> str:
    """Returns the valid URL of a service."""
    require_scheme(value, "http", "https")
    url = _parse(value, _HTTP)
    _require_host(url, _HTTP)
    if url.query:
        raise _bad(_HTTP, "it has a query")
    return value


def webhook_url(value: str) -> str:
    """Returns the URL of a receiver of webhooks. It may have a query."""
    require_scheme(value, "http", "https")
    url = _parse(value, _HTTP)
    _require_host(url, _HTTP)
    if url.user is not None:
        raise _bad(_HTTP, "it has a user; a receiver checks the signature instead")
    if not value.isascii():
        raise _bad(_HTTP, "it has letters that are not ASCII; write them in their escaped form")
    try:
        url.hosts[0][0].encode("idna")
    except UnicodeError:
        raise _bad(_HTTP, "its host has an empty part, or one of more than 63 letters") from None
    return value


def storage_url(value: str) -> str:
    """Returns the URL of a folder or bucket. Only the scheme is checked; `open_storage` checks the rest."""
    require_scheme(value, "file", "s3")
    return value


def redis_url(value: str) -> str:
    """Returns the valid URL of a Redis or Valkey server: TCP, TLS or unix socket."""
    if require_scheme(value, "redis", "rediss", "unix") == "unix":
        form, url = _UNIX, _parse(value, _UNIX)
        if url.hosts != [("", "")] or len(url.path) < 2:
            raise _bad(form, "it has no path")
    else:
        form, url = _REDIS, _parse(value, _REDIS)
        _require_host(url, form)
        if not re.fullmatch(r"/?|/[0-9]{1,5}", url.path):
            raise _bad(form, "its database is not a number")
    _require_known(url.query, _REDIS_OPTIONS, form)
    return value


def database_url(value: str) -> str:
    """Returns the URL for SQLAlchemy: with the driver, several hosts as parameters, and an absolute path."""
    scheme = require_scheme(value, "postgresql", "postgres", "postgresql+psycopg", "sqlite")
    return _sqlite_url(value) if scheme == "sqlite" else _postgres_url(value)


def sqlite_url(path: str) -> str:
    """Returns the URL of the SQLite file at `path`."""
    return f"sqlite:///{quote(path)}"


def _sqlite_url(value: str) -> str:
    file, separator, query = value.removeprefix("sqlite://").partition("?")
    if not file.startswith("/") or file[1:] in ("", ":memory:"):
        raise _bad(_SQLITE, "it has no file; with an absolute path it begins with four slashes")
    _require_known(_pairs(query, _SQLITE), _SQLITE_OPTIONS, _SQLITE)
    # A path that begins with `file:` is a URI of SQLite itself.
    begin = "file:" if file.startswith("/file:") else ""
    path = file[1:].removeprefix(begin)
    here = "" if path.startswith("/") else f"{quote(str(Path.cwd()))}/"
    return f"sqlite:///{begin}{here}{path}{separator}{query}"


def _postgres_url(value: str) -> str:
    url = _parse(value, _POSTGRES)
    query = url.query
    if query:
        from psycopg.pq import Conninfo

        known = {option.keyword.decode() for option in Conninfo.get_defaults()}
        # Users of other drivers set it. It has no effect here, because nothing is prepared
        # (`engine_options`).
        query = [(name, text) for name, text in query if name != "prepare_threshold"]
        _require_known(query, known, _POSTGRES, "libpq's, such as sslmode and target_session_attrs")
    named_elsewhere = any(name in ("host", "hostaddr", "service") for name, _ in query)
    if not named_elsewhere and (url.user is not None or url.hosts != [("", "")]):
        if not all(host for host, _ in url.hosts):
            raise _bad(_POSTGRES, "it has no host; for a unix socket, add ?host=/run/postgresql")
        if len(url.hosts) > 1 or "%" in url.hosts[0][0]:
            return _joined(url.user, url.path, [*_as_parameters(url.hosts), *query])
    if query != url.query:
        authority = value.partition("://")[2].partition("?")[0]
        return f"postgresql+psycopg://{authority}{_encoded(query)}"
    return f"postgresql+psycopg://{value.partition('://')[2]}"


def _as_parameters(hosts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns several hosts, or the folder of a unix socket, as parameters of libpq."""
    names = ",".join(unquote(host).strip("[]") for host, _ in hosts)
    return [("host", names), ("port", ",".join(port or "5432" for _, port in hosts))]


def _joined(user: str | None, path: str, query: list[tuple[str, str]]) -> str:
    return f"postgresql+psycopg://{'' if user is None else user + '@'}{path or '/'}{_encoded(query)}"


def _encoded(query: list[tuple[str, str]]) -> str:
    return "?" + urlencode(query, quote_via=quote) if query else ""


def _parse(value: str, form: str) -> _Url:
    rest = value.partition("://")[2]
    if _UNPRINTABLE.search(rest):
        raise _bad(form, "it has a space or a control character")
    if "#" in rest:
        raise _bad(form, "it has an unescaped #")
    before, _, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    user, at, hosts = authority.rpartition("@")
    if "@" in user or "@" in path:
        raise _bad(form, "it has an unescaped @, or an unescaped / before an @")
    if not _is_escaped(before):
        raise _bad(form, "it has an unescaped %")
    found = [_host_and_port(text, form) for text in hosts.split(",")]
    return _Url(user if at else None, found, slash + path, _pairs(query, form))


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
        raise _bad(form, "its port is not a number from 1 to 65535")
    if host and not _HOST.fullmatch(host):
        raise _bad(form, "its host or port is invalid")
    return host, port


def _pairs(query: str, form: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict") if query else []
    except ValueError:
        raise _bad(form, "the part after the ? is not NAME=VALUE pairs, joined by &") from None


def _require_host(url: _Url, form: str) -> None:
    if len(url.hosts) != 1 or not url.hosts[0][0]:
        raise _bad(form, "it does not have exactly one host")


def _require_known(
    query: list[tuple[str, str]], known: Collection[str], form: str, which: str | None = None
) -> None:
    if any(name not in known for name, _ in query):
        which = which or ", ".join(sorted(known))
        raise _bad(form, f"it has an unknown option after the ?; known options are {which}")


def _bad(form: str, why: str) -> ValueError:
    return ValueError(f"takes {form}, but {why}. {_ESCAPE}")
