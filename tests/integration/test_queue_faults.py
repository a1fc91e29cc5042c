"""A queue that is there and refuses: jobs are accepted all the same, and /readyz and the log say why."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from dramatiq.middleware import Retries
from flask.testing import FlaskClient

from tests.support import faulty_queue
from tests.support.faulty_queue import Certificate, Fault, valkey
from tests.support.log_lines import LogLines
from tests.support.queue_worker import working
from tests.support.records import stored
from tests.support.stack import ROOT, eventually
from tests.support.tcp_proxy import TcpProxy
from tests.support.videos import make_video
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.broker import QUEUE, RetriesLater, announce, build_broker, queued
from videoqueue.errors import QueueUnavailableError, SettingsError
from videoqueue.jobs import workers
from videoqueue.jobs.tables import Base
from videoqueue.maintenance.sweeper import Sweeper
from videoqueue.settings import load_settings

#: With the words of the log.
FAULTS: list[tuple[Fault, str]] = [
    (faulty_queue.full, "reached its maxmemory"),
    (faulty_queue.replica, "read-only replica"),
    (faulty_queue.replica_without_its_primary, "MASTER is down"),
    (faulty_queue.user("~dramatiq*", "+@all", "-@write"), "has the ACL it needs"),
    (faulty_queue.user("~dramatiq*", "+@all", "-rpush"), "has the ACL it needs"),
    (faulty_queue.user("~dramatiq*", "+@all", "-@scripting"), "has the ACL it needs"),
    (faulty_queue.user("%R~dramatiq*", "+@all"), "has the ACL it needs"),
    (faulty_queue.user("~dramatiq:*", "+@all"), "has the ACL it needs"),
    (faulty_queue.user("~other*", "+@all"), "has the ACL it needs"),
    (faulty_queue.wrong_password, "refuses the user or password"),
    (faulty_queue.no_password, "refuses the user or password"),
    (faulty_queue.disk_gone, "MISCONF"),
    (faulty_queue.loading, "loading its data"),
    (faulty_queue.too_many_clients, "max number of clients reached"),
    (faulty_queue.hanging, "does not answer in time"),
    (faulty_queue.gone, "cannot be reached"),
]
NAMES = (
    "full replica orphaned-replica no-writes no-rpush no-scripts read-only-keys bare-key other-keys "
    "wrong-password no-password disk loading clients hanging gone"
)


@contextmanager
def client_of(folder: Path, redis_url: str, **settings: str) -> Iterator[FlaskClient]:
    """The web application on this queue, with a worker that lives."""
    environ = {"VIDEOQUEUE_DATA_DIR": str(folder / "data"), "REDIS_URL": redis_url}
    app = create_app(load_settings(environ | {"VIDEOQUEUE_READY_SECONDS": "30"} | settings))
    engine = services_of(app).store.engine
    Base.metadata.create_all(engine)
    workers.heartbeat(engine, "host:1", 1)
    yield app.test_client()
    engine.dispose()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_video(tmp_path_factory.mktemp("video") / "video.mp4").read_bytes()


def degraded(client: FlaskClient) -> list[str]:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    found: list[str] = answer.get_json()["degraded"]
    return found


@pytest.mark.parametrize(("fault", "says"), FAULTS, ids=NAMES.split())
def test_a_queue_that_takes_no_message_degrades_and_refuses_no_job(
    fault: Fault, says: str, tmp_path: Path, video: bytes, log_lines: LogLines
) -> None:
    with fault(tmp_path) as url, client_of(tmp_path, url) as client:
        assert degraded(client) == ["queue_unavailable"]
        assert degraded(client) == ["queue_unavailable"]
        (line,) = (text for text in log_lines.written if "probe=readyz-queue" in text)
        assert says in line
        assert "secret" not in line
        assert client.post("/video/submit", data=video, content_type="video/mp4").status_code == 202
        assert re.search(f"Job not announced.*{re.escape(says)}", "".join(log_lines.written))


def test_the_check_recovers_and_leaves_the_queue_as_it_was(tmp_path: Path, log_lines: LogLines) -> None:
    with valkey(tmp_path) as (_, admin, url), client_of(tmp_path, url) as client:
        announce(services_of(client.application).broker, uuid.uuid4())
        before = {key: admin.dump(key) for key in admin.scan_iter()}
        assert degraded(client) == []
        admin.config_set("maxmemory", 1)
        assert degraded(client) == ["queue_unavailable"]
        admin.config_set("maxmemory", 0)
        assert degraded(client) == []
        assert {key: admin.dump(key) for key in admin.scan_iter()} == before
    assert "A dependency can be used again. probe=readyz-queue" in str(log_lines.written)


def test_a_sweeper_postpones_no_job_while_the_queue_refuses_messages(tmp_path: Path, video: bytes) -> None:
    with (
        valkey(tmp_path) as (_, admin, url),
        client_of(tmp_path, url, VIDEOQUEUE_ANNOUNCE_SECONDS="0.001") as client,
    ):
        admin.config_set("maxmemory", 1)
        job_id = client.post("/video/submit", data=video, content_type="video/mp4").get_json()["job_id"]
        services = services_of(client.application)
        sweeper = Sweeper(services.store, services.broker, services.settings, "host:1")
        for _ in range(3):
            with pytest.raises(QueueUnavailableError, match="maxmemory"):
                sweeper.sweep()
        admin.config_set("maxmemory", 0)
        assert stored(services.store, uuid.UUID(job_id)).announcements == 1
        assert sweeper.sweep() == 1


def test_the_documented_acl_is_enough(tmp_path: Path) -> None:
    """Also to take back what a dead worker had fetched, which lists keys."""
    (rules,) = re.findall(
        r"^    ACL SETUSER videoqueue on >PASSWORD (.+)$", (ROOT / "docs/deploying.md").read_text(), re.M
    )
    seen: list[uuid.UUID] = []
    with faulty_queue.user(*rules.split())(tmp_path) as url:
        dead = build_broker(url)
        first, second = uuid.uuid4(), uuid.uuid4()
        announce(dead, first)
        assert len(dead.do_fetch(QUEUE, 1)) == 1
        dead.client.zadd("dramatiq:__heartbeats__", {dead.broker_id: 0})
        alive = build_broker(url, [Retries()])
        with working(alive, seen.append):
            announce(alive, second)
            eventually(lambda: {first, second} <= set(seen), "both messages arrive")
        assert queued(alive) == 0
        with redis.Redis.from_url(url) as client, pytest.raises(redis.exceptions.NoPermissionError):
            client.flushall()


def test_a_consumer_names_a_full_queue_in_one_line(tmp_path: Path, log_lines: LogLines) -> None:
    with faulty_queue.full(tmp_path) as url, working(build_broker(url, [Retries()]), lambda _: None):
        said = "Consumer encountered a connection error: Redis has reached its maxmemory"
        eventually(lambda: said in str(log_lines.written))
    assert "Traceback" not in str(log_lines.written)


@pytest.mark.parametrize(
    ("retry", "says"),
    [(None, "A message stays in the queue"), (0.01, "A message was not put back on the queue")],
    ids=["ended", "retried"],
)
def test_a_worker_that_ends_or_retries_a_job_while_the_queue_is_full_says_so_in_one_line(
    retry: float | None, says: str, tmp_path: Path, log_lines: LogLines
) -> None:
    """Dramatiq would log a traceback, and ask the operator to report a bug."""
    with valkey(tmp_path) as (_, admin, url):

        def fill(_job_id: uuid.UUID) -> float | None:
            admin.config_set("maxmemory", 1)
            return retry

        broker = build_broker(url, [RetriesLater()])
        with working(broker, fill, max_retries=5):
            announce(broker, uuid.uuid4())
            eventually(lambda: says in str(log_lines.written), "the worker says so")
    assert "Redis has reached its maxmemory" in log_lines.having(says)[0]
    assert not any("bug" in line or "Traceback" in line for line in log_lines.written)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


@pytest.fixture
def tls_url(redis_url: str, certificate: Certificate) -> Iterator[str]:
    """A queue with TLS and a certificate that nobody vouches for."""
    port = int(redis_url.rsplit(":", 1)[1].split("/")[0])
    with TcpProxy(("127.0.0.1", port), certificate.context) as proxy:
        yield f"rediss://127.0.0.1:{proxy.port}/0"


NO_VERIFY = {"VIDEOQUEUE_REDIS_TLS": "no-verify"}


def test_a_self_signed_certificate_is_refused_and_the_log_says_what_to_set(
    tls_url: str, tmp_path: Path, video: bytes, log_lines: LogLines
) -> None:
    with client_of(tmp_path, tls_url) as client:
        assert degraded(client) == ["queue_unavailable"]
        assert client.post("/video/submit", data=video, content_type="video/mp4").status_code == 202
    (line,) = (text for text in log_lines.written if "probe=readyz-queue" in text)
    assert "The TLS handshake with Redis failed (self-signed certificate)" in line
    assert "VIDEOQUEUE_REDIS_TLS=no-verify" in line
    assert "ssl_ca_certs=FILE" in line


@pytest.mark.parametrize("query", ["", "?ssl_cert_reqs=required", "?ssl_cert_reqs=none"])
def test_no_verify_takes_any_certificate_whatever_the_url_says(
    tls_url: str, query: str, tmp_path: Path
) -> None:
    with client_of(tmp_path, tls_url + query, **NO_VERIFY) as client:
        assert degraded(client) == []


def test_a_certificate_that_the_url_trusts_is_verified(
    tls_url: str, certificate: Certificate, tmp_path: Path
) -> None:
    with client_of(tmp_path, f"{tls_url}?ssl_ca_certs={certificate.file}") as client:
        assert degraded(client) == []


def test_the_url_alone_may_turn_verification_off(tls_url: str, tmp_path: Path) -> None:
    with client_of(tmp_path, f"{tls_url}?ssl_cert_reqs=none") as client:
        assert degraded(client) == []


def test_no_verify_changes_nothing_without_tls(redis_url: str, tmp_path: Path) -> None:
    with client_of(tmp_path, redis_url, **NO_VERIFY) as client:
        assert degraded(client) == []


def test_a_certificate_for_another_host_is_named(
    tls_url: str, certificate: Certificate, tmp_path: Path, log_lines: LogLines
) -> None:
    url = f"{tls_url.replace('127.0.0.1', 'localhost')}?ssl_ca_certs={certificate.file}"
    with client_of(tmp_path, url) as client:
        assert degraded(client) == ["queue_unavailable"]
    assert "The TLS handshake with Redis failed (Hostname mismatch" in str(log_lines.written)


def test_tls_against_a_server_without_it_is_named(
    redis_url: str, tmp_path: Path, log_lines: LogLines
) -> None:
    with client_of(tmp_path, redis_url.replace("redis:", "rediss:")) as client:
        assert degraded(client) == ["queue_unavailable"]
    assert "The TLS handshake with Redis failed" in str(log_lines.written)
    assert "speaks TLS (rediss://) or not (redis://)" in str(log_lines.written)


def test_no_tls_against_a_server_with_it_degrades(tls_url: str, tmp_path: Path) -> None:
    with client_of(tmp_path, tls_url.replace("rediss:", "redis:")) as client:
        assert degraded(client) == ["queue_unavailable"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@host:port/0",
        "redis://:secret@host:99999/0",
        "redis://:secret@host/0?no_such_option=1",
        "redis://:secret@host/0?socket_timeout=soon",
        "redis://:secret@host/0?ssl_cert_reqs=none",
        "rediss://:secret@host/0?ssl_cert_reqs=sometimes",
        "REDIS://:secret@host/0",
    ],
)
def test_a_url_that_cannot_work_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL cannot be used") as failure:
        build_broker(url)
    assert "secret" not in str(failure.value)


def test_a_host_that_cannot_be_found_is_a_queue_that_is_away() -> None:
    """Python raises a ValueError for a name with a label of more than 63 characters."""
    with pytest.raises(QueueUnavailableError):
        announce(build_broker(f"redis://{'h' * 64}.example"), uuid.uuid4())
