"""Each end of a job is told at least once, signed, and none that did not happen."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from sqlalchemy.engine import Engine
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.certificate import write_certificate
from tests.support.records import lease_policy, new_job, stored
from tests.support.webhook_receiver import ACCEPTED, TestReceiver, receiving, refused
from videoqueue.api.schemas import JobStatus
from videoqueue.cli import cli
from videoqueue.errors import LeaseLostError, SettingsError
from videoqueue.jobs.counters import read_counters
from videoqueue.jobs.database import now, writing
from videoqueue.jobs.deletion import Deletions
from videoqueue.jobs.store import Claim, JobStore
from videoqueue.jobs.tables import JOB, WEBHOOK_EVENT
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.jobs.webhooks import WebhookEvents
from videoqueue.maintenance.delivery import NoResponseError, Receiver
from videoqueue.maintenance.notifier import SCHEDULE, Notifier
from videoqueue.settings import Settings, load_settings
from videoqueue.settings.webhooks import new_webhook_secret, signing_key

SECRETS = ("whsec_" + 43 * "a" + "=", "whsec_" + 43 * "b" + "=")
KEYS = [signing_key(secret) for secret in SECRETS]


@pytest.fixture
def store(engine: Engine) -> JobStore:
    return JobStore(engine, lease_policy(max_attempts=2, max_crashes=2), webhooks=True)


@pytest.fixture
def receiver() -> Iterator[TestReceiver]:
    with receiving() as found:
        yield found


def claimed(store: JobStore, owner: str = "anna") -> Claim:
    claim = store.claim(store.create(new_job(owner=owner))[0], "worker")
    assert claim is not None
    return claim


def completed(store: JobStore, owner: str = "anna") -> uuid.UUID:
    claim = claimed(store, owner)
    store.complete(claim, "etag")
    return claim.job_id


def notifier_of(store: JobStore, receiver: TestReceiver | Receiver, *schedule: float) -> Notifier:
    to = Receiver(receiver.url, KEYS, 2.0) if isinstance(receiver, TestReceiver) else receiver
    return Notifier(store.engine, Settings(), to, schedule)


def events(store: JobStore) -> dict[uuid.UUID, tuple[int, bool, str | None]]:
    """The tries, whether another follows, and the last error."""
    found = WebhookEvents(store.engine).waiting(100)
    return {event.job_id: (event.tries, event.next_at is not None, event.error) for event in found}


def tried(store: JobStore) -> dict[str, int]:
    with store.engine.connect() as connection:
        counted = read_counters(connection).get("webhook_deliveries", {})
    return {labels[0]: count for labels, count in counted.items()}


def make_due(store: JobStore) -> None:
    with writing(store.engine) as connection:
        values = {"next_at": sa.case((WEBHOOK_EVENT.c.next_at.is_not(None), now(connection)))}
        connection.execute(sa.update(WEBHOOK_EVENT).values(values))


def test_each_end_of_a_job_has_an_event_and_nothing_else_has(store: JobStore) -> None:
    done, broken, tired, lost = (claimed(store) for _ in range(4))
    store.release(claimed(store), "interruption", "stopped", 60)
    store.release(claimed(store), "failures", "once", 60)
    with writing(store.engine) as connection:
        worst = {"lease_until": 1, "crashes": 1, "failures": 1}
        mine = JOB.c.job_id.in_([tired.job_id, lost.job_id])
        connection.execute(sa.update(JOB).where(mine).values(worst))
    assert events(store) == {}
    store.complete(done, "etag")
    store.complete(done, "etag")
    store.fail(broken, "broken", code="video_damaged")
    store.release(tired, "failures", "away")
    assert store.expire(lost.job_id)
    assert set(events(store)) == {done.job_id, broken.job_id, tired.job_id, lost.job_id}


def test_without_a_receiver_no_event_is_stored(engine: Engine) -> None:
    store = JobStore(engine, lease_policy())
    completed(store)
    assert events(store) == {}


def test_an_end_that_is_refused_has_no_event(store: JobStore) -> None:
    claim = claimed(store)
    with pytest.raises(LeaseLostError):
        store.complete(replace(claim, attempt=claim.attempt + 1), "etag")
    assert events(store) == {}


def test_a_deleted_job_has_no_event(store: JobStore, receiver: TestReceiver) -> None:
    job_id = completed(store)
    Deletions(store.engine, store.limits).delete(job_id, ALL_OWNERS)
    notifier_of(store, receiver).notify()
    assert (events(store), receiver.messages) == ({}, [])


def test_an_event_says_what_the_status_says_and_whose_job_it_is(
    store: JobStore, receiver: TestReceiver
) -> None:
    claim = claimed(store)
    store.fail(claim, "Kaputt: „ä“", code="video_damaged")
    notifier_of(store, receiver).notify()
    (message,) = receiver.messages
    job = stored(store, claim.job_id)
    event = json.loads(message.body)
    status = JobStatus().dump(job)
    assert event == {
        "type": "job.failed",
        "timestamp": status["updated_at"],
        "data": {**status, "owner": "anna", "error_code": "video_damaged"},
    }
    assert message.line == "POST /hook?a=b HTTP/1.1"
    assert message.headers["content-type"] == "application/json"
    assert events(store) == {}
    assert tried(store) == {"delivered": 1}


@pytest.mark.parametrize("secret", SECRETS)
def test_the_reference_package_accepts_each_secret_and_no_changed_message(
    store: JobStore, receiver: TestReceiver, secret: str
) -> None:
    job_id = completed(store)
    notifier_of(store, receiver).notify()
    (message,) = receiver.messages
    assert Webhook(secret).verify(message.body, message.headers)["data"]["job_id"] == str(job_id)
    for body, key in ((message.body + b" ", secret), (message.body, new_webhook_secret())):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(body, message.headers)


def test_all_tries_of_an_event_have_one_id_and_their_own_time(store: JobStore) -> None:
    with receiving(refused(500), ACCEPTED) as receiver:
        job_id = completed(store)
        notifier = notifier_of(store, receiver, 0.0)
        notifier.notify()
        make_due(store)
        notifier.notify()
        assert {message.headers["webhook-id"] for message in receiver.messages} == {f"msg_{job_id.hex}"}
        for message in receiver.messages:
            Webhook(SECRETS[0]).verify(message.body, message.headers)
        assert tried(store) == {"failed": 1, "delivered": 1}


def test_the_schedule_is_that_of_the_specification() -> None:
    hours = [round(seconds / 3600, 4) for seconds in SCHEDULE]
    assert hours == [0.0014, 0.0833, 0.5, 2, 5, 10, 14, 20, 24]


def test_an_event_is_tried_as_the_schedule_says_then_given_up_and_kept(store: JobStore) -> None:
    with receiving(refused(500)) as receiver:
        job_id = completed(store)
        notifier = notifier_of(store, receiver, 100.0, 1000.0)
        for delay in (100, 1000):
            notifier.notify()
            wait = WebhookEvents(store.engine).seconds_until_due()
            assert wait is not None
            assert delay - 60 < wait <= 1.1 * delay
            assert notifier.notify() == 1.0  # it is not due
            make_due(store)
        notifier.notify()
        assert events(store) == {job_id: (3, False, "HTTP 500")}
        notifier.notify()
        assert len(receiver.messages) == 3
        assert tried(store) == {"failed": 2, "given_up": 1}
        assert WebhookEvents(store.engine).retry_waiting() == 1
        receiver.replies = (ACCEPTED,)
        notifier.notify()
        assert events(store) == {}


def test_a_redirect_is_not_followed(store: JobStore, receiver: TestReceiver) -> None:
    with receiving(refused(307, f"Location: {receiver.url}")) as moved:
        job_id = completed(store)
        notifier_of(store, moved, 5.0).notify()
        tries, again, error = events(store)[job_id]
        assert (tries, again, receiver.messages) == (1, True, [])
        assert error is not None
        assert "VIDEOQUEUE_WEBHOOK_URL" in error


def test_a_receiver_that_is_gone_gets_the_event_once(store: JobStore) -> None:
    with receiving(refused(410)) as receiver:
        job_id = completed(store)
        notifier_of(store, receiver, 5.0).notify()
        assert events(store)[job_id][:2] == (1, False)


@pytest.mark.parametrize(("status", "asked", "pause"), [(429, "70", 70.0), (503, "9000", 3600.0)])
def test_a_busy_receiver_is_left_alone_for_as_long_as_it_asks(
    store: JobStore, status: int, asked: str, pause: float
) -> None:
    with receiving(refused(status, f"Retry-After: {asked}")) as receiver:
        completed(store)
        assert notifier_of(store, receiver, 5.0).notify() == pause
        wait = WebhookEvents(store.engine).seconds_until_due()
        assert wait is not None
        assert pause - 60 < wait <= pause


def test_the_pause_that_a_receiver_asks_for_is_kept_by_all_processes(store: JobStore) -> None:
    with receiving(refused(503, "Retry-After: 70"), ACCEPTED) as receiver:
        for _ in range(3):
            completed(store)
        held = WebhookEvents(store.engine).take(60)  # another process is sending it
        assert held is not None
        assert notifier_of(store, receiver, 5.0).notify() == 70
        assert notifier_of(store, receiver, 5.0).notify() == 1.0
        assert len(receiver.messages) == 1
        WebhookEvents(store.engine).accepted(held)
        make_due(store)
        another = notifier_of(store, receiver, 5.0)
        for _ in range(2):
            another.notify()
        assert (events(store), tried(store)) == ({}, {"failed": 1, "delivered": 3})


def dripping() -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (None, "no response within 2 s"),
        (b"", "it closed the connection without a response"),
        (b"SSH-2.0-OpenSSH\r\n", "its response is not HTTP"),
        (dripping(), "its response is not HTTP"),
        (b"HTTP/1.1 200 " + b"a" * 100_000, "its response is not HTTP"),
    ],
    ids=["silent", "closes", "not HTTP", "too many headers", "too long a line"],
)
def test_what_is_no_response_is_named_and_leaves_the_tries_of_the_others(
    store: JobStore, reply: bytes | None, why: str
) -> None:
    with receiving(reply) as receiver:
        completed(store)
        completed(store)
        notifier = notifier_of(store, receiver, 5.0)
        assert [notifier.notify(), notifier._pause] == [1.0, 2.0]
        found = sorted(events(store).values(), key=lambda event: event[0])
        assert found == [(0, True, None), (1, True, why)]


def test_a_receiver_that_sends_byte_by_byte_is_cut_off() -> None:
    with receiving(None) as receiver:
        receiver.drips = True
        with pytest.raises(NoResponseError, match="no response within 1 s"):
            Receiver(receiver.url, KEYS, 1.0).post("msg_1", 1, b"{}")
        assert receiver.arrived.is_set()


def test_interim_responses_are_no_reply() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    with receiving(early + ACCEPTED) as receiver:
        assert Receiver(receiver.url, KEYS).post("msg_1", 1, b"{}").status == 204


def test_the_time_limit_covers_all_addresses_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address alone would wait for the whole limit."""
    given: list[float] = []

    def never(_address: object, timeout: float, _source: object) -> socket.socket:
        given.append(timeout)
        threading.Event().wait(timeout / 2)
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("192.0.2.1", 80))] * 100)
    monkeypatch.setattr(socket, "create_connection", never)
    with pytest.raises(NoResponseError, match="no response within 1 s"):
        Receiver("http://many/", KEYS, 1.0).post("msg_1", 1, b"{}")
    assert given == sorted(given, reverse=True)
    assert sum(given) / 2 < 1.1


