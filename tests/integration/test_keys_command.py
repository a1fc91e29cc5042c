"""`videoqueue keys` and `owners`, and the key that our own commands send."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from tests.support.records import new_job
from tests.support.stack import ROOT, environment
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
    assert "2 jobs made before belong to nobody; `videoqueue owners adopt anna` makes them" in first.stderr
    assert f"of anna, in the database {services.settings.database_url}." in first.stderr
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
    assert run("keys", "revoke", key.key_id).stdout == f"Revoked {key.key_id}.\n"
    assert run("keys", "revoke", key.key_id).stdout == f"{key.key_id} was revoked before.\n"
    assert json.loads(run("keys", "list", "--json").stdout)[0]["state"] == "revoked"
    with pytest.raises(VideoqueueError, match="no key with this id"):
        run("keys", "revoke", "unknown")


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_a_whole_key_in_place_of_an_id_is_refused_with_the_id(run: Run, keys: KeyStore, command: str) -> None:
    key, token = keys.create("anna", frozenset({"submit"}))
    for text in (token, token[:30], f"vq_{key.key_id}"):
        refused = run("keys", command, text)
        assert refused.exit_code == 2
        assert f"this is a key. Name only its id, {key.key_id}:" in refused.stderr
        assert token[16:30] not in refused.output
    assert len(keys.all()) == 1


def test_the_message_of_a_rotation_says_when_the_old_key_really_expires(run: Run, keys: KeyStore) -> None:
    key, _ = keys.create("anna", frozenset({"submit"}), 3600)
    rotated = run("keys", "rotate", key.key_id, "--overlap", "999")
    assert f"{key.key_id} expires in 1 hour, at 20" in rotated.stderr
    assert "The new key expires at 20" in rotated.stderr


def test_a_refused_rotation_makes_no_key(run: Run, keys: KeyStore) -> None:
    key, _ = keys.create("anna", frozenset({"submit"}))
    run("keys", "rotate", key.key_id)
    made = keys.all()
    with pytest.raises(VideoqueueError, match=f"was rotated before: {made[1].key_id} replaces it"):
        run("keys", "rotate", key.key_id)
    assert keys.all() == made


def test_keys_that_never_should_have_been_stored_are_listed(run: Run, keys: KeyStore) -> None:
    keys.create("anna", frozenset({"submit"}), 3_650_000 * 86_400)
    assert json.loads(run("keys", "list", "--json").stdout)[0]["expires_at"] == "9999-12-31T23:59:59.999Z"


def test_a_rotated_key_is_printed_once_and_the_old_one_is_valid_for_the_overlap(
    run: Run, keys: KeyStore
) -> None:
    key, old = keys.create("anna", frozenset({"submit"}))
    rotated = run("keys", "rotate", key.key_id, "--overlap", "48")
    assert TOKEN.fullmatch(rotated.stdout)
    assert f"{key.key_id} expires in 48 hours, at 20" in rotated.stderr
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


def test_jobs_of_nobody_are_adopted(run: Run, services: Services, keys: KeyStore) -> None:
    job_id, _ = services.store.create(new_job(owner=NOBODY))
    keys.create("anna", frozenset({"submit"}))
    adopted = run("owners", "adopt", "anna")
    assert (adopted.stdout, adopted.stderr) == ("anna adopted 1 job.\n", "")
    assert services.store.get(job_id, "anna") is not None


def test_an_adoption_that_leaves_the_jobs_to_nobody_warns(run: Run, services: Services) -> None:
    for _ in range(2):
        services.store.create(new_job(owner=NOBODY))
    adopted = run("owners", "adopt", "anna")
    assert adopted.stdout == "anna adopted 2 jobs.\n"
    assert "Warning: anna had no key, job or limit before." in adopted.stderr
    assert "Warning: there is no key yet, so nobody can read the adopted jobs" in adopted.stderr


def test_limits_are_confirmed_and_a_new_name_is_noted(run: Run) -> None:
    first = run("owners", "set", "anna", "--max-pending", "10", "--max-running", "0")
    assert first.stdout == "Limits of anna set: max_pending 10, max_running 0 (no limit).\n"
    assert "Warning: anna had no key, job or limit before. Check the name." in first.stderr
    again = run("owners", "set", "anna", "--max-pending", "default")
    assert (again.stdout, again.stderr) == ("Limits of anna set: max_pending default.\n", "")


def unprinted(services: Services, redirection: str, *arguments: str) -> tuple[int, list[str]]:
    """Runs a command whose stdout cannot be written. Returns its exit code and the lines of stderr."""
    settings = {"PYTHONPATH": str(ROOT), "VIDEOQUEUE_DATA_DIR": str(services.settings.data_dir)}
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-m", "videoqueue.cli", *arguments],
        env=environment(settings),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


NO_STDOUT = {
    "> /dev/full": "videoqueue: The key cannot be printed (No space left on device). No key was created.",
    ">&-": "videoqueue: The key cannot be printed: stdout is closed. No key was created.",
}


@pytest.mark.parametrize("redirection", NO_STDOUT)
def test_a_first_key_that_cannot_be_printed_is_not_created(
    services: Services, keys: KeyStore, redirection: str
) -> None:
    refused = unprinted(services, redirection, "keys", "create", "--owner", "anna")
    assert refused == (1, [NO_STDOUT[redirection]])
    assert not keys.any_made()


@pytest.mark.parametrize("redirection", NO_STDOUT)
def test_a_key_whose_successor_cannot_be_printed_is_not_rotated(
    services: Services, keys: KeyStore, redirection: str
) -> None:
    key, _ = keys.create("anna", frozenset({"submit"}))
    assert unprinted(services, redirection, "keys", "rotate", key.key_id) == (1, [NO_STDOUT[redirection]])
    assert keys.all() == [key]


def test_a_printed_key_that_was_not_created_is_said_to_be_invalid(
    run: Run, services: Services, keys: KeyStore
) -> None:
    with services.engine.begin() as connection:
        refuse = "BEFORE INSERT ON api_key BEGIN SELECT RAISE(FAIL, 'no'); END"
        connection.execute(sa.text(f"CREATE TRIGGER refusing {refuse}"))
    environ = {"VIDEOQUEUE_DATA_DIR": services.settings.data_dir}
    failed = CliRunner().invoke(cli, ["keys", "create", "--owner", "anna"], env=environ)
    assert failed.exit_code == 1
    assert failed.stderr == "The printed key was not created and is not valid.\n"
    assert not keys.any_made()


class Seen:
    """A server that records the header Authorization of requests."""

    def __init__(self, status: int = 200, body: bytes = b"{}") -> None:
        self.authorization: list[str | None] = []
        seen = self.authorization

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.headers.get("Authorization"))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@pytest.fixture
def seen() -> Iterator[Seen]:
    with serving(Seen()) as seen:
        yield seen


@contextmanager
def serving(seen: Seen) -> Iterator[Seen]:
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


def test_a_command_without_a_valid_key_names_the_setting_that_has_it(run: Run) -> None:
    body = json.dumps({"detail": "Send it in the header `Authorization: Bearer KEY`."}).encode()
    with serving(Seen(401, body)) as seen:
        url = f"http://127.0.0.1:{seen.port}"
        with pytest.raises(
            VideoqueueError, match=r"Bearer KEY`\. This command sends .* VIDEOQUEUE_API_KEY: set"
        ):
            run("status", "x", "--url", url)
        with pytest.raises(VideoqueueError, match=r"This command sent the key in VIDEOQUEUE_API_KEY, or in"):
            run("status", "x", "--url", url, VIDEOQUEUE_API_KEY="vq_mine")


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
