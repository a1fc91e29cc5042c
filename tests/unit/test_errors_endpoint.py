"""Every error of the HTTP edge has one shape, whoever raises it."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from videoqueue.api.problems import PROBLEMS

KEYS = ["type", "title", "status", "detail", "instance", "code"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/jobs/1/nothing", 404, "not_found"),
        ("GET", "/video", 404, "not_found"),
        ("GET", "/video/submit", 405, "method_not_allowed"),
        ("PUT", "/video/submit", 405, "method_not_allowed"),
        ("DELETE", "/video/status/1", 405, "method_not_allowed"),
    ],
)
def test_routing_errors_are_problems_too(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert list(answer.get_json()) == KEYS
    assert answer.get_json()["type"] == f"urn:videoqueue:problem:{code}"
    assert (answer.get_json()["status"], answer.get_json()["code"]) == (status, code)
    assert answer.get_json()["instance"] == f"urn:videoqueue:request:{answer.headers['X-Request-Id']}"


def test_a_wrong_method_names_the_right_ones(client: FlaskClient) -> None:
    answer = client.get("/video/submit")
    assert "POST" in answer.get_json()["detail"]
    assert "POST" in answer.headers["Allow"]


def test_a_bug_is_500_without_a_word_of_its_inside(app: Flask, client: FlaskClient) -> None:
    @app.get("/bug")
    def bug() -> str:
        raise RuntimeError("secret /path")

    answer = client.get("/bug")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


def test_every_problem_has_an_error_status_and_a_title() -> None:
    assert all(400 <= status < 600 and title for status, title in PROBLEMS.values())


def test_the_process_says_that_it_lives(client: FlaskClient) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})
