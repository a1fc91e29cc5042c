"""Who may use which address: every route for every kind of caller, on both databases."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.closed_service import (
    ROUTES,
    Apps,
    Closed,
    apps,
    closed,
    closed_service,
    completed,
    shared_app,
    statements,
)
from tests.support.leaks import ADMIN_KEY
from videoqueue.api.operations import Operation, operation
from videoqueue.jobs.api_key import Scope
from videoqueue.jobs.types import NOBODY

__all__ = ["apps", "closed", "shared_app"]

#: Kinds of callers, with the scopes that they have; None is refused with 401.
CALLERS: dict[str, set[Scope] | None] = {
    "no key": None,
    "malformed": None,
    "another scheme": None,
    "unknown": None,
    "wrong secret": None,
    "expired": None,
    "revoked": None,
    "submit": {"submit", "read"},
    "read": {"read"},
    "metrics": {"metrics"},
    "another owner": {"submit", "read"},
    "admin": {"submit", "read", "metrics", "admin"},
    "admin key": {"submit", "read", "metrics", "admin"},
}


def test_the_table_has_every_route(shared_app: Apps) -> None:
    rules = shared_app().url_map.iter_rules()
    assert {
        (method, rule.rule) for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    } == set(ROUTES)


@pytest.mark.parametrize("caller", CALLERS)
def test_every_route_for_every_caller(closed: Closed, caller: str) -> None:
    header, scopes = closed.header(caller), CALLERS[caller]
    for (method, rule), (needed, own, foreign) in ROUTES.items():
        path = rule.replace("<job_id>", str(closed.job_id))
        response = closed.client.open(path, method=method, headers=header)
        if needed is None:
            expected = own
        elif scopes is None:
            expected = 401
        elif needed not in scopes:
            expected = 403
        else:
            expected = foreign if caller == "another owner" else own
        assert (path, response.status_code) == (path, expected)
        if expected in (401, 403):
            assert response.get_json()["code"] == {401: "unauthorized", 403: "forbidden"}[expected]
            assert response.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_the_methods_that_flask_adds_need_a_key_too(closed: Closed, method: str) -> None:
    assert closed.client.open(f"/video/status/{closed.job_id}", method=method).status_code == 401


def test_a_view_without_a_description_needs_a_key(start_app: Callable[..., Flask]) -> None:
    app = start_app(admin_key=ADMIN_KEY)
    app.add_url_rule("/forgotten", "forgotten", lambda: "open")
    described = Operation(scope=None, summary="", description="", responses={}, problems=())
    app.add_url_rule("/described", "described", operation(described)(lambda: "open"))
    assert app.test_client().get("/forgotten").status_code == 401
    assert app.test_client().get("/described").status_code == 200


@pytest.mark.parametrize(
    ("caller", "said"),
    [
        ("no key", "This request has no key. Send it in the header `Authorization: Bearer KEY`."),
        ("another scheme", "This request has no key."),
        ("malformed", "The key is not valid."),
        ("unknown", "The key is not valid."),
        ("wrong secret", "The key is not valid."),
        ("expired", "The key is expired."),
        ("revoked", "The key is revoked."),
    ],
)
def test_a_refusal_says_which_and_how_to_get_a_key(closed: Closed, caller: str, said: str) -> None:
    response = closed.get(f"/video/status/{closed.job_id}", caller)
    assert response.get_json()["detail"].startswith(said)
    assert "python -m videoqueue keys create --owner NAME" in response.get_json()["detail"]
    has_error = "invalid_token" in response.headers["WWW-Authenticate"]
    assert has_error is (caller not in ("no key", "another scheme"))


def test_a_missing_scope_is_named(closed: Closed) -> None:
    response = closed.get(f"/video/status/{closed.job_id}", "metrics")
    assert "needs the scope read" in response.get_json()["detail"]
    assert 'scope="read"' in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/video/status/{}"),
        ("GET", "/video/results/{}"),
        ("GET", "/jobs/{}"),
        ("DELETE", "/jobs/{}"),
        ("POST", "/jobs/{}/retry"),
    ],
)
def test_a_foreign_and_an_unknown_job_are_the_same_404_with_one_query_each(
    closed: Closed, method: str, path: str
) -> None:
    header = closed.header("another owner") | {"X-Request-Id": "same"}
    closed.client.open(
        path.format(uuid.uuid4()), method=method, headers=header
    )  # the key is known from now on
    seen: list[tuple[TestResponse, list[str]]] = []
    for job_id in (closed.job_id, uuid.uuid4()):
        with statements(closed.services) as queries:
            response = closed.client.open(path.format(job_id), method=method, headers=header)
        seen.append((response, queries))
    (foreign, foreign_queries), (unknown, unknown_queries) = seen
    assert (foreign.status_code, foreign.data) == (unknown.status_code, unknown.data)
    assert foreign.status_code == 404
    assert list(foreign.headers) == list(unknown.headers)
    assert foreign_queries == unknown_queries
    assert len([query for query in foreign_queries if "FROM job" in query]) == 1


def test_an_admin_sees_the_jobs_of_all_owners_and_owns_their_own(closed: Closed) -> None:
    assert closed.get(f"/video/status/{closed.job_id}", "admin key").status_code == 200
    nobody = completed(closed.services, NOBODY)
    assert closed.get(f"/video/status/{nobody}", "admin").status_code == 200
    assert closed.get(f"/video/status/{nobody}", "submit").status_code == 404


def test_readiness_tells_strangers_only_that(closed: Closed) -> None:
    for caller in ("no key", "wrong secret", "submit", "read"):
        assert closed.get("/readyz", caller).get_json() == {"status": "ready"}
    for caller in ("metrics", "admin", "admin key"):
        assert {"degraded", "workers", "pending"} <= set(closed.get("/readyz", caller).get_json())


def test_an_unready_service_tells_strangers_only_that(start_app: Callable[..., Flask]) -> None:
    closed = closed_service(start_app(admin_key=ADMIN_KEY))
    with closed.services.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE job RENAME TO away"))
    stranger, admin = closed.get("/readyz"), closed.get("/readyz", "admin key")
    assert (stranger.status_code, admin.status_code) == (503, 503)
    assert not re.search("(?i)database|storage", stranger.get_data(as_text=True))
    assert stranger.get_json()["code"] == "not_ready"
    assert (admin.get_json()["code"], "database" in admin.get_json()["detail"]) == (
        "database_unavailable",
        True,
    )
