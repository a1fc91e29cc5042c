"""What `videoqueue doctor` finds about webhooks. It connects to the receiver, and sends it nothing."""

from __future__ import annotations

import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.certificate import write_certificate
from tests.support.examined import finding, findings, migrate
from tests.support.records import lease_policy, new_job
from tests.support.stack import free_port
from tests.support.webhook_receiver import TestReceiver, receiving
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import WEBHOOK_EVENT
from videoqueue.services import build_engine
from videoqueue.settings import load_settings
from videoqueue.settings.webhooks import new_webhook_secret

SECRET = new_webhook_secret()


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = {
        "VIDEOQUEUE_DATA_DIR": str(tmp_path_factory.mktemp("webhooks") / "data"),
        "VIDEOQUEUE_WEBHOOK_SECRET": SECRET,
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    migrate(found)
    return found


@pytest.fixture
def store(environ: dict[str, str]) -> Iterator[JobStore]:
    engine = build_engine(load_settings(environ), pool_size=1)
    yield JobStore(engine, lease_policy(), webhooks=True)
    with engine.begin() as connection:
        connection.execute(sa.delete(WEBHOOK_EVENT))
    engine.dispose()


@pytest.fixture
def receiver() -> Iterator[TestReceiver]:
    with receiving() as found:
        yield found
        assert found.messages == []


def told(store: JobStore, **columns: object) -> uuid.UUID:
    """A job that has ended, whose event has these columns."""
    claim = store.claim(store.create(new_job())[0], "worker")
    assert claim is not None
    store.fail(claim, "x")
    with store.engine.begin() as connection:
        mine = WEBHOOK_EVENT.c.job_id == claim.job_id
        connection.execute(sa.update(WEBHOOK_EVENT).where(mine).values(tries=0, **columns))
    return claim.job_id


def test_a_receiver_that_is_there_is_connected_to_and_told_nothing(
    environ: dict[str, str], store: JobStore, receiver: TestReceiver
) -> None:
    told(store)
    found = finding("webhooks", environ | {"VIDEOQUEUE_WEBHOOK_URL": f"{receiver.url}&token=sesame"})
    address = receiver.url.removeprefix("http://").partition("/")[0]
    assert (found.status, found.message) == (
        "ok",
        f"{address} accepts connections. Events that wait for a try: 1.",
    )


def test_events_that_were_not_accepted_are_counted_with_a_reason(
    environ: dict[str, str], store: JobStore, receiver: TestReceiver
) -> None:
    told(store)
    told(store, error="HTTP 500")
    for _ in range(2):
        told(store, error="HTTP 500", next_at=None)
    found = finding("webhooks", environ | {"VIDEOQUEUE_WEBHOOK_URL": receiver.url})
    assert (found.status, found.message) == (
        "warning",
        "Events given up: 2; waiting after a try that failed: 1. For example: HTTP 500.",
    )
    assert "videoqueue webhooks retry --all" in found.remedy


@pytest.mark.parametrize(
    ("url", "says", "remedy"),
    [
        ("http://127.0.0.1:1/", "Connection refused", "Start the receiver"),
        ("http://receiver.invalid/", "receiver.invalid:80 cannot be reached: its host name", "resolver"),
    ],
)
def test_a_receiver_that_is_away_is_a_warning(
    environ: dict[str, str], store: JobStore, url: str, says: str, remedy: str
) -> None:
    told(store, error="HTTP 500")
    away, events = findings("webhooks", environ | {"VIDEOQUEUE_WEBHOOK_URL": url})
    assert (away.status, events.status) == ("warning", "warning")
    assert says in away.message
    assert remedy in away.remedy


def test_the_certificate_of_a_receiver_is_checked(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with receiving(tls=context) as receiver:
        unknown = finding("webhooks", environ | {"VIDEOQUEUE_WEBHOOK_URL": receiver.url})
        assert (unknown.status, "SSL_CERT_FILE" in unknown.remedy) == ("warning", True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiving(tls=context) as receiver:
        assert finding("webhooks", environ | {"VIDEOQUEUE_WEBHOOK_URL": receiver.url}).status == "ok"
        assert receiver.messages == []


def test_a_receiver_whose_handshake_does_not_end_is_a_warning_in_time(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        found = finding("webhooks", environ | {"VIDEOQUEUE_WEBHOOK_URL": url}, 2)
    assert (found.status, "no response within 1.6 s" in found.message) == ("warning", True)


def test_a_lookup_of_the_host_that_does_not_end_is_a_warning_in_time(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait() and [])
    found = finding("webhooks", environ | {"VIDEOQUEUE_WEBHOOK_URL": "http://receiver.invalid/"}, 0.5)
    released.set()
    assert (found.status, found.message) == (
        "warning",
        "There was no result within 0.5 seconds (--timeout).",
    )


def test_without_a_receiver_there_is_trouble_only_if_events_wait(
    environ: dict[str, str], store: JobStore
) -> None:
    assert finding("webhooks", environ).message == "None are sent: VIDEOQUEUE_WEBHOOK_URL is not set."
    told(store)
    waits = finding("webhooks", environ)
    assert (waits.status, "Events that wait for a try: 1." in waits.message) == ("warning", True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"VIDEOQUEUE_WEBHOOK_URL": "ftp://x"}, "VIDEOQUEUE_WEBHOOK_URL"),
        ({"VIDEOQUEUE_WEBHOOK_SECRET": "sesame"}, "VIDEOQUEUE_WEBHOOK_SECRET"),
        (
            {"VIDEOQUEUE_WEBHOOK_URL": "http://127.0.0.1:1/", "VIDEOQUEUE_WEBHOOK_SECRET": ""},
            "VIDEOQUEUE_WEBHOOK_URL",
        ),
    ],
    ids=["URL", "secret", "no secret"],
)
def test_a_setting_of_webhooks_that_is_invalid_is_named(
    environ: dict[str, str], changes: dict[str, str], named: str
) -> None:
    found = finding("webhooks", environ | changes)
    assert (found.status, found.message) == ("warning", f"Not checked, because {named} is invalid.")
    assert "videoqueue webhooks secret" in found.remedy
    (reported,) = findings("settings", environ | changes)
    assert (reported.status, reported.message.startswith(named)) == ("failed", True)
    assert "sesame" not in reported.message


def test_a_database_that_is_away_leaves_only_the_events_out(
    environ: dict[str, str], receiver: TestReceiver
) -> None:
    url = f"postgresql://u@127.0.0.1:{free_port()}/d"
    found = finding("webhooks", environ | {"VIDEOQUEUE_WEBHOOK_URL": receiver.url, "DATABASE_URL": url})
    assert (found.status, found.message.endswith(": not counted.")) == ("ok", True)
