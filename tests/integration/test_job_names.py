"""The name of a job: which names are taken, from where, and how they are shown."""

from __future__ import annotations

import io
import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.jobs_in_states import app, job_in, video
from tests.support.records import stored
from videoqueue.api.extension import services_of
from videoqueue.services import Services

__all__ = ["app", "video"]


def name_of(client: FlaskClient, response: TestResponse) -> str | None:
    assert response.status_code == 202, response.data
    job = client.get(f"/jobs/{response.get_json()['job_id']}").get_json()
    (listed,) = client.get("/jobs").get_json()["jobs"]
    assert listed["name"] == job["name"]
    name: str | None = job["name"]
    return name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("match", "match"),
        ("  Spiel – Öl 📹  ", "Spiel – Öl 📹"),
        ("a\x00b\r\nc\u202ed\u2028e\x9f", "abcde"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("x" * 255, "x" * 255),
        (" \x07 ", None),
    ],
)
def test_a_name_is_shown_without_control_characters(
    client: FlaskClient, video: bytes, given: str, name: str | None
) -> None:
    raw = {"data": video, "content_type": "video/mp4"}
    response = client.post("/video/submit", query_string={"name": given}, **raw)
    assert name_of(client, response) == name
    client.delete(f"/jobs/{response.get_json()['job_id']}")
    data = {"file": (io.BytesIO(video), "file.mp4"), "name": given}
    assert name_of(client, client.post("/video/submit", data=data)) == (name or "file.mp4")


@pytest.mark.parametrize("given", ["", "x" * 256])
def test_a_name_that_is_empty_or_too_long_is_refused(client: FlaskClient, video: bytes, given: str) -> None:
    response = client.post(
        "/video/submit", query_string={"name": given}, data=video, content_type="video/mp4"
    )
    assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")
    assert "name takes 1 to 255 characters" in response.get_json()["detail"]


@pytest.mark.parametrize("given", ["", "  "])
@pytest.mark.parametrize("field", ["name", "max_frames", "frame_stride"])
def test_a_form_field_that_nobody_filled_in_counts_as_not_sent(
    client: FlaskClient, video: bytes, field: str, given: str
) -> None:
    for query in ({}, {"max_frames": "7", "name": "of the query"}):
        data = {field: given, "file": (io.BytesIO(video), "match.mp4")}
        response = client.post("/video/submit", query_string=query, data=data)
        assert response.status_code == 202, response.data
        job = client.get(f"/jobs/{response.get_json()['job_id']}").get_json()
        assert job["name"] == query.get("name", "match.mp4")
        assert job["max_frames"] == (7 if query else None)
        assert job["frame_stride"] == 1


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("name=a%FF%FEb", "a\ufffd\ufffdb"),
        ("name=a\xffb", "a\ufffdb"),
        ("name=Fu%C3%9Fball+%2B", "Fußball +"),
        ("name=%ED%A0%80", "\ufffd\ufffd\ufffd"),
        ("name=100%", "100%"),
    ],
)
def test_undecodable_bytes_of_a_name_in_the_query_are_replaced(
    client: FlaskClient, video: bytes, query: str, name: str
) -> None:
    response = client.post(
        "/video/submit", data=video, content_type="video/mp4", environ_overrides={"QUERY_STRING": query}
    )
    assert name_of(client, response) == name


def test_undecodable_bytes_in_a_query_are_a_refused_value_of_every_address(
    client: FlaskClient, services: Services
) -> None:
    completed = job_in(services, "completed")
    for method, path in (("POST", "/video/submit"), ("GET", "/jobs"), ("GET", f"/video/results/{completed}")):
        for query in ("page_token=\xff", "\xff=1"):
            response = client.open(path, method=method, environ_overrides={"QUERY_STRING": query})
            assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")


def form(video: bytes, disposition: bytes, field: bytes | None = None) -> dict[str, Any]:
    head = b"--b\r\nContent-Disposition: form-data; name="
    body = head + b'"file"; ' + disposition + b"\r\n\r\n" + video + b"\r\n"
    if field is not None:
        body += head + b'"name"\r\n\r\n' + field + b"\r\n"
    return {"data": body + b"--b--\r\n", "content_type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'filename="match.mp4"', "match.mp4"),
        (b"filename=match.mp4", "match.mp4"),
        (b'filename="/home/anna/match.mp4"', "match.mp4"),
        (b'filename="C:\\Videos\\match.mp4"', "match.mp4"),
        (b'filename="../.."', ".."),
        (b'filename="a/"', None),
        ('filename="Fußball.mp4"'.encode(), "Fußball.mp4"),
        (b'filename="a\xff\xfeb.mp4"', "a\ufffd\ufffdb.mp4"),
        (b'filename="a\x07b.mp4"', "ab.mp4"),
        (b'filename="a\\"b.mp4"', 'a"b.mp4'),
        (b'filename="a%22b.mp4"', 'a"b.mp4'),
        (b"filename=\"x.mp4\"; filename*=UTF-8''Fu%C3%9Fball.mp4", "Fußball.mp4"),
        (b"filename*=iso-8859-1'de'Fu%DFball.mp4", "Fußball.mp4"),
        (b'filename="' + b"x" * 300 + b'.mp4"', "x" * 255),
    ],
)
def test_the_name_is_by_default_that_of_the_file_without_its_path(
    client: FlaskClient, video: bytes, disposition: bytes, name: str | None
) -> None:
    assert name_of(client, client.post("/video/submit", **form(video, disposition))) == name


def test_a_field_name_replaces_the_name_of_the_file_and_undecodable_bytes_are_replaced(
    client: FlaskClient, video: bytes
) -> None:
    response = client.post("/video/submit", **form(video, b'filename="file.mp4"', b"mine\xff"))
    assert name_of(client, response) == "mine\ufffd"


def test_the_name_is_in_no_key_not_in_the_status_and_not_compared(client: FlaskClient, video: bytes) -> None:
    header = {"Idempotency-Key": "k"}
    sent = [
        client.post("/video/submit", headers=header, **form(video, b'filename="%s.mp4"' % name))
        for name in (b"one", b"two")
    ]
    first, second = (response.get_json() for response in sent)
    assert first == second
    assert name_of(client, sent[0]) == "one.mp4"
    services = services_of(client.application)
    assert "one" not in stored(services.store, uuid.UUID(first["job_id"])).input_key
    assert set(client.get(f"/video/status/{first['job_id']}").get_json()) == {
        "job_id",
        "status",
        "progress",
        "created_at",
        "updated_at",
        "error_message",
    }
