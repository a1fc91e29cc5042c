"""Decides who makes a request: by its key, its session, a header of the proxy or where it comes from."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from flask import Request

from videoqueue.api.browser import require_known_host, require_same_site
from videoqueue.api.known_keys import KnownKeys
from videoqueue.api.problems import ApiError
from videoqueue.api.proxies import ADMIN, came_through_proxy, owner_in_header
from videoqueue.api.refusals import CREATE, SEND, before_body, closing, unauthorized
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.api_key import SCOPES, ApiKey, Scope
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.sessions import SessionStore
from videoqueue.jobs.types import ALL_OWNERS, NOBODY, OwnerScope
from videoqueue.services import Services
from videoqueue.settings.urls import is_loopback

#: The cookie with the token of a session, which the page gets for a key.
SESSION_COOKIE: Final = "videoqueue_session"
#: What each scope includes.
_INCLUDED: Final[dict[Scope, frozenset[Scope]]] = {
    "submit": frozenset(("submit", "read")),
    "read": frozenset(("read",)),
    "metrics": frozenset(("metrics",)),
    "admin": frozenset(SCOPES),
}


@dataclass(frozen=True)
class Caller:
    """Who makes a request.

    Attributes:
        owner: the owner of the jobs that the caller submits.
        scopes: what the caller may do; with everything that a scope includes.
        key_id: the public part of the key that the caller sent; `admin` for VIDEOQUEUE_ADMIN_KEY, None when
            no key was sent.
    """

    owner: str
    scopes: frozenset[Scope]
    key_id: str | None = None

    @property
    def scope(self) -> OwnerScope:
        """Returns whose jobs the caller may read and change."""
        return ALL_OWNERS if "admin" in self.scopes else self.owner


#: The caller while no keys are needed.
_ANYBODY: Final = Caller(NOBODY, frozenset(("submit", "read", "metrics")))
_ADMIN: Final = Caller(ADMIN, frozenset(SCOPES), ADMIN)


class Authenticator:
    """Decides who makes a request, by the key, the proxy or the address that it comes from."""

    def __init__(self, services: Services) -> None:
        """Connects to nothing yet."""
        self._settings = services.settings
        self._may_be_open = services.settings.may_be_open
        self._keys = KnownKeys(KeyStore(services.engine))
        key = services.settings.admin_key
        self._admin = _digest(key) if key else None
        self.sessions = SessionStore(services.engine, self._admin.hex() if self._admin else "")

    def require(self, request: Request, needed: Scope) -> Caller:
        """Returns the caller.

        Raises:
            ApiError: `unauthorized`, `forbidden`, `unknown_host` or `cross_site`.
            DatabaseUnavailableError: whether the key is valid cannot be found out now.
        """
        found = self._caller(request)
        if needed not in found.scopes:
            challenge = f'Bearer realm="videoqueue", error="insufficient_scope", scope="{needed}"'
            raise ApiError(
                "forbidden",
                f"This request needs the scope {needed}. Use a key that has it. {CREATE}",
                closing(request) | {"WWW-Authenticate": challenge},
            )
        return found

    def visitor(self, request: Request, *, has_database: bool) -> Caller | None:
        """Returns the caller, or None for a stranger.

        Args:
            request: the request.
            has_database: whether the database can be asked. Without it, whoever needed no key so far still
                needs none, and other keys than VIDEOQUEUE_ADMIN_KEY are not recognised.
        """
        try:
            if has_database:
                return self._caller(request)
            if self._is_admin(_token_of(request)):
                return _ADMIN
            if self._may_be_open and not self._keys.knows_of_any:
                self._check_stranger(request)
                return _ANYBODY
        except (ApiError, DatabaseUnavailableError):
            pass
        return None

    def _caller(self, request: Request) -> Caller:
        names = self._settings.allowed_hosts
        token = _token_of(request)
        if self._is_open(token):
            self._check_stranger(request)
            return _ANYBODY
        if names:
            before_body(request, lambda: require_known_host(request, names))
        if token is not None:
            return self.owner_of_key(token, request)
        if self._settings.owner_header:
            # The proxy lets a browser in by a password or a cookie, which it sends for other sites too.
            before_body(request, lambda: require_same_site(request))
            return Caller(owner_in_header(request, self._settings.owner_header), _INCLUDED["submit"])
        if (session := request.cookies.get(SESSION_COOKIE)) is not None:
            return self._owner_of_session(session, request)
        raise unauthorized(request, f"This request has no key. {SEND} {CREATE}")

    def _is_open(self, token: str | None) -> bool:
        """Returns whether requests need no key. A key that is sent is noticed at once, even the first one."""
        if not self._may_be_open:
            return False
        return self._settings.auth == "off" or not self._keys.any_made(now=token is not None)

    def _check_stranger(self, request: Request) -> None:
        """Checks a request without a key while none is needed.

        Raises:
            ApiError: it comes from elsewhere, through a proxy or from another site.
        """
        settings = self._settings
        is_auto = settings.auth == "auto"
        if is_auto and came_through_proxy(request):
            raise unauthorized(
                request,
                "This request came through a proxy, so it needs a key: set VIDEOQUEUE_TRUSTED_PROXIES to the "
                "number of proxies, and create a key. Or set VIDEOQUEUE_AUTH=off to accept requests of "
                f"anybody. {CREATE}",
            )
        if is_auto and not is_loopback(request.environ.get("REMOTE_ADDR", "")):
            raise unauthorized(
                request, f"This request came from another machine, so it needs a key. {SEND} {CREATE}"
            )

        def check() -> None:
            if is_auto or settings.allowed_hosts:
                require_known_host(request, settings.allowed_hosts)
            require_same_site(request)

        before_body(request, check)

    def owner_of_key(self, token: str, request: Request) -> Caller:
        """Returns the caller that a key belongs to.

        Raises:
            ApiError: `unauthorized`.
            DatabaseUnavailableError: whether the key is valid cannot be found out now.
        """
        if self._is_admin(token):
            return _ADMIN
        checked = self._keys.check(token)
        if checked is None:
            raise unauthorized(request, f"The key is not valid. Check that it is complete. {CREATE}", True)
        key = checked.key
        if (state := key.state(checked.time)) != "valid":
            raise unauthorized(request, f"The key is {state}. Use another one. {CREATE}", True)
        return _caller_with(key)

    def _owner_of_session(self, session: str, request: Request) -> Caller:
        """Returns the caller that a session belongs to. A browser sends its cookie also for other sites."""
        before_body(request, lambda: require_same_site(request))
        found = self.sessions.find(session)
        if found is None:
            raise unauthorized(request, "You are no longer logged in. Log in again with your key.", True)
        return _ADMIN if isinstance(found, str) else _caller_with(found)

    def _is_admin(self, token: str | None) -> bool:
        if token is None or self._admin is None:
            return False
        return hmac.compare_digest(_digest(token), self._admin)


def _caller_with(key: ApiKey) -> Caller:
    scopes = frozenset[Scope]().union(*(_INCLUDED[scope] for scope in key.scopes))
    return Caller(key.owner, scopes, key.key_id)


def _token_of(request: Request) -> str | None:
    """Returns what the request sent as a key; None without one, or with another scheme."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
