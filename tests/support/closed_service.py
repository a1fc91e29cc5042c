"""Applications whose requests need a key, shared by the tests of a file."""

from __future__ import annotations

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
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.jobs.api_key import Scope
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.results import encode
from videoqueue.jobs.tables import Base
from videoqueue.jobs.types import ALL_OWNERS
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
