"""`videoqueue keys` and `owners`, and the key that our own commands send."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.records import new_job
from videoqueue.cli import cli
from videoqueue.cli.api_key import write_key
from videoqueue.errors import VideoqueueError
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.types import NOBODY
from videoqueue.services import Services

Run = Callable[..., Result]
TOKEN = re.compile(r"vq_[a-z2-7]{12}_[0-9A-Za-z]{43}\n")


@pytest.fixture
def run(services: Services) -> Run:
    """A command with the settings of the test's service."""

    def run(*arguments: str, **settings: str) -> Result:
        environ = {"VIDEOQUEUE_DATA_DIR": services.settings.data_dir} | settings
        return CliRunner().invoke(cli, arguments, env=environ, catch_exceptions=False, color=False)

    return run


@pytest.fixture
def keys(services: Services) -> KeyStore:
    return KeyStore(services.engine)


def test_the_first_key_is_all_of_stdout_and_stderr_says_what_it_changes(
    run: Run, services: Services, keys: KeyStore
) -> None:
    for _ in range(2):
        services.store.create(new_job(owner=NOBODY))
    first = run("keys", "create", "--owner", "anna")
    assert TOKEN.fullmatch(first.stdout)
    assert keys.check(first.stdout.strip()) is not None
    assert "From now on every request needs a key." in first.stderr
    assert "2 jobs made before belong to nobody; `videoqueue owners adopt anna`" in first.stderr
    assert first.stdout.strip() not in first.stderr
    second = run("keys", "create", "--owner", "bert", "--scope", "read", "--scope", "metrics")
    assert "From now on" not in second.stderr
    assert "asks for no key" in run("keys", "create", "--owner", "b", VIDEOQUEUE_AUTH="off").stderr


def test_keys_are_listed_without_their_secrets(run: Run) -> None:
    token = run("keys", "create", "--owner", "anna", "--expires-in", "30").stdout.strip()
    secret = token.rpartition("_")[2]
    listed = run("keys", "list").stdout
    as_json = run("keys", "list", "--json").stdout
    assert secret not in listed + as_json
    (key,) = json.loads(as_json)
    assert (key["owner"], key["scopes"], key["state"]) == ("anna", "submit", "valid")
    assert key["key_id"] in token
    assert key["key_id"] in listed


def test_a_key_is_revoked_by_its_id(run: Run, keys: KeyStore) -> None:
    key, _ = keys.create("anna", frozenset({"submit"}))
    run("keys", "revoke", key.key_id)
    assert json.loads(run("keys", "list", "--json").stdout)[0]["state"] == "revoked"
    with pytest.raises(VideoqueueError, match="no key with this id"):
        run("keys", "revoke", "unknown")


def test_a_rotated_key_is_printed_once_and_the_old_one_is_valid_for_the_overlap(
    run: Run, keys: KeyStore
) -> None:
    key, old = keys.create("anna", frozenset({"submit"}))
    rotated = run("keys", "rotate", key.key_id, "--overlap", "48")
    assert TOKEN.fullmatch(rotated.stdout)
    assert f"{key.key_id} expires in 48 hours" in rotated.stderr
    for token in (old, rotated.stdout.strip()):
        checked = keys.check(token)
        assert checked is not None
        assert checked.key.state(checked.time) == "valid"


def test_limits_of_an_owner_are_set_and_removed(run: Run) -> None:
    def limits() -> list[object]:
        (owner,) = json.loads(run("owners", "list", "--json").stdout)
        return [owner[name] for name in ("owner", "max_pending", "max_running", "max_stored_bytes")]

    run("owners", "set", "anna", "--max-pending", "10", "--max-stored-bytes", "5000000000")
    assert limits() == ["anna", 10, None, 5_000_000_000]
    run("owners", "set", "anna", "--max-pending", "default", "--max-running", "0")
    assert limits() == ["anna", None, 0, 5_000_000_000]
    assert "anna" in run("owners", "list").stdout


@pytest.mark.parametrize("value", ["-1", "many", "2147483648", ""])
def test_a_limit_that_no_column_holds_is_refused(run: Run, value: str) -> None:
    refused = run("owners", "set", "anna", "--max-pending", value)
    assert refused.exit_code == 2
    assert "`default` or 0 to 2147483647" in refused.stderr


def test_jobs_of_nobody_are_adopted(run: Run, services: Services) -> None:
    job_id, _ = services.store.create(new_job(owner=NOBODY))
    assert run("owners", "adopt", "anna").stdout == "anna adopted 1 jobs.\n"
    assert services.store.get(job_id, "anna") is not None


class Seen:
    """A server that records the header Authorization of requests."""

    def __init__(self) -> None:
        self.authorization: list[str | None] = []
        seen = self.authorization

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.headers.get("Authorization"))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@pytest.fixture
def seen() -> Iterator[Seen]:
    seen = Seen()
    thread = threading.Thread(target=seen.server.serve_forever)
    thread.start()
    yield seen
    seen.server.shutdown()
    thread.join()
    seen.server.server_close()


def test_commands_send_the_key_of_the_setting_also_beside_a_netrc(
    run: Run, seen: Seen, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    netrc.chmod(0o600)
    url = f"http://127.0.0.1:{seen.port}"
    run("status", "x", "--url", url, VIDEOQUEUE_API_KEY="vq_mine", NETRC=str(netrc))
    assert seen.authorization == ["Bearer vq_mine"]


def test_commands_send_the_key_of_the_file_to_this_machine_only(
    run: Run, seen: Seen, services: Services
) -> None:
    from videoqueue.cli.api_key import key_for

    data = services.settings.data_path
    run("status", "x", "--url", f"http://127.0.0.1:{seen.port}")
    file = write_key(data, "vq_file")
    assert file.stat().st_mode & 0o777 == 0o600
    run("status", "x", "--url", f"http://localhost:{seen.port}")
    assert seen.authorization == [None, "Bearer vq_file"]
    for url in ("http://videos.example.com", "http://127.0.0.1.example.com:8000", "http://192.168.1.1"):
        assert key_for(url, services.settings) is None


def test_a_key_that_other_users_can_read_is_not_sent(run: Run, seen: Seen, services: Services) -> None:
    write_key(services.settings.data_path, "vq_file").chmod(0o644)
    with pytest.raises(VideoqueueError, match="Other users can read the key"):
        run("status", "x", "--url", f"http://127.0.0.1:{seen.port}")
    assert seen.authorization == []


def test_writing_the_key_again_replaces_it_and_leaves_no_other_file(services: Services) -> None:
    data = services.settings.data_path
    before = set(data.iterdir())
    write_key(data, "vq_one")
    assert write_key(data, "vq_two").read_text() == "vq_two\n"
    assert set(data.iterdir()) - before == {data / "api-key"}
