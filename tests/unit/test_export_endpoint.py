"""GET /jobs/{job_id}/export."""

from __future__ import annotations

import csv
import gzip
import io
import json
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
import werkzeug
from flask.testing import FlaskClient

from tests.support.records import new_job
from videoqueue.api.file_names import attachment
from videoqueue.errors import VideoqueueError
from videoqueue.exports.formats import FORMATS
from videoqueue.jobs.chunk_encoding import encode_chunk
from videoqueue.jobs.results import ResultReader, encode
from videoqueue.jobs.store import Claim
from videoqueue.jobs.tables import CHUNK, JOB
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.services import Services


def item(index: int) -> dict[str, Any]:
    texts = [
        {"text": "GRÜSSE", "confidence": 0.9, "box": [1, 2, 30, 40]},
        {"text": "unsure, it is", "confidence": 0.5, "box": [1, 50, 30, 60]},
    ]
    result = {"text": "GRÜSSE\nunsure, it is", "text_blocks": texts, "detections": []}
    return {"frame_index": index, "result": {**result, "timestamp": index / 10}}


ITEMS = [item(index) for index in range(6)]


@pytest.fixture
def claim(services: Services) -> Claim:
    claim = services.store.claim(services.store.create(new_job(name="Ma vidéo.mp4"))[0], "worker")
    assert claim is not None
    return claim


@pytest.fixture
def path(services: Services, claim: Claim) -> str:
    """A job with a chunk of the release before and one of this release."""
    services.store.checkpoint(claim, 0, encode(ITEMS[:2]), [0, 1], 0.3)
    chunk = encode_chunk(ITEMS[2:])
    services.store.checkpoint(claim, 1, chunk.payload, chunk.frames, 0.9, chunk.form)
    etag = services.results.etag(claim.job_id, ALL_OWNERS)
    services.store.complete(claim, etag, VideoInfo(width=64, height=48, duration=0.6))
    return f"/jobs/{claim.job_id}/export"


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_sent_under_its_type_and_name(
    client: FlaskClient, services: Services, path: str, name: str
) -> None:
    response = client.get(path, query_string={"format": name})
    assert (response.status_code, response.headers["Content-Type"]) == (200, FORMATS[name].media_type)
    assert response.headers["Content-Disposition"] == attachment("Ma vidéo.mp4", "", FORMATS[name].extension)
    video = VideoInfo(width=64, height=48, duration=0.6)
    assert response.data == b"".join(FORMATS[name].write(lambda: iter(ITEMS), video))  # type: ignore[arg-type]


def test_jsonl_lines_are_the_bytes_of_the_results(client: FlaskClient, path: str) -> None:
    results = client.get(path.replace("/jobs/", "/video/results/").removesuffix("/export")).data
    lines = client.get(f"{path}?format=jsonl").data.splitlines()
    assert b'"results":[' + b",".join(lines) + b"]" in results
    assert len(lines) == len(ITEMS)


def test_what_is_too_unsure_is_left_out(client: FlaskClient, path: str) -> None:
    def got(name: str) -> str:
        return client.get(path, query_string={"format": name, "min_confidence": "0.7"}).text

    rows = list(csv.DictReader(io.StringIO(got("csv"), newline="")))
    assert {row["text"] for row in rows} == {"GRÜSSE"}
    assert [json.loads(line)["result"]["text"] for line in got("jsonl").splitlines()] == ["GRÜSSE"] * 6
    assert "GRÜSSE" in got("vtt")
    assert "unsure" not in got("vtt") + got("srt")


def test_each_format_and_confidence_has_its_own_etag(client: FlaskClient, path: str) -> None:
    queries = [f"format={name}{more}" for name in FORMATS for more in ("", "&min_confidence=0.5")]
    tags = [client.get(f"{path}?{query}").headers["ETag"] for query in queries]
    assert len(set(tags)) == len(tags)
    response = client.get(f"{path}?{queries[0]}", headers={"If-None-Match": tags[0]})
    assert (response.status_code, response.data) == (304, b"")
    head = client.head(f"{path}?{queries[0]}")
    assert (head.status_code, head.headers["ETag"], "filename" in head.headers["Content-Disposition"]) == (
        200,
        tags[0],
        True,
    )


def test_gzip_holds_the_same_bytes(client: FlaskClient, path: str) -> None:
    plain = client.get(f"{path}?format=csv")
    packed = client.get(f"{path}?format=csv", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.data) == plain.data


