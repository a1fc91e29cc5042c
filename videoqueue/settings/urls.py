"""The URLs of settings: services, queues, storages and databases. They are checked before anything connects.

A parser raises ValueError. Its message is the end of a sentence that begins with the setting's name.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlencode

from videoqueue.settings.url_parts import bad, pairs, parse, require_host, require_known, require_scheme

_POSTGRES: Final = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_SQLITE: Final = "sqlite:///FILE"
_REDIS: Final = "redis://USER:PASSWORD@HOST:PORT/NUMBER"
_UNIX: Final = "unix:///PATH?db=NUMBER"
_HTTP: Final = "http://HOST:PORT or https://HOST"

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


def http_url(value: str) -> str:
    """Returns the valid URL of a service."""
    require_scheme(value, "http", "https")
    url = parse(value, _HTTP)
    require_host(url, _HTTP)
    if url.query:
        raise bad(_HTTP, "it has a query")
    return value


def webhook_url(value: str) -> str:
    """Returns the URL of a receiver of webhooks. It may have a query."""
    require_scheme(value, "http", "https")
    url = parse(value, _HTTP)
    require_host(url, _HTTP)
    if url.user is not None:
        raise bad(_HTTP, "it has a user; a receiver checks the signature instead")
    if not value.isascii():
        raise bad(_HTTP, "it has letters that are not ASCII; write them in their escaped form")
    try:
        url.hosts[0][0].encode("idna")
    except UnicodeError:
        raise bad(_HTTP, "its host has an empty part, or one of more than 63 letters") from None
    return value


def storage_url(value: str) -> str:
    """Returns the URL of a folder or bucket. Only the scheme is checked; `open_storage` checks the rest."""
    require_scheme(value, "file", "s3")
    return value


def redis_url(value: str) -> str:
    """Returns the valid URL of a Redis or Valkey server: TCP, TLS or unix socket."""
    if require_scheme(value, "redis", "rediss", "unix") == "unix":
        form, url = _UNIX, parse(value, _UNIX)
        if url.hosts != [("", "")] or len(url.path) < 2:
            raise bad(form, "it has no path")
    else:
        form, url = _REDIS, parse(value, _REDIS)
        require_host(url, form)
        if not re.fullmatch(r"/?|/[0-9]{1,5}", url.path):
            raise bad(form, "its database is not a number")
    require_known(url.query, _REDIS_OPTIONS, form)
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
        raise bad(_SQLITE, "it has no file; with an absolute path it begins with four slashes")
    require_known(pairs(query, _SQLITE), _SQLITE_OPTIONS, _SQLITE)
    # A path that begins with `file:` is a URI of SQLite itself.
    begin = "file:" if file.startswith("/file:") else ""
    path = file[1:].removeprefix(begin)
    here = "" if path.startswith("/") else f"{quote(str(Path.cwd()))}/"
    return f"sqlite:///{begin}{here}{path}{separator}{query}"


def _postgres_url(value: str) -> str:
    url = parse(value, _POSTGRES)
    query = url.query
    if query:
        from psycopg.pq import Conninfo

        known = {option.keyword.decode() for option in Conninfo.get_defaults()}
        # Users of other drivers set it. It has no effect here, because nothing is prepared
        # (`engine_options`).
        query = [(name, text) for name, text in query if name != "prepare_threshold"]
        require_known(query, known, _POSTGRES, "libpq's, such as sslmode and target_session_attrs")
    named_elsewhere = any(name in ("host", "hostaddr", "service") for name, _ in query)
    if not named_elsewhere and (url.user is not None or url.hosts != [("", "")]):
        if not all(host for host, _ in url.hosts):
            raise bad(_POSTGRES, "it has no host; for a unix socket, add ?host=/run/postgresql")
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
