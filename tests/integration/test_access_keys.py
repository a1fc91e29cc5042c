"""How long a key is remembered, and what happens when it ends or the first one is created."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.support.closed_service import Closed, apps, bearer, closed, completed, shared_app, statements
from tests.support.videos import make_video
from videoqueue.api.extension import services_of
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.tables import API_KEY
from videoqueue.jobs.types import ALL_OWNERS, NOBODY

__all__ = ["apps", "closed", "shared_app"]


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
