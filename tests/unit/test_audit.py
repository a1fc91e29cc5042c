"""Each change that the audit log is for is one JSON line of it, whichever way it was made."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.support.records import new_job
from tests.support.videos import make_video
from videoqueue import audit, logs
from videoqueue.jobs.deletion import Deletions
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.owners import OwnerStore
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.types import ALL_OWNERS, NOBODY
from videoqueue.services import Services


class AuditLines(logging.Handler):
    """Collects the lines of the audit log."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs.formatter("test", "json"))
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))

    def take(self) -> list[dict[str, object]]:
        """Returns what distinguishes the lines since the last call."""
        lines = [json.loads(line) for line in self.written]
        self.written.clear()
        common = ("time", "level", "process", "pid", "logger", "message")
        assert all(line["message"] == "Audit." and line["logger"] == "videoqueue.audit" for line in lines)
        return [{name: value for name, value in line.items() if name not in common} for line in lines]


@pytest.fixture
def lines() -> Iterator[AuditLines]:
    handler = AuditLines()
    logger = logging.getLogger(logs.AUDIT)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


OUTSIDE = {"request_id": None, "key_id": None, "address": None}


def test_jobs_and_owners_are_audited_where_they_change(store: JobStore, lines: AuditLines) -> None:
    job_id, _ = store.create(new_job(owner=NOBODY, idempotency_key="a"))
    assert lines.take() == [OUTSIDE | {"event": "job_accepted", "job_id": str(job_id), "owner": NOBODY}]
    store.create(new_job(owner=NOBODY, idempotency_key="a"))
    assert lines.take() == []
    owners = OwnerStore(store.engine)
    owners.adopt("anna")
    assert lines.take() == [OUTSIDE | {"event": "jobs_adopted", "owner": "anna", "jobs": 1}]
    owners.set_limits("anna", {"max_pending": 10, "max_running": None})
    expected = {"event": "limits_set", "owner": "anna", "max_pending": 10, "max_running": None}
    assert lines.take() == [OUTSIDE | expected]


def test_a_retried_and_a_removed_job_are_audited(store: JobStore, lines: AuditLines) -> None:
    job_id, _ = store.create(new_job(owner="anna"))
    claim = store.claim(job_id, "test")
    assert claim is not None
    store.fail(claim, "broken")
    lines.take()
    again = store.retry(job_id, "anna")
    expected = {"event": "job_accepted", "job_id": str(again), "retry_of": str(job_id), "owner": "anna"}
    assert lines.take() == [OUTSIDE | expected]
    job = store.get(job_id, ALL_OWNERS)
    assert job is not None
    assert job.finished_at is not None
    deletions = Deletions(store.engine, store.limits)
    deletions.delete(job_id, ALL_OWNERS, job.finished_at)
    assert lines.take() == []
    deletions.delete(job_id, ALL_OWNERS, job.finished_at + 1)
    removed = {"event": "job_deleted", "job_id": str(job_id), "owner": "anna", "reason": "retention"}
    assert lines.take() == [OUTSIDE | removed]
    assert again is not None
    deletions.delete(again, "bert")
    assert lines.take() == []
    deletions.delete(again, "anna")
    removed = {"event": "job_deleted", "job_id": str(again), "owner": "anna"}
    assert lines.take() == [OUTSIDE | removed]


def test_changes_of_keys_are_audited_without_their_secrets(store: JobStore, lines: AuditLines) -> None:
    keys = KeyStore(store.engine)
    key, token = keys.create("anna", frozenset({"submit", "read"}))
    new, new_token = keys.rotate(key.key_id, 3600)
    for key_id in (key.key_id, key.key_id, "unknown"):
        keys.revoke(key_id)
    assert not any(text.rpartition("_")[2] in line for text in (token, new_token) for line in lines.written)
    of_anna = {"request_id": None, "address": None, "owner": "anna"}
    assert lines.take() == [
        of_anna | {"event": "key_created", "key_id": key.key_id, "scopes": "read,submit"},
        of_anna | {"event": "key_rotated", "key_id": new.key_id, "replaces": key.key_id},
        of_anna | {"event": "key_revoked", "key_id": key.key_id},
    ]


def test_a_submission_is_audited_with_its_request_key_and_address(
    client: FlaskClient, services: Services, lines: AuditLines, tmp_path: Path
) -> None:
    key, token = KeyStore(services.engine).create("anna", frozenset({"submit"}))
    lines.take()
    headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "mine"}
    video = make_video(tmp_path / "v.mp4").read_bytes()
    accepted = client.post("/video/submit", data=video, content_type="video/mp4", headers=headers)
    assert accepted.status_code == 202
    by = {"request_id": "mine", "key_id": key.key_id, "address": "127.0.0.1", "owner": "anna"}
    assert lines.take() == [by | {"event": "job_accepted", "job_id": accepted.get_json()["job_id"]}]
    assert audit.origin() == audit.Origin()


def test_a_refusal_by_a_limit_is_audited_and_other_refusals_are_not(
    client: FlaskClient, services: Services, lines: AuditLines
) -> None:
    key, token = KeyStore(services.engine).create("anna", frozenset({"submit"}))
    lines.take()
    headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "mine"}
    refused = client.post(
        "/video/submit",
        content_type="video/mp4",
        headers=headers,
        environ_overrides={"CONTENT_LENGTH": str(services.settings.max_upload_bytes + 1)},
    )
    assert refused.status_code == 413
    by = {"request_id": "mine", "key_id": key.key_id, "address": "127.0.0.1", "owner": "anna"}
    what = {"event": "request_refused", "code": "upload_too_large", "method": "POST", "path": "/video/submit"}
    assert lines.take() == [by | what]
    assert client.get("/video/status/unknown", headers=headers).status_code == 404
    assert client.get("/video/status/unknown").status_code == 401
    assert lines.take() == []


@pytest.mark.parametrize("setup", ["configure('web', 'CRITICAL', 'text')", "configure_command()"])
def test_the_audit_log_is_json_at_every_level_and_in_every_format(setup: str) -> None:
    code = (
        f"from videoqueue import audit, log_setup\nlog_setup.{setup}\n"
        "audit.set_origin(audit.Origin('192.0.2.1', 'abcdefghijkl', 'anna'))\n"
        "audit.record('job_deleted', job_id='x')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = json.loads(done.stderr)
    assert (line["event"], line["owner"], line["key_id"]) == ("job_deleted", "anna", "abcdefghijkl")
    assert (line["address"], line["job_id"], line["level"]) == ("192.0.2.1", "x", "INFO")
