"""What `videoqueue doctor` finds in a real Valkey that refuses, and where there is none."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import faulty_queue
from tests.support.examined import finding
from tests.support.faulty_queue import Certificate, Fault, valkey
from tests.support.stack import eventually
from tests.support.tcp_proxy import TcpProxy
from videoqueue.broker import build_broker
from videoqueue.cli.doctor.findings import Finding
from videoqueue.errors import VideoqueueError
from videoqueue.supervisor import embedded
from videoqueue.supervisor.data_folder import DataFolder
from videoqueue.supervisor.embedded import valkey_program

ACL = "+@read +@write +@connection +@scripting -@dangerous +keys"


def queue(url: str, folder: Path, **changes: str) -> Finding:
    return finding("queue", {"REDIS_URL": url, "VIDEOQUEUE_DATA_DIR": str(folder), **changes})


@pytest.mark.parametrize(
    ("fault", "says", "remedy"),
    [
        (faulty_queue.full, "reached its maxmemory", "Give it more"),
        (faulty_queue.replica, "read-only replica", "Set REDIS_URL to the primary"),
        (
            faulty_queue.user("~dramatiq*", "+@all", "-@write"),
            "refuses a command or a key",
            "the ACL it needs",
        ),
        (faulty_queue.user("~other*", "+@all"), "refuses a command or a key", "the ACL it needs"),
        (faulty_queue.wrong_password, "refuses the user or password", "Start the server, or correct host"),
        (faulty_queue.hanging, "does not answer in time", "Start the server"),
        (faulty_queue.gone, "cannot be reached", "Start the server"),
    ],
    ids=["full", "replica", "no-writes", "other-keys", "wrong-password", "hanging", "gone"],
)
def test_a_queue_that_takes_no_message(fault: Fault, says: str, remedy: str, tmp_path: Path) -> None:
    with fault(tmp_path) as url:
        found = queue(url, tmp_path)
    assert found.status == "failed"
    assert says in found.message
    assert remedy in found.remedy
    assert "secret" not in found.message


def test_a_queue_with_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    with valkey(tmp_path) as (server, _, _), TcpProxy(("127.0.0.1", server.port), certificate.context) as tls:
        url = f"rediss://:sesame@127.0.0.1:{tls.port}/0"
        refused = queue(url, tmp_path)
        unverified = queue(f"rediss://127.0.0.1:{tls.port}/0", tmp_path, VIDEOQUEUE_REDIS_TLS="no-verify")
        trusted = queue(f"rediss://127.0.0.1:{tls.port}/0?ssl_ca_certs={certificate.file}", tmp_path)
    assert refused.status == "failed"
    assert "ssl_ca_certs=FILE" in refused.remedy
    assert unverified.status == "ok"
    assert "TLS without verification" in unverified.message
    assert (trusted.status, "without" in trusted.message) == ("ok", False)


def test_a_queue_with_the_documented_rights_that_may_evict_or_is_nearly_full(tmp_path: Path) -> None:
    with valkey(tmp_path) as (_, admin, url):
        admin.execute_command(  # type: ignore[no-untyped-call]
            *f"ACL SETUSER videoqueue on >secret ~dramatiq* resetchannels -@all {ACL}".split()
        )
        assert queue(url.replace("://", "://videoqueue:secret@"), tmp_path).status == "ok"
        admin.config_set("maxmemory", int(admin.info("memory")["used_memory"] * 1.08))
        assert "(maxmemory)" in queue(url, tmp_path).message
        admin.config_set("maxmemory", 10**9)
        admin.config_set("maxmemory-policy", "allkeys-lru")
        evicting = queue(url, tmp_path)
        assert "maxmemory-policy is allkeys-lru" in evicting.message
        assert evicting.remedy == "Set maxmemory-policy to noeviction."
        admin.config_set("maxmemory-policy", "noeviction")
        assert queue(url, tmp_path).status == "ok"


def test_the_queue_of_up_is_found_while_it_runs(tmp_path: Path) -> None:
    assert "no `videoqueue up` runs" in queue("", tmp_path).message
    with DataFolder(tmp_path) as folder:
        program, url = valkey_program(folder)
        server = subprocess.Popen(program.command, cwd=program.cwd, stdout=subprocess.DEVNULL)
        try:
            assert program.ready
            eventually(program.ready, "Valkey responds")
            assert build_broker(url).client.ping()
            assert queue("", tmp_path).status == "ok"
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def test_a_machine_without_a_built_in_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise VideoqueueError("none")

    monkeypatch.setattr(embedded, "valkey_binary", none)
    found = queue("", tmp_path)
    assert (found.status, found.remedy) == ("failed", "Set REDIS_URL to a Redis or Valkey server.")
