"""The OpenAPI document is valid and complete, and the service keeps to it, whatever is sent."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from tests.support.serving import Web, serving
from tests.support.videos import make_video
from videoqueue.api.openapi import document
from videoqueue.api.problems import PROBLEMS
from videoqueue.app import create_app
from videoqueue.settings import load_settings


def _document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(load_settings({"VIDEOQUEUE_DATA_DIR": folder, "REDIS_URL": "redis://127.0.0.1:1"}))
    return document(app, ("ocr_only", "yolo_ocr", "yolo_only"), "yolo_ocr")


DOCUMENT = _document()
#: What strangers may use.
OPEN = {"/healthz", "/readyz", "/openapi.json", "/docs"}
OTHERS = OPEN | {
    "/jobs",
    "/jobs/{job_id}",
    "/jobs/{job_id}/retry",
    "/jobs/{job_id}/segments",
    "/jobs/{job_id}/results",
    "/jobs/{job_id}/export",
    "/jobs/{job_id}/video",
    "/metrics",
    "/pipelines",
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("web"), REDIS_URL=f"{valkey_server[:-1]}5") as web:
        yield web


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)


def test_it_is_served_as_it_is(web: Web) -> None:
    answer = requests.get(f"{web.url}/openapi.json", timeout=30)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == DOCUMENT


def test_it_describes_every_address_and_only_those(app: Flask) -> None:
    rules = [rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith(("page.", "login."))]
    routes = {re.sub(r"<(\w+)>", r"{\1}", rule.rule) for rule in rules}
    assert routes == set(DOCUMENT["paths"])
    video_routes = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("video.")}
    assert len(video_routes) == 3
    assert routes - {re.sub(r"<(\w+)>", r"{\1}", rule) for rule in video_routes} == OTHERS


def test_it_names_every_code_of_the_table_of_problems() -> None:
    described = {
        code
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for answer in operation["responses"].values()
        for part in answer.get("content", {})
        .get("application/problem+json", {})
        .get("schema", {})
        .get("allOf", [])
        for code in part.get("properties", {}).get("code", {}).get("enum", [])
    }
    assert described == set(PROBLEMS) - {"not_found", "method_not_allowed", "expectation_failed"}


def test_every_operation_that_needs_a_key_names_the_problem_of_a_database_that_is_away() -> None:
    for methods in DOCUMENT["paths"].values():
        for described in methods.values():
            if described["security"]:
                assert "`database_unavailable`" in described["responses"]["503"]["description"]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [
            value or "" for name, value in attrs if name == "src" or (tag, name) == ("link", "href")
        ]


def test_the_page_for_people_needs_nothing_from_elsewhere(web: Web) -> None:
    answer = requests.get(f"{web.url}/docs", timeout=30)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = _Links()
    page.feed(answer.text)
    assert page.loaded == []
    assert "script" not in page.tags
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe-inline" not in policy
    assert all(path in answer.text for path in DOCUMENT["paths"])


def _real_video() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return make_video(Path(folder) / "video.mp4").read_bytes()


# A schema cannot say what a video is: where one is asked for, a real one is sent.
schemathesis.openapi.media_type("video/mp4", st.just(_real_video()))
schema = schemathesis.openapi.from_dict(DOCUMENT)


def _keeps_to(path: str, method: str) -> Callable[..., None]:
    @schema.include(path=path, method=method).parametrize()
    @hypothesis_settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    def test(case: schemathesis.Case[Any], web: Web) -> None:
        web.clear()  # an Idempotency-Key that comes again is meant to be new
        case.call_and_validate(base_url=web.url)

    parametrized: Callable[..., None] = test
    return parametrized


# One function for each: parametrized, all would have one name, and xdist tells tests apart by it.
for _path, _methods in DOCUMENT["paths"].items():
    for _method in _methods:
        _name = "_".join(re.findall(r"[a-z_]+", _path))
        globals()[f"test_the_service_keeps_to_{_method}_{_name}"] = _keeps_to(_path, _method.upper())


def test_it_says_which_operations_need_a_key_and_how_to_send_it(web: Web) -> None:
    scheme = DOCUMENT["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    closed = 0
    for path, methods in DOCUMENT["paths"].items():
        for described in methods.values():
            assert described["security"] == ([] if path in OPEN else [{"key": []}, {}])
            assert ("401" in described["responses"]) is (path not in OPEN)
            closed += path not in OPEN
    page = requests.get(f"{web.url}/docs", timeout=30).text
    assert page.count("Authorization: Bearer KEY") == 1 + closed