@pytest.mark.parametrize("query", ["", "format=xml", "format=csv&min_confidence=2", "format=csv&format=vtt"])
def test_other_parameters_are_refused(client: FlaskClient, path: str, query: str) -> None:
    response = client.get(f"{path}?{query}")
    assert (response.status_code, response.get_json()["code"]) == (400, "invalid_parameter")


def test_a_missing_format_is_told_with_the_known_ones(client: FlaskClient, path: str) -> None:
    assert "csv, jsonl, vtt, srt, coco" in client.get(path).get_json()["detail"]


def test_coco_of_a_video_of_unknown_size_is_409(
    client: FlaskClient, services: Services, claim: Claim
) -> None:
    services.store.complete(claim, services.results.etag(claim.job_id, ALL_OWNERS))
    response = client.get(f"/jobs/{claim.job_id}/export?format=coco")
    assert (response.status_code, response.get_json()["code"]) == (409, "video_size_unknown")
    assert client.get(f"/jobs/{claim.job_id}/export?format=csv").status_code == 200


def test_jobs_without_results_are_404(client: FlaskClient, claim: Claim) -> None:
    early = client.get(f"/jobs/{claim.job_id}/export?format=csv")
    assert (early.status_code, early.get_json()["code"]) == (404, "results_not_ready")
    unknown = client.get(f"/jobs/{uuid.uuid4()}/export?format=csv")
    assert (unknown.status_code, unknown.get_json()["code"]) == (404, "job_not_found")


@pytest.mark.parametrize("name", ["jsonl", "coco"])
def test_a_damaged_result_breaks_off_instead_of_ending_validly(
    client: FlaskClient, services: Services, path: str, name: str
) -> None:
    with services.store.engine.begin() as connection:
        connection.execute(sa.delete(CHUNK).where(CHUNK.c.seq == 1))
    response = client.get(f"{path}?format={name}", buffered=False)
    with pytest.raises(VideoqueueError, match="damaged"):
        list(response.iter_encoded())
    response.close()


@pytest.mark.parametrize("name", FORMATS)
def test_a_job_that_is_deleted_while_its_export_is_made_is_not_found(
    client: FlaskClient, services: Services, path: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ResultReader.chunk

    def delete_and_read(*arguments: Any) -> Any:
        with services.store.engine.begin() as connection:
            connection.execute(sa.delete(JOB))
        return read(*arguments)

    monkeypatch.setattr(ResultReader, "chunk", delete_and_read)
    if name == "coco":  # its first bytes are sent before anything is read
        with pytest.raises(ConnectionResetError):
            list(client.get(f"{path}?format={name}", buffered=False).iter_encoded())
        return
    response = client.get(f"{path}?format={name}")
    assert (response.status_code, response.get_json()["code"]) == (404, "job_not_found")


@pytest.mark.parametrize("name", ["csv", "vtt"])
def test_damage_that_is_found_before_the_first_byte_is_a_problem(
    client: FlaskClient, services: Services, path: str, name: str
) -> None:
    with services.store.engine.begin() as connection:
        connection.execute(sa.delete(CHUNK).where(CHUNK.c.seq == 1))
    response = client.get(f"{path}?format={name}")
    assert (response.status_code, response.get_json()["code"]) == (500, "internal_error")


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("match.mp4", "match.csv"),
        ("Ma vidéo №5.mp4", "Ma vidéo №5.csv"),
        ("映画.mov", "映画.csv"),
        ("../../etc/passwd", "_.._etc_passwd.csv"),
        ('a"; filename=evil.exe; x="', "a_; filename=evil.exe; x=_.csv"),
        ("a\r\nSet-Cookie: x=1", "a__Set-Cookie_ x=1.csv"),
        ("invoice\u202efdp.exe", "invoice_fdp.csv"),
        ("100%25.mp4", "100_25.csv"),
        ("...", "the-id.csv"),
        ("///", "the-id.csv"),
        ("v1.2 final", "v1.2 final.csv"),
        (None, "the-id.csv"),
        ("\ud800", "the-id.csv"),
        ("é" * 255, "é" * 75 + ".csv"),
    ],
)
def test_a_file_is_saved_under_the_name_of_the_job_without_what_is_unsafe(
    name: str | None, saved: str
) -> None:
    value = attachment(name, "the-id", "csv")
    assert value.isascii()
    assert value.isprintable()
    kind, options = werkzeug.http.parse_options_header(value)
    assert (kind, options["filename"]) == ("attachment", saved)
    plain = value.split('filename="')[1].split('"')[0]
    assert plain.endswith(".csv")
    assert not set(plain) & set('/\\:*?<>|%"')
