"""What every answer carries, and what is believed of what the client sends."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from tests.support.log_lines import LogLines
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.logs import request_id
from videoqueue.settings import Settings


@pytest.mark.parametrize("path", ["/healthz", "/nope", "/video/status/x", "/openapi.json", "/docs"])
def test_every_answer_has_the_security_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-Id"])
    assert len(headers.getlist("Cache-Control")) == len(headers.getlist("X-Request-Id")) == 1


@pytest.mark.parametrize("name", ["a", "4bf92f35-77b3.4da6_a3ce=+/", "x" * 200])
def test_a_sane_request_id_is_kept(client: FlaskClient, name: str) -> None:
    answer = client.get("/nope", headers={"X-Request-Id": name})
    assert answer.headers["X-Request-Id"] == name
    assert answer.get_json()["instance"] == f"urn:videoqueue:request:{name}"


@pytest.mark.parametrize("name", ["", "two words", "x" * 201, "a%0ab", "é", '"'])
def test_any_other_request_id_is_replaced(client: FlaskClient, name: str) -> None:
    answer = client.get("/nope", headers={"X-Request-Id": name})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_lines_logged_for_a_request_bear_its_id(app: Flask, client: FlaskClient, log_lines: LogLines) -> None:
    @app.get("/logged")
    def logged() -> str:
        logging.getLogger("any").info("hello")
        return ""

    client.get("/logged", headers={"X-Request-Id": "abc"}).close()
    assert log_lines.written == ["[request_id=abc] hello"]
    assert request_id() == ""


@pytest.mark.parametrize(
    ("proxies", "address", "scheme"), [(0, "127.0.0.1", "http"), (1, "9.9.9.9", "https")]
)
def test_proxies_are_believed_only_when_they_are_declared(
    settings: Settings, proxies: int, address: str, scheme: str
) -> None:
    app = create_app(replace(settings, trusted_proxies=proxies, auth="off"))

    @app.get("/seen")
    def seen() -> list[str | None]:
        return [request.remote_addr, request.scheme]

    forwarded = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9", "X-Forwarded-Proto": "https"}
    assert app.test_client().get("/seen", headers=forwarded).json == [address, scheme]
    services_of(app).store.engine.dispose()