def test_a_certificate_is_checked_and_one_of_an_own_authority_can_be_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with receiving(tls=context) as receiver:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert Receiver(receiver.url, KEYS).post("msg_1", 1, b"{}").status == 204
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(NoResponseError, match="its certificate was refused: self-signed"):
            Receiver(receiver.url, KEYS).post("msg_1", 1, b"{}")


def test_the_time_limit_covers_the_handshake_of_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(NoResponseError, match="no response within 1 s"):
            Receiver(url, KEYS, 1.0).post("msg_1", 1, b"{}")


def test_the_first_reply_after_an_outage_makes_the_events_due_that_had_none(store: JobStore) -> None:
    with receiving(b"", b"", refused(500), ACCEPTED) as receiver:
        for _ in range(3):
            completed(store)
        notifier = notifier_of(store, receiver, 100.0, 100.0)
        for _ in range(3):
            notifier.notify()
        due = [wait for tries, wait, error in events(store).values() if error != "HTTP 500"]
        assert len(due) == 2
        assert WebhookEvents(store.engine).seconds_until_due() == 0
        for _ in range(2):
            notifier.notify()
        assert [error for *_, error in events(store).values()] == ["HTTP 500"]


def test_two_that_make_all_events_due_do_not_wait_for_each_other(store: JobStore) -> None:
    for _ in range(60):
        completed(store)
    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(WebhookEvents(store.engine).retry_waiting) for _ in range(40)]
    assert [one.result() for one in done] == [60] * 40


