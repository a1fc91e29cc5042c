"""POST /video/submit over a real socket: what is refused leaves no row, object or message."""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import requests

from tests.support.serving import Client, Web, post, post_raw, serving
from tests.support.stack import free_port
from tests.support.videos import make_video

#: A field of a form as `requests` takes it: its name, and its file name and content.
Part: TypeAlias = tuple[str, tuple[str | None, str | bytes]]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "video.mp4")


def test_an_accepted_job_is_a_row_an_object_and_a_message(web: Web, video: Path) -> None:
    answer = post(web.url, video, frame_stride=3, max_frames=7)
    assert answer.status_code == 202
    assert list(answer.json()) == ["job_id"]
    job_id = answer.json()["job_id"]
    assert answer.headers["Location"] == f"/video/status/{job_id}"
    (job,) = web.rows()
    assert job.job_id == uuid.UUID(job_id)
    assert (job.status, job.pipeline_id, job.frame_stride, job.max_frames) == ("pending", "yolo_ocr", 3, 7)
    assert job.input_bytes == video.stat().st_size
    (stored,) = web.files()
    assert stored.read_bytes() == video.read_bytes()
    assert web.queued()[0]["kwargs"] == {"job_id": job_id}


def test_a_raw_body_is_taken_as_it_is(web: Web, video: Path) -> None:
    answer = requests.post(
        f"{web.url}/video/submit?pipeline_id=ocr_only&frame_stride=2",
        data=video.read_bytes(),
        headers={"Content-Type": "video/mp4"},
        timeout=10,
    )
    assert answer.status_code == 202
    assert web.rows()[0].frame_stride == 2
    assert web.files()[0].read_bytes() == video.read_bytes()


def test_a_chunked_body_is_taken(web: Web, video: Path) -> None:
    pieces = (piece for piece in (video.read_bytes()[:100], video.read_bytes()[100:]))
    answer = requests.post(
        f"{web.url}/video/submit", data=pieces, headers={"Content-Type": "video/mp4"}, timeout=10
    )
    assert answer.status_code == 202
    assert web.files()[0].read_bytes() == video.read_bytes()


