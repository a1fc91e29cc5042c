"""Who makes the current request, and whether they may.

Each view declares the scope that it needs (`Operation.scope`). The caller is found out before the view runs,
so before the body of the request is read.
"""

from __future__ import annotations

from flask import Flask, current_app, g, request

from videoqueue import audit
from videoqueue.api.authenticator import Authenticator, Caller
from videoqueue.api.operations import scope_of
from videoqueue.jobs.api_key import Scope
from videoqueue.services import Services


def install(app: Flask, services: Services) -> None:
    """Makes every request find out its caller first."""
    authenticator = Authenticator(services)

    def authenticate() -> None:
        audit.set_origin(audit.Origin(request.remote_addr))
        if request.url_rule is None:
            return  # 404 or 405
        view = current_app.view_functions[request.url_rule.endpoint]
        needed = scope_of(view)
        g.authenticator = authenticator
        if needed is not None:
            g.caller = by = authenticator.require(request, needed)
            audit.set_origin(audit.Origin(request.remote_addr, by.key_id, by.owner))

    app.before_request(authenticate)
    app.teardown_request(lambda _: audit.set_origin())


def caller() -> Caller:
    """Returns who makes the current request; only in a view that needs a scope."""
    found: Caller = g.caller
    return found


def caller_now(needed: Scope) -> Caller:
    """Returns who makes the current request, found out again.

    The body of a request can take hours to arrive. Meanwhile the key may have expired or been revoked, or the
    first key may have been created.

    Raises:
        ApiError, DatabaseUnavailableError: as `Authenticator.require`.
    """
    return current_authenticator().require(request, needed)


def current_authenticator() -> Authenticator:
    """Returns what decides who makes the current request."""
    found: Authenticator = g.authenticator
    return found


def visitor(*, has_database: bool) -> Caller | None:
    """Returns who makes the current request, or None for a stranger; only in a view that needs no scope.

    Args:
        has_database: whether the database can be asked about keys.
    """
    return current_authenticator().visitor(request, has_database=has_database)