def test_a_late_sender_does_not_decide_about_an_event_that_is_tried_anew(store: JobStore) -> None:
    job_id = completed(store)
    waiting = WebhookEvents(store.engine)
    late = waiting.take(60)
    assert waiting.retry(job_id)
    again = waiting.take(60)
    assert late is not None
    assert again is not None
    waiting.failed(late, "HTTP 410", None)
    assert events(store)[job_id] == (1, True, None)
    waiting.accepted(again)
    assert events(store) == {}


def test_a_port_without_a_receiver_is_named(store: JobStore) -> None:
    with receiving() as receiver:
        url = receiver.url
    with pytest.raises(NoResponseError, match="no connection: Connection refused"):
        Receiver(url, KEYS).post("msg_1", 1, b"{}")


def test_proxies_of_the_environment_are_not_used(
    store: JobStore, receiver: TestReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    completed(store)
    notifier_of(store, receiver).notify()
    assert len(receiver.messages) == 1


def test_an_event_whose_sender_was_killed_is_sent_again(store: JobStore, receiver: TestReceiver) -> None:
    job_id = completed(store)
    taken = WebhookEvents(store.engine).take(60)
    assert taken is not None
    notifier_of(store, receiver).notify()
    assert receiver.messages == []  # it is held
    make_due(store)
    notifier_of(store, receiver).notify()
    assert (len(receiver.messages), events(store)) == (1, {})
    WebhookEvents(store.engine).failed(taken, "late", 5.0)  # the first sender is late
    assert (events(store), tried(store)) == ({}, {"delivered": 1})
    assert stored(store, job_id).status == "completed"


def test_several_senders_never_take_the_same_event(store: JobStore) -> None:
    wanted = sorted(completed(store) for _ in range(12))
    taken: list[uuid.UUID] = []

    def take() -> None:
        while (event := WebhookEvents(store.engine).take(60)) is not None:
            taken.append(event.job.job_id)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for_sure = []
    while (event := WebhookEvents(store.engine).take(60)) is not None:
        for_sure.append(event.job.job_id)  # a locked row is passed over
    assert sorted(taken + for_sure) == wanted


def test_a_job_that_is_deleted_while_its_event_is_sent_counts_nothing(
    store: JobStore, receiver: TestReceiver
) -> None:
    job_id = completed(store)
    event = WebhookEvents(store.engine).take(60)
    assert event is not None
    Deletions(store.engine, store.limits).delete(job_id, ALL_OWNERS)
    WebhookEvents(store.engine).accepted(event)
    assert tried(store) == {}


def test_the_event_of_a_job_that_a_release_before_deleted_is_dropped(
    store: JobStore, receiver: TestReceiver
) -> None:
    job_id = completed(store)
    with writing(store.engine) as connection:
        connection.execute(sa.delete(JOB).where(JOB.c.job_id == job_id))
    notifier_of(store, receiver).notify()
    assert (events(store), receiver.messages) == ({}, [])


def test_an_accepted_event_can_be_sent_again_and_that_of_a_running_job_cannot(
    store: JobStore, receiver: TestReceiver
) -> None:
    notifier = notifier_of(store, receiver)
    job_id = completed(store)
    notifier.notify()
    waiting = WebhookEvents(store.engine)
    assert [waiting.retry(job_id), waiting.retry(job_id)] == [True, True]
    assert [waiting.retry(claimed(store).job_id), waiting.retry(uuid.uuid4())] == [False, False]
    notifier.notify()
    first, second = receiver.messages
    assert first.body == second.body


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("", "VIDEOQUEUE_WEBHOOK_SECRET is not"),
        ("whsec_c2hvcnQ=", "24 to 64 bytes in base64"),
        (f"whsec_{'a' * 31}", "24 to 64 bytes in base64"),
        (SECRETS[0].removeprefix("whsec_"), "begin with whsec_"),
        (",".join(SECRETS * 3), "1 to 5 secrets"),
    ],
)
def test_webhooks_without_a_good_secret_stop_the_start(secret: str, says: str) -> None:
    given = {"VIDEOQUEUE_WEBHOOK_URL": "https://example.com/hook", "VIDEOQUEUE_WEBHOOK_SECRET": secret}
    with pytest.raises(SettingsError, match=says) as caught:
        load_settings(given)
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "https://",
        "https://anna:secret@example.com/",
        "https://example.com/#a",
        "http://a..b/",
        "http://h/h\xf6",
        "http://a b/",
    ],
)
def test_a_url_that_is_no_receiver_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match=r"VIDEOQUEUE_WEBHOOK_URL='\.\.\.' cannot be used"):
        load_settings({"VIDEOQUEUE_WEBHOOK_URL": url, "VIDEOQUEUE_WEBHOOK_SECRET": SECRETS[0]})


