"""Where a request comes from: other machines, proxies, other sites and unknown names."""

from __future__ import annotations

import uuid

import pytest

from tests.support.closed_service import (
    ROUTES,
    Apps,
    Closed,
    apps,
    bearer,
    closed,
    closed_service,
    completed,
    shared_app,
)
from tests.support.leaks import ADMIN_KEY
from videoqueue.api.extension import services_of
from videoqueue.jobs.types import NOBODY

__all__ = ["apps", "closed", "shared_app"]


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
