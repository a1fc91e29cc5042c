"""The page as a server sends it: its files and policy, sessions, and the video for its player."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.leaks import ADMIN_KEY
from tests.support.records import new_job
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.jobs.api_key import Scope
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.tables import SESSION, Base
from videoqueue.services import Services
from videoqueue.settings import Settings
from videoqueue.web.page import MAX_PART, POLICY

COOKIE = "videoqueue_session"
VIDEO = bytes(range(256)) * 10_000

Start = Callable[..., Flask]


@pytest.fixture
def start(database_url: str, settings: Settings) -> Iterator[Start]:
    """Makes an application on the test's database, with changed settings."""
    apps: list[Flask] = []

    def start(**changes: Any) -> Flask:
        app = create_app(
            replace(settings, database_url=database_url, storage_url=f"file://{settings.data_dir}", **changes)
        )
        Base.metadata.create_all(services_of(app).engine)
        apps.append(app)
        return app

    yield start
    for app in apps:
        services_of(app).engine.dispose()


@dataclass
class Browser:
    """A client that keeps cookies, of a service that needs keys."""

    client: FlaskClient
    services: Services
    keys: KeyStore

    def log_in(self, token: str, **options: Any) -> TestResponse:
        return self.client.post("/ui/login", json={"key": token}, **options)

    def key(self, owner: str = "anna", scope: Scope = "submit") -> tuple[str, str]:
        key, token = self.keys.create(owner, frozenset({scope}))
        return key.key_id, token


@pytest.fixture
def browser(start: Start) -> Browser:
    app = start(admin_key=ADMIN_KEY)
    services = services_of(app)
    return Browser(app.test_client(), services, KeyStore(services.engine))


def test_the_page_and_its_files_are_open_and_have_the_policy(browser: Browser) -> None:
    page = browser.client.get("/")
    assert (page.status_code, page.content_type) == (200, "text/html; charset=utf-8")
    names = re.findall(r'(?:src|href)="(/ui/[^"]+)"', page.text)
    assert names
    for name in names:
        response = browser.client.get(name)
        assert response.status_code == 200
        assert response.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY


def test_every_script_that_a_script_imports_is_served_as_one(browser: Browser) -> None:
    found, left = set[str](), ["main.js"]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        response = browser.client.get(f"/ui/{name}")
        assert (name, response.content_type) == (name, "text/javascript; charset=utf-8")
        left += re.findall(r'from "\./([\w.]+)"', response.text)
    assert len(found) > 10


def test_the_page_has_no_inline_script_or_style_and_nothing_from_elsewhere(browser: Browser) -> None:
    text = browser.client.get("/").text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://", text)


def test_a_file_that_is_not_of_the_page_is_not_served(browser: Browser) -> None:
    for name in ("nothing.js", "page.py", "..%2fpage.py", "%2e%2e/page.py"):
        assert browser.client.get(f"/ui/{name}").status_code == 404


def test_a_file_that_has_not_changed_is_not_sent_again(browser: Browser) -> None:
    etag = browser.client.get("/ui/main.js").headers["ETag"]
    assert browser.client.get("/ui/main.js", headers={"If-None-Match": etag}).status_code == 304


def test_the_page_can_be_switched_off(start: Start) -> None:
    client = start(page=False).test_client()
    assert [client.get(path).status_code for path in ("/", "/ui/main.js", "/ui/session")] == [404, 404, 404]


def test_a_key_opens_a_session_that_the_cookie_carries(browser: Browser) -> None:
    assert browser.client.get("/ui/session").status_code == 401
    response = browser.log_in(browser.key()[1])
    assert response.get_json() == {"owner": "anna", "scopes": ["read", "submit"], "has_session": True}
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert "Max-Age=43200" in cookie
    assert browser.client.get("/jobs").status_code == 200
    assert browser.client.get("/ui/session").get_json()["owner"] == "anna"


def test_the_cookie_is_secure_over_https(browser: Browser) -> None:
    response = browser.log_in(browser.key()[1], base_url="https://localhost")
    assert "Secure" in response.headers["Set-Cookie"]