def test_two_secrets_both_sign() -> None:
    settings = load_settings(
        {"VIDEOQUEUE_WEBHOOK_URL": "https://a.b/?c=d", "VIDEOQUEUE_WEBHOOK_SECRET": " , ".join(SECRETS)}
    )
    assert settings.webhook_secrets == SECRETS


@pytest.fixture
def command(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `videoqueue webhooks` on the store's database."""
    monkeypatch.setenv("DATABASE_URL", store.engine.url.render_as_string(hide_password=False))
    return lambda *words: CliRunner().invoke(cli, ["webhooks", *words])


def test_the_command_lists_what_was_not_accepted_and_sends_it_again(
    store: JobStore, receiver: TestReceiver, command: Callable[..., Result]
) -> None:
    with receiving(refused(500)) as broken:
        job_id = completed(store)
        notifier_of(store, broken).notify()
    table = command("list").output
    assert [word in table for word in (str(job_id), "given up", "HTTP 500")] == [True] * 3
    (shown,) = json.loads(command("list", "--json").output)
    assert (shown["tries"], shown["next_at"], shown["error"]) == (1, None, "HTTP 500")
    assert command("retry", "--all").output == "1 webhook to send.\n"
    notifier_of(store, receiver).notify()
    assert json.loads(command("list", "--json").output) == []
    assert command("retry", str(job_id)).output == "1 webhook to send.\n"
    notifier_of(store, receiver).notify()
    assert len(receiver.messages) == 2


def test_the_command_says_what_it_cannot_send(command: Callable[..., Result]) -> None:
    unknown = str(uuid.uuid4())
    assert [command("retry").exit_code, command("retry", unknown, "--all").exit_code] == [2, 2]
    assert f"No job that has ended: {unknown}" in str(command("retry", unknown).exception)
    assert "is not a job id" in str(command("retry", "x").exception)


def test_the_command_makes_secrets_that_the_setting_takes(command: Callable[..., Result]) -> None:
    made = [command("secret").output.strip() for _ in range(2)]
    assert made[0] != made[1]
    assert [len(signing_key(secret)) for secret in made] == [32, 32]