def test_the_documented_curl_line_works(web: Web, video: Path) -> None:
    done = subprocess.run(
        ["curl", "-sS", "-F", f"file=@{video}", "-F", "pipeline_id=ocr_only", f"{web.url}/video/submit"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(web.rows()[0].job_id) in done.stdout


def pdf(folder: Path) -> Path:
    path = folder / "report.mp4"
    path.write_bytes(b"%PDF-1.7\n" + bytes(2000))
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def cut(folder: Path) -> Path:
    path = make_video(folder / "cut.mp4")
    path.write_bytes(path.read_bytes()[:-200])
    return path


@pytest.mark.parametrize(
    ("make", "code"),
    [(pdf, "not_mp4"), (empty, "file_empty"), (cut, "truncated_mp4")],
)
def test_a_file_that_is_no_whole_mp4_is_refused(web: Web, tmp_path: Path, make: Any, code: str) -> None:
    refused(post(web.url, make(tmp_path)), web, 400, code)


@pytest.mark.parametrize(
    ("parameters", "code", "says"),
    [
        ({"pipeline_id": "nonsense"}, "unknown_pipeline", "ocr_only"),
        ({"frame_stride": "0"}, "invalid_parameter", "frame_stride='0' cannot be used"),
        ({"frame_stride": "two"}, "invalid_parameter", "takes a whole number"),
        ({"max_frames": "-1"}, "invalid_parameter", "takes a whole number of at least 1"),
        ({"frame_stride": str(2**63)}, "invalid_parameter", "frame_stride"),
        ({"frame-stride": "2"}, "invalid_parameter", "There is no parameter 'frame-stride'"),
        ({"pipeline_id": ""}, "invalid_parameter", "takes 1 to 100 characters"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(
    web: Web, video: Path, parameters: dict[str, str], code: str, says: str
) -> None:
    detail = refused(post(web.url, video, **parameters), web, 400, code)
    assert says in detail


def test_a_form_without_a_file_is_refused(web: Web) -> None:
    answer = requests.post(f"{web.url}/video/submit", files={"other": b"x"}, timeout=10)
    refused(answer, web, 400, "file_missing")


def test_a_file_sent_as_text_is_refused_with_the_remedy(web: Web) -> None:
    answer = requests.post(f"{web.url}/video/submit", files={"file": (None, "match.mp4")}, timeout=10)
    assert "file=@video.mp4" in refused(answer, web, 400, "file_missing")


def test_a_request_without_a_body_is_refused(web: Web) -> None:
    refused(requests.post(f"{web.url}/video/submit", timeout=10), web, 400, "file_missing")


def test_another_media_type_is_refused(web: Web) -> None:
    answer = requests.post(f"{web.url}/video/submit", json={"url": "x"}, timeout=10)
    refused(answer, web, 415, "unsupported_media_type")


@pytest.mark.parametrize("form", [True, False], ids=["multipart", "raw"])
def test_a_cut_upload_is_never_a_job(web: Web, video: Path, form: bool) -> None:
    body = video.read_bytes()
    kind = "video/mp4"
    if form:
        kind = "multipart/form-data; boundary=b"
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="v.mp4"\r\n\r\n'
        body = head + body + b"\r\n--b--\r\n"
    connection = http.client.HTTPConnection(web.url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/video/submit")
    connection.putheader("Content-Type", kind)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:-30])
    connection.sock.shutdown(socket.SHUT_WR)
    answer = connection.getresponse()
    assert b"upload_incomplete" in answer.read()
    assert answer.status == 400
    connection.close()
    assert (web.rows(), web.files()) == ([], [])


def test_a_video_over_the_limit_is_refused_before_and_while_it_arrives(
    video: Path, tmp_path: Path, redis_url: str
) -> None:
    limit = str(video.stat().st_size - 1)
    raw = {"Content-Type": "video/mp4"}
    pieces = (piece for piece in (video.read_bytes(),))
    with serving(tmp_path / "web", REDIS_URL=redis_url, VIDEOQUEUE_MAX_UPLOAD_BYTES=limit) as web:
        for answer in (
            post(web.url, video),
            requests.post(f"{web.url}/video/submit", data=video.read_bytes(), headers=raw, timeout=10),
            requests.post(f"{web.url}/video/submit", data=pieces, headers=raw, timeout=10),
        ):
            assert "VIDEOQUEUE_MAX_UPLOAD_BYTES" in refused(answer, web, 413, "upload_too_large")


def test_the_queue_being_down_refuses_nothing(video: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "web", REDIS_URL=f"redis://127.0.0.1:{free_port()}") as web:
        assert post(web.url, video).status_code == 202
        assert [job.status for job in web.rows()] == ["pending"]


def test_the_same_idempotency_key_gives_one_job_and_one_object(web: Web, video: Path, tmp_path: Path) -> None:
    def send(data: bytes) -> requests.Response:
        headers = {"Content-Type": "video/mp4", "Idempotency-Key": "k1"}
        return requests.post(f"{web.url}/video/submit", data=data, headers=headers, timeout=10)

    first, second = send(video.read_bytes()), send(video.read_bytes())
    assert first.json() == second.json()
    other = send(make_video(tmp_path / "other.mp4", "OTHER").read_bytes())
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (len(web.rows()), len(web.files())) == (1, 1)


def test_twenty_at_once_with_one_idempotency_key_give_one_job_and_one_object(web: Web, video: Path) -> None:
    body = video.read_bytes()
    start = threading.Barrier(20)

    def send(_: int) -> requests.Response:
        start.wait(60)
        return post_raw(web.url, body, **{"Idempotency-Key": "k1"})

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(send, range(20)))
    assert [answer.status_code for answer in answers] == [202] * 20
    (job,) = web.rows()
    assert {answer.json()["job_id"] for answer in answers} == {str(job.job_id)}
    assert [f"inputs/{path.name}" for path in web.files()] == [job.input_key]
    assert [message["kwargs"] for message in web.queued()] == [{"job_id": str(job.job_id)}]


def test_fields_may_come_behind_the_file(web: Web, video: Path) -> None:
    parts: list[Part] = [("file", ("v.mp4", video.read_bytes())), ("frame_stride", (None, "3"))]
    assert requests.post(f"{web.url}/video/submit", files=parts, timeout=60).status_code == 202
    assert web.rows()[0].frame_stride == 3


def test_form_fields_outdo_the_query(web: Web, video: Path) -> None:
    with video.open("rb") as stream:
        answer = requests.post(
            f"{web.url}/video/submit?frame_stride=2&max_frames=5",
            files={"file": stream},
            data={"frame_stride": 3},
            timeout=60,
        )
    assert answer.status_code == 202
    assert (web.rows()[0].frame_stride, web.rows()[0].max_frames) == (3, 5)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([("file", ("a.mp4", b"VIDEO")), ("file", ("b.mp4", b"VIDEO"))], "two fields `file`"),
        ([("max_frames", (None, "1")), ("max_frames", (None, "1"))], "max_frames is given twice"),
        (
            [("pipeline_id", (None, "x" * 5000))],
            "takes at most 4,096 bytes (VIDEOQUEUE_MAX_FORM_FIELD_BYTES)",
        ),
        ([("pipeline_id", (None, b"\xff"))], "takes text in UTF-8"),
        ([(f"f{index}", (None, "1")) for index in range(20)], "There is no parameter 'f0'"),
    ],
    ids=["two-files", "twice", "long", "binary", "unknown"],
)
def test_a_form_that_is_no_submission_is_refused(web: Web, video: Path, parts: list[Part], says: str) -> None:
    body = video.read_bytes()
    sent = [(name, (file, body if data == b"VIDEO" else data)) for name, (file, data) in parts]
    answer = requests.post(f"{web.url}/video/submit", files=sent, timeout=60)
    assert says in refused(answer, web, 400, "invalid_parameter")


@pytest.mark.parametrize("length", [1, 70, 72, 200])
def test_a_form_may_have_a_boundary_somewhat_longer_than_the_standard_says(
    web: Web, video: Path, length: int
) -> None:
    """Werkzeug's own client makes 72 characters of a clock and a random number at times."""
    boundary = "b" * length
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="v.mp4"\r\n\r\n'
    body = head.encode() + video.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    answer = post_raw(web.url, body, **{"Content-Type": f"multipart/form-data; boundary={boundary}"})
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("multipart/form-data", b"x", "names no boundary of 1 to 200 characters"),
        (f"multipart/form-data; boundary={'b' * 201}", b"x", "names no boundary of 1 to 200 characters"),
        ("multipart/form-data; boundary=b", b"x" * 100, "not valid multipart/form-data"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"x" * 70_000, "VIDEOQUEUE_MAX_FORM_HEADER_BYTES"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="max_frames"\r\n\r\n1',
            "not valid multipart/form-data",
        ),
    ],
    ids=["no-boundary", "long-boundary", "no-form", "long-header", "no-end"],
)
def test_what_is_no_form_is_refused(web: Web, kind: str, body: bytes, says: str) -> None:
    answer = post_raw(web.url, body, **{"Content-Type": kind})
    assert says in refused(answer, web, 400, "invalid_parameter")


