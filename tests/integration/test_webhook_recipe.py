"""The receiver of docs/webhooks.md handles each event once, and refuses what was changed or is old."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy.engine import Engine
from werkzeug.serving import make_server

from tests.support.records import lease_policy, new_job
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.webhooks import WebhookEvents
from videoqueue.maintenance.delivery import Receiver, sign
from videoqueue.maintenance.notifier import Notifier
from videoqueue.settings import Settings
from videoqueue.settings.webhooks import new_webhook_secret, signing_key

PAGE = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"
OLD, NEW = new_webhook_secret(), new_webhook_secret()


@pytest.fixture
def handled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """The recipe's receiver with the new secret: its URL, and the ids of the jobs that it has handled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEBHOOK_SECRET", NEW)
    (recipe,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(recipe, names)
    jobs: list[str] = []
    names["handle"] = lambda job: jobs.append(job["job_id"])
    server = make_server("127.0.0.1", 0, names["app"], threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", jobs
    server.shutdown()
    thread.join()
    server.server_close()


def post(url: str, body: bytes, key: str, seconds_ago: float = 0) -> int:
    sent = int(time.time() - seconds_ago)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(sent),
        "webhook-signature": sign([signing_key(key)], "msg_1", sent, body),
    }
    return requests.post(url, data=body, headers=headers, timeout=30).status_code


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_event_is_handled_once_also_while_the_secret_changes(
    engine: Engine, handled: tuple[str, list[str]]
) -> None:
    url, jobs = handled
    store = JobStore(engine, lease_policy(), webhooks=True)
    claim = store.claim(store.create(new_job())[0], "worker")
    assert claim is not None
    store.complete(claim, "etag")
    receiver = Receiver(url, [signing_key(OLD), signing_key(NEW)])
    notifier = Notifier(engine, Settings(), receiver)
    notifier.notify()
    assert WebhookEvents(engine).retry(claim.job_id)
    notifier.notify()
    assert WebhookEvents(engine).waiting(1) == []
    assert jobs == [str(claim.job_id)]


def test_what_was_changed_or_is_old_is_refused(handled: tuple[str, list[str]]) -> None:
    url, jobs = handled
    body = json.dumps({"data": {"job_id": "1"}}).encode()
    assert [post(url, body, OLD), post(url, body, NEW, seconds_ago=600)] == [400, 400]
    now = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign([signing_key(NEW)], "msg_1", now, body),
    }
    changed = [
        (body.replace(b"1", b"2"), headers),
        (body, headers | {"webhook-id": "msg_2"}),
        (body, headers | {"webhook-timestamp": str(now + 1)}),
        (body, {name: value for name, value in headers.items() if name != "webhook-signature"}),
    ]
    assert [
        requests.post(url, data=sent, headers=given, timeout=30).status_code for sent, given in changed
    ] == [400] * len(changed)
    assert jobs == []
    assert [post(url, body, NEW), post(url, body, NEW)] == [204, 204]
    assert jobs == ["1"]
