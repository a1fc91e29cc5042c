"""Who may use which address: every route for every kind of caller, on both databases."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from tests.support.databases import MIGRATED, Databases, write_tables
from tests.support.leaks import ADMIN_KEY
from tests.support.records import new_job
from tests.support.videos import make_video
from videoqueue.api.extension import services_of
from videoqueue.api.operations import Operation, operation
from videoqueue.app import create_app
from videoqueue.jobs.api_key import Scope
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.results import encode
from videoqueue.jobs.tables import API_KEY, Base
from videoqueue.jobs.types import ALL_OWNERS, NOBODY
from videoqueue.services import Services
from videoqueue.settings import load_settings

#: Every route with the scope that it needs, and its status for an allowed caller: the owner, and another one.
ROUTES: dict[tuple[str, str], tuple[Scope | None, int, int]] = {
    ("POST", "/video/submit"): ("submit", 400, 400),
    ("GET", "/video/status/<job_id>"): ("read", 200, 404),
    ("GET", "/video/results/<job_id>"): ("read", 200, 404),
    ("GET", "/jobs"): ("read", 200, 200),
    ("GET", "/jobs/<job_id>"): ("read", 200, 404),
    ("POST", "/jobs/<job_id>/retry"): ("submit", 409, 404),
    ("GET", "/jobs/<job_id>/segments"): ("read", 200, 404),
    ("GET", "/jobs/<job_id>/results"): ("read", 200, 404),
    ("GET", "/jobs/<job_id>/export"): ("read", 400, 400),
    ("GET", "/jobs/<job_id>/video"): ("read", 404, 404),
    ("GET", "/pipelines"): ("read", 200, 200),
    ("GET", "/healthz"): (None, 200, 200),
    ("GET", "/readyz"): (None, 200, 200),
    ("GET", "/metrics"): ("metrics", 200, 200),
    ("GET", "/openapi.json"): (None, 200, 200),
    ("GET", "/docs"): (None, 200, 200),
    ("GET", "/"): (None, 200, 200),
    ("GET", "/ui/<name>"): (None, 404, 404),
    ("GET", "/ui/session"): ("read", 200, 200),
    ("POST", "/ui/login"): (None, 400, 400),
    ("POST", "/ui/logout"): (None, 204, 204),
    ("GET", "/ui/jobs/<job_id>/video"): ("read", 404, 404),
    # Last: the job is gone afterwards.
    ("DELETE", "/jobs/<job_id>"): ("submit", 204, 404),
}
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


@dataclass
class Closed:
    """A service whose requests need a key, with one completed job of the owner anna."""

    client: FlaskClient
    services: Services
    keys: KeyStore
    job_id: uuid.UUID

    def header(self, caller: str) -> dict[str, str]:
        """What this kind of caller sends."""
        if caller == "no key":
            return {}
        if caller == "another scheme":
            return {"Authorization": "Basic YW5uYTpwYXNzd29yZA=="}
        return bearer(self._token(caller))

    def _token(self, caller: str) -> str:
        owner = {"another owner": "bert", "admin": "root"}.get(caller, "anna")
        scope: Scope = "admin" if caller == "admin" else "submit"
        if caller in ("read", "metrics"):
            scope = "read" if caller == "read" else "metrics"
        key, token = self.keys.create(owner, frozenset({scope}), 0 if caller == "expired" else None)
        if caller == "revoked":
            self.keys.revoke(key.key_id)
        return {
            "malformed": "vq_short",
            "unknown": f"vq_{'a' * 12}_{'0' * 43}",
            "wrong secret": f"vq_{key.key_id}_{'0' * 43}",
            "admin key": ADMIN_KEY,
        }.get(caller, token)

    def get(self, path: str, caller: str = "no key", **headers: str) -> TestResponse:
        return self.client.get(path, headers=self.header(caller) | headers)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def completed(services: Services, owner: str) -> uuid.UUID:
    store = services.store
    claim = store.claim(store.create(new_job(owner=owner))[0], "worker")
    assert claim is not None
    store.checkpoint(claim, 0, encode([{"frame_index": 0, "result": {}}]), [0], 0.5)
    store.complete(claim, services.results.etag(claim.job_id, ALL_OWNERS))
    return claim.job_id


def closed_service(app: Flask) -> Closed:
    services = services_of(app)
    services.storage.check()  # makes its folder
    return Closed(app.test_client(), services, KeyStore(services.engine), completed(services, "anna"))


class Apps:
    """Applications that tests share: one for each set of settings, each on a database of its own."""

    def __init__(self, folder: Path, redis_url: str, new_database: Callable[[Path], str]) -> None:
        self._folder = folder
        self._redis_url = redis_url
        self._new_database = new_database
        self._made: dict[str, Flask] = {}

    def __call__(self, **changes: Any) -> Flask:
        """Returns the application with changed settings. Its tables are empty at the start of each test."""
        name = repr(sorted(changes.items()))
        if name not in self._made:
            folder = self._folder / str(len(self._made))
            environ = {"VIDEOQUEUE_DATA_DIR": str(folder), "REDIS_URL": self._redis_url}
            addresses = {
                "database_url": self._new_database(folder),
                "storage_url": f"file://{folder}/objects",
            }
            self._made[name] = create_app(replace(load_settings(environ), **addresses | changes))
        return self._made[name]

    def clear(self) -> None:
        for app in self._made.values():
            with services_of(app).engine.begin() as connection:
                for table in reversed(Base.metadata.sorted_tables):
                    connection.execute(sa.delete(table))

    def close(self) -> None:
        for app in self._made.values():
            services_of(app).engine.dispose()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def apps(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey_server: str
) -> Iterator[Apps]:
    with ExitStack() as stack:

        def new_database(folder: Path) -> str:
            if request.param == "sqlite":
                write_tables(folder / "test.db")
                return f"sqlite:///{folder / 'test.db'}"
            databases: Databases = request.getfixturevalue("databases")
            return stack.enter_context(databases.new(MIGRATED))

        apps = Apps(tmp_path_factory.mktemp("apps"), f"{valkey_server[:-1]}6", new_database)
        stack.callback(apps.close)
        yield apps


@pytest.fixture
def shared_app(apps: Apps) -> Apps:
    apps.clear()
    return apps


@pytest.fixture
def closed(shared_app: Apps) -> Closed:
    return closed_service(shared_app(admin_key=ADMIN_KEY))


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


class statements:  # noqa: N801 - used like a function
    """Records the statements of the block."""

    def __init__(self, services: Services) -> None:
        self._engine = services.engine
        self.found: list[str] = []

    def _record(self, _c: object, _u: object, statement: str, *_: object) -> None:
        self.found.append(statement)

    def __enter__(self) -> list[str]:
        event.listen(self._engine, "before_cursor_execute", self._record)
        return self.found

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._record)


def test_a_valid_key_is_remembered_and_a_refused_one_is_not(closed: Closed) -> None:
    for caller, asked in (("submit", 0), ("wrong secret", 1)):
        header = closed.header(caller)
        closed.client.get(f"/video/status/{closed.job_id}", headers=header)
        with statements(closed.services) as queries:
            closed.client.get(f"/video/status/{closed.job_id}", headers=header)
        assert len([query for query in queries if "FROM api_key" in query]) == asked


def test_a_revoked_key_is_refused_when_it_is_no_longer_remembered(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/video/status/{closed.job_id}"
    key, token = closed.keys.create("anna", frozenset({"read"}))
    assert closed.client.get(path, headers=bearer(token)).status_code == 200
    closed.keys.revoke(key.key_id)
    monkeypatch.setattr("videoqueue.api.known_keys.REMEMBERED_SECONDS", 0.0)
    assert closed.client.get(path, headers=bearer(token)).status_code == 401


def test_a_remembered_key_is_refused_once_it_expires(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/video/status/{closed.job_id}"
    _, token = closed.keys.create("anna", frozenset({"read"}), expires_seconds=3600)
    assert closed.client.get(path, headers=bearer(token)).status_code == 200
    monkeypatch.setattr("videoqueue.api.known_keys.REMEMBERED_SECONDS", 10_000.0)
    import time

    later = time.monotonic() + 3601
    monkeypatch.setattr("videoqueue.api.known_keys.time.monotonic", lambda: later)
    response = closed.client.get(path, headers=bearer(token))
    assert (response.status_code, "expired" in response.get_json()["detail"]) == (401, True)


def test_a_key_that_another_transaction_has_locked_can_be_used(closed: Closed) -> None:
    key, token = closed.keys.create("anna", frozenset({"read"}))
    with closed.services.engine.begin() as other:
        other.execute(sa.update(API_KEY).where(API_KEY.c.key_id == key.key_id).values(owner="anna"))
        response = closed.client.get(f"/video/status/{closed.job_id}", headers=bearer(token))
        assert response.status_code == 200
    assert [found.last_used_at for found in closed.keys.all()] == [None]


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


def test_until_the_first_key_no_key_is_needed_and_from_then_on_it_is(
    start_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start_app()
    client, services = app.test_client(), services_of(app)
    job_id = completed(services, NOBODY)
    assert client.get(f"/video/status/{job_id}").status_code == 200
    assert client.get(f"/video/status/{job_id}", headers=bearer("vq_wrong")).status_code == 200
    key, token = KeyStore(services.engine).create("anna", frozenset({"submit"}))
    # The first request with the key is its owner's, in a process that has just found no key.
    assert client.get(f"/video/status/{job_id}", headers=bearer(token)).status_code == 404
    assert client.get(f"/video/status/{job_id}").status_code == 401
    KeyStore(services.engine).revoke(key.key_id)
    other = start_app().test_client()
    assert other.get(f"/video/status/{job_id}").status_code == 401


def test_another_process_notices_the_first_key_when_it_asks_again(
    start_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start_app()
    client, services = app.test_client(), services_of(app)
    job_id = completed(services, NOBODY)
    with statements(services) as queries:
        for _ in range(3):
            assert client.get(f"/video/status/{job_id}").status_code == 200
    assert len([query for query in queries if "api_key" in query]) == 1
    KeyStore(services.engine).create("anna", frozenset({"submit"}))
    monkeypatch.setattr("videoqueue.api.known_keys.time.monotonic", lambda: 2.0**40)
    assert client.get(f"/video/status/{job_id}").status_code == 401


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"port": 8000}, 401),
        ({"port": 8000, "host": "127.0.0.1"}, 200),
        ({"host": "0.0.0.0"}, 401),
        ({"host": "videos.example.com"}, 401),
        ({"host": "::1"}, 200),
        ({"trusted_proxies": 1}, 401),
        ({"auth": "required"}, 401),
        ({"admin_key": ADMIN_KEY}, 401),
        ({"auth": "off", "host": "0.0.0.0", "trusted_proxies": 1, "admin_key": ADMIN_KEY}, 200),
    ],
)
def test_a_key_is_needed_unless_only_this_machine_reaches_the_service(
    shared_app: Apps, changes: dict[str, object], status: int
) -> None:
    app = shared_app(**changes)
    job_id = completed(services_of(app), NOBODY)
    assert app.test_client().get(f"/video/status/{job_id}").status_code == status


@pytest.mark.parametrize(
    "header",
    [
        "Forwarded",
        "X-Forwarded-For",
        "X-Real-IP",
        "Via",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Server",
        "X-Forwarded-Port",
        "CF-Connecting-IP",
        "True-Client-IP",
        "X-Client-IP",
        "CDN-Loop",
    ],
)
def test_a_request_through_a_proxy_needs_a_key_and_the_refusal_names_the_settings(
    shared_app: Apps, header: str
) -> None:
    app = shared_app()
    job_id = completed(services_of(app), NOBODY)
    response = app.test_client().get(f"/video/status/{job_id}", headers={header: "9.9.9.9"})
    assert response.status_code == 401
    for setting in ("VIDEOQUEUE_TRUSTED_PROXIES", "VIDEOQUEUE_AUTH"):
        assert setting in response.get_json()["detail"]
    off = shared_app(auth="off")
    job_id = completed(services_of(off), NOBODY)
    allowed = off.test_client().get(f"/video/status/{job_id}", headers={header: "9.9.9.9"})
    assert allowed.status_code == 200


@pytest.mark.parametrize("address", ["192.168.1.7", "fe80::1", ""])
def test_a_request_of_another_machine_needs_a_key_whatever_the_settings_say(
    shared_app: Apps, address: str
) -> None:
    app = shared_app()
    job_id = completed(services_of(app), NOBODY)
    response = app.test_client().get(f"/video/status/{job_id}", environ_overrides={"REMOTE_ADDR": address})
    assert response.status_code == 401


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"X-User": "anna"}, 200),
        ({"X-User": "bert"}, 404),
        ({}, 401),
        ({"X-User": ""}, 401),
        ({"X-User": "anna,bert"}, 401),
        ({"X-User": "two words"}, 401),
        ({"X-User": "anna", "Authorization": "Basic YW5uYTpwYXNzd29yZA=="}, 200),
        ({"X-User": "anna", "Authorization": "Bearer vq_wrong"}, 401),
    ],
)
def test_a_trusted_proxy_names_the_owner(shared_app: Apps, header: dict[str, str], status: int) -> None:
    closed = closed_service(shared_app(owner_header="X-User", trusted_proxies=1))
    response = closed.client.get(f"/video/status/{closed.job_id}", headers=header)
    assert response.status_code == status
    if "X-User" not in header:
        assert "X-User (VIDEOQUEUE_OWNER_HEADER)" in response.get_json()["detail"]
    submitted = closed.client.post("/video/submit", headers=header)
    assert submitted.status_code == {404: 400, 200: 400}.get(status, 401)


@pytest.mark.parametrize(
    "name",
    ["-", "(null)", "null", "None", "<nil>", "undefined", "$remote_user", "${user}", "%{REMOTE_USER}e"],
)
def test_a_proxy_that_does_not_know_the_user_names_no_owner(shared_app: Apps, name: str) -> None:
    client = shared_app(owner_header="X-User", trusted_proxies=1).test_client()
    response = client.get("/jobs", headers={"X-User": name})
    assert response.status_code == 401
    assert f"{name!r} stands for an unknown one" in response.get_json()["detail"]


def test_a_user_of_the_proxy_is_not_the_owner_of_the_admin_key(shared_app: Apps) -> None:
    app = shared_app(owner_header="X-User", trusted_proxies=1, admin_key=ADMIN_KEY)
    job_id = completed(services_of(app), "admin")
    client = app.test_client()
    response = client.get(f"/video/status/{job_id}", headers={"X-User": "admin"})
    assert response.status_code == 401
    assert "the owner of VIDEOQUEUE_ADMIN_KEY" in response.get_json()["detail"]
    for user in ("Admin", "administrator", "nullable", "unknown.user", "a-b"):
        assert client.get("/jobs", headers={"X-User": user}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://videos.example.com"}, 403),  # the user has opened https
        ({"Sec-Fetch-Site": "same-origin"}, None),
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Origin": "https://videos.example.com"}, None),
        ({}, None),
    ],
)
def test_another_site_cannot_use_the_login_of_a_proxy(
    shared_app: Apps, headers: dict[str, str], code: int | None
) -> None:
    closed = closed_service(shared_app(owner_header="X-User", trusted_proxies=1))
    added = {"X-User": "anna", "Host": "videos.example.com", "X-Forwarded-Proto": "https"}
    if code:
        added["Authorization"] = "Basic YW5uYTpwYXNzd29yZA=="  # as a proxy leaves it that does not clear it
    for (method, rule), (needed, own, _) in ROUTES.items():
        if needed is None:
            continue
        path = rule.replace("<job_id>", str(closed.job_id))
        response = closed.client.open(path, method=method, headers=added | headers)
        # A proxy's users have no scope for metrics.
        assert (path, response.status_code) == (path, code or (403 if needed == "metrics" else own))
        if code:
            assert response.get_json()["code"] == "cross_site"
    upload = closed.client.post("/video/submit", headers=added | headers, data=b"video", content_type="a/b")
    assert upload.headers["Connection"] == "close"  # also where it is 415: the body stays unread


def test_a_key_is_accepted_from_every_site_also_behind_a_proxy_that_names_owners(
    shared_app: Apps,
) -> None:
    closed = closed_service(shared_app(owner_header="X-User", trusted_proxies=1))
    response = closed.get("/jobs", "submit", **{"Sec-Fetch-Site": "cross-site", "X-User": "bert"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "localhost:8000"}, None),
        ({"Host": "127.0.0.1"}, None),
        ({"Host": "127.8.8.8:1"}, None),
        ({"Host": "[::1]:8000"}, None),
        ({"Host": "LOCALHOST."}, None),
        ({"Host": "evil.example"}, "unknown_host"),
        ({"Host": "127.0.0.1.evil.example:8000"}, "unknown_host"),
        ({"Host": "localhost.evil.example"}, "unknown_host"),
        ({"Host": "[2001:db8::1]"}, "unknown_host"),
        ({"Host": ""}, "unknown_host"),
        ({"Sec-Fetch-Site": "same-origin"}, None),
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Sec-Fetch-Site": "same-site"}, "cross_site"),
        ({"Sec-Fetch-Site": "cross-site"}, "cross_site"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, "cross_site"),
        ({"Origin": "http://localhost"}, None),
        ({"Origin": "http://localhost:80"}, None),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, None),
        ({"Host": "localhost:8000", "Origin": "http://localhost:9000"}, "cross_site"),
        ({"Origin": "https://localhost"}, "cross_site"),
        ({"Origin": "http://evil.example"}, "cross_site"),
        ({"Host": "localhost:99999", "Origin": "http://localhost:99999"}, "cross_site"),
        ({"Origin": "null"}, "cross_site"),
        ({"Origin": "http://[bad"}, "cross_site"),
    ],
)
def test_a_browser_cannot_be_used_by_another_site(
    shared_app: Apps, headers: dict[str, str], code: str | None
) -> None:
    client = shared_app().test_client()
    for response in (
        client.post("/video/submit", headers=headers),
        client.get(f"/video/status/{uuid.uuid4()}", headers=headers),
    ):
        assert response.get_json()["code"] == (
            code or {"POST": "file_missing", "GET": "job_not_found"}[response.request.method]
        )
    assert client.get("/healthz", headers=headers).status_code == 200


def test_a_key_is_accepted_from_every_site_because_browsers_do_not_send_it(closed: Closed) -> None:
    path = f"/video/status/{closed.job_id}"
    response = closed.get(path, "submit", **{"Sec-Fetch-Site": "cross-site", "Host": "any.example"})
    assert response.status_code == 200


def test_only_the_allowed_names_are_known(shared_app: Apps) -> None:
    allowed = ("videos.example.com",)
    for changes in ({}, {"admin_key": ADMIN_KEY}):
        client = shared_app(allowed_hosts=allowed, **changes).test_client()
        path = f"/video/status/{uuid.uuid4()}"
        statuses = [
            client.get(path, headers=bearer(ADMIN_KEY) | {"Host": host}).status_code
            for host in ("videos.example.com", "VIDEOS.example.com:443", "localhost:8000", "evil.example")
        ]
        assert statuses == [404, 404, 404, 421]


@pytest.mark.parametrize(
    ("name", "secret", "takes"),
    [
        ("VIDEOQUEUE_ADMIN_KEY", "a secret that is too short", "at least"),
        ("VIDEOQUEUE_ADMIN_KEY", "a secret with spaces and 32 characters", "at least"),
        ("VIDEOQUEUE_API_KEY", "a secret of two words", "letters, digits"),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_printed(name: str, secret: str, takes: str) -> None:
    with pytest.raises(Exception, match=f"cannot be used: {name} takes {takes}") as caught:
        load_settings({name: secret})
    assert "secret" not in str(caught.value)


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    given = {"VIDEOQUEUE_ADMIN_KEY": ADMIN_KEY, "VIDEOQUEUE_API_KEY": "vq_own"}
    assert not re.search(rf"{ADMIN_KEY}|vq_own", repr(load_settings(given)))


@pytest.mark.parametrize("environ", [{}, {"VIDEOQUEUE_TRUSTED_PROXIES": "1", "VIDEOQUEUE_AUTH": "off"}])
def test_the_header_of_a_proxy_needs_a_proxy_and_keys(environ: dict[str, str]) -> None:
    with pytest.raises(Exception, match="VIDEOQUEUE_OWNER_HEADER=X-User cannot be used"):
        load_settings({"VIDEOQUEUE_OWNER_HEADER": "X-User"} | environ)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "Host",
        "Cookie",
        "X-Request-Id",
        "Content-Type",
        "Content-Length",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Real-IP",
        "Via",
        "Origin",
        "Sec-Fetch-Site",
        "User-Agent",
        "Idempotency-Key",
        "If-None-Match",
        "Transfer-Encoding",
    ],
)
def test_a_header_that_clients_send_or_that_has_another_meaning_cannot_name_the_owner(name: str) -> None:
    given = {"VIDEOQUEUE_OWNER_HEADER": name, "VIDEOQUEUE_TRUSTED_PROXIES": "1"}
    with pytest.raises(Exception, match=f"VIDEOQUEUE_OWNER_HEADER='{name}'.* such as X-Remote-User"):
        load_settings(given)


@pytest.mark.parametrize("name", ["X-Remote-User", "Remote-User", "X-Forwarded-User", "X-Auth-Request-User"])
def test_the_usual_headers_of_proxies_can_name_the_owner(name: str) -> None:
    given = {"VIDEOQUEUE_OWNER_HEADER": name, "VIDEOQUEUE_TRUSTED_PROXIES": "1"}
    assert load_settings(given).owner_header == name


class Body(io.BytesIO):
    """The body of a request, during which something happens."""

    def __init__(self, body: bytes, happens: Callable[[], object]) -> None:
        super().__init__(body)
        self._happens = happens

    def read(self, size: int | None = -1, /) -> bytes:
        self._happens()
        return super().read(size)


def test_a_key_that_is_revoked_while_the_video_arrives_makes_no_job(
    closed: Closed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videoqueue.api.known_keys.REMEMBERED_SECONDS", 0.0)
    key, token = closed.keys.create("anna", frozenset({"submit"}))
    video = make_video(tmp_path / "video.mp4").read_bytes()
    before = set(closed.services.storage.list_older_than(-60))
    response = closed.client.post(
        "/video/submit",
        headers=bearer(token),
        input_stream=Body(video, lambda: closed.keys.revoke(key.key_id)),
        content_length=len(video),
        content_type="video/mp4",
    )
    assert (response.status_code, response.get_json()["detail"][:19]) == (401, "The key is revoked.")
    assert len(closed.services.queries.latest("anna", 10)) == 1
    assert set(closed.services.storage.list_older_than(-60)) == before


def test_the_first_key_that_is_created_while_a_video_arrives_closes_the_service_for_it(
    start_app: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videoqueue.api.known_keys.REMEMBERED_SECONDS", 0.0)
    app = start_app()
    services = services_of(app)
    video = make_video(tmp_path / "video.mp4").read_bytes()
    response = app.test_client().post(
        "/video/submit",
        input_stream=Body(video, lambda: KeyStore(services.engine).create("anna", frozenset({"read"}))),
        content_length=len(video),
        content_type="video/mp4",
    )
    assert response.status_code == 401
    assert services.queries.latest(ALL_OWNERS, 10) == []