def test_the_token_of_a_session_is_not_stored(browser: Browser) -> None:
    browser.log_in(browser.key()[1])
    cookie = browser.client.get_cookie(COOKIE)
    assert cookie is not None
    with browser.services.engine.connect() as connection:
        stored = connection.execute(sa.select(SESSION.c.token_sha256)).scalar_one()
    assert stored == hashlib.sha256(cookie.value.encode()).hexdigest()


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}]
)
def test_a_page_of_another_site_can_use_no_session(browser: Browser, headers: dict[str, str]) -> None:
    _, token = browser.key()
    assert browser.log_in(token, headers=headers).get_json()["code"] == "cross_site"
    browser.log_in(token)
    assert browser.client.get("/jobs", headers=headers).get_json()["code"] == "cross_site"
    assert browser.client.post("/ui/logout", headers=headers).get_json()["code"] == "cross_site"
    assert browser.client.get("/jobs").status_code == 200


def test_logout_ends_the_session_also_for_who_has_copied_the_cookie(browser: Browser) -> None:
    browser.log_in(browser.key()[1])
    cookie = browser.client.get_cookie(COOKIE)
    assert cookie is not None
    assert browser.client.post("/ui/logout").status_code == 204
    assert browser.client.get_cookie(COOKIE) is None
    browser.client.set_cookie(COOKIE, cookie.value)
    assert browser.client.get("/jobs").get_json()["detail"].startswith("You are no longer logged in.")


def test_a_session_ends_when_its_key_is_revoked(browser: Browser) -> None:
    key_id, token = browser.key()
    browser.log_in(token)
    browser.keys.revoke(key_id)
    assert browser.client.get("/jobs").status_code == 401


def test_a_session_ends_by_its_age(browser: Browser) -> None:
    browser.log_in(browser.key()[1])
    with browser.services.engine.begin() as connection:
        connection.execute(sa.update(SESSION).values(expires_at=1))
    assert browser.client.get("/jobs").status_code == 401


def test_a_session_of_the_admin_key_ends_when_the_key_changes(browser: Browser, start: Start) -> None:
    assert browser.log_in(ADMIN_KEY).get_json()["owner"] == "admin"
    assert browser.client.get("/jobs?owner=anna").status_code == 200
    cookie = browser.client.get_cookie(COOKIE)
    assert cookie is not None
    for key, status in ((ADMIN_KEY, 200), ("another" * 10, 401), ("", 401)):
        client = start(admin_key=key, auth="required").test_client()
        client.set_cookie(COOKIE, cookie.value)
        assert client.get("/jobs").status_code == status


def test_a_key_that_cannot_read_jobs_opens_no_session(browser: Browser) -> None:
    response = browser.log_in(browser.key(scope="metrics")[1])
    assert (response.status_code, "Set-Cookie" in response.headers) == (403, False)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"key": 1}', b"{" * 5000])
def test_a_login_without_a_key_is_refused(browser: Browser, body: bytes) -> None:
    response = browser.client.post("/ui/login", data=body)
    assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    ("given", "first", "length"),
    [
        (None, 0, MAX_PART),
        ("bytes=0-", 0, MAX_PART),
        ("bytes=100-199", 100, 100),
        (f"bytes={len(VIDEO) - 10}-", len(VIDEO) - 10, 10),
        ("bytes=2000000-", 2_000_000, len(VIDEO) - 2_000_000),
    ],
)
def test_the_player_gets_at_most_one_mebibyte_at_once(
    browser: Browser, given: str | None, first: int, length: int
) -> None:
    job_id, _ = browser.services.store.create(new_job(VIDEO, owner="anna"))
    file = browser.services.settings.data_path / "inputs" / "x.mp4"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(VIDEO)
    browser.log_in(browser.key()[1])
    headers = {"Range": given} if given else {}
    response = browser.client.get(f"/ui/jobs/{job_id}/video", headers=headers)
    assert response.status_code == 206
    assert response.headers["Content-Range"] == f"bytes {first}-{first + length - 1}/{len(VIDEO)}"
    assert response.data == VIDEO[first : first + length]


def test_the_player_gets_no_video_of_another_owner(browser: Browser) -> None:
    job_id, _ = browser.services.store.create(new_job(VIDEO, owner="bert"))
    browser.log_in(browser.key()[1])
    assert browser.client.get(f"/ui/jobs/{job_id}/video").get_json()["code"] == "job_not_found"