def test_a_wrong_parameter_is_refused_before_the_file_comes(web: Web) -> None:
    with Client(web) as client:
        client.send(
            b"POST /video/submit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            b'--b\r\nContent-Disposition: form-data; name="frame_stride"\r\n\r\n0\r\n--b'
            b'\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        )
        said = client.answer()
    assert b"frame_stride" in said
    assert b"Connection: close" in said


def test_a_full_backlog_refuses_before_the_body_but_knows_its_keys(
    video: Path, tmp_path: Path, redis_url: str
) -> None:
    body = video.read_bytes()
    with serving(tmp_path / "web", REDIS_URL=redis_url, VIDEOQUEUE_MAX_PENDING_JOBS="1") as web:
        first = post_raw(web.url, body, **{"Idempotency-Key": "known"})
        with Client(web) as client:
            client.begin_upload(len(body))  # and not a byte of it
            said = client.answer()
        again = post_raw(web.url, body, **{"Idempotency-Key": "known"})
        assert b"too_many_pending_jobs" in said
        assert b"VIDEOQUEUE_MAX_PENDING_JOBS" in said
        assert (again.status_code, again.json()) == (202, first.json())
        assert (len(web.rows()), len(web.files())) == (1, 1)


def refused(answer: requests.Response, web: Web, status: int, code: str) -> str:
    """Checks the problem and that nothing is left behind. Returns its detail."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert (web.rows(), web.files()) == ([], [])
    assert web.queued() == []
    detail: str = body["detail"]
    return detail
