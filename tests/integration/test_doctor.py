"""`videoqueue doctor` as a whole: what it prints, and that nothing makes it hang, crash or say a password."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from tests.support.examined import PATIENCE, files_below, migrate
from tests.support.stack import ROOT, free_port
from videoqueue.cli import cli
from videoqueue.cli.doctor.command import CHECKS, as_text
from videoqueue.cli.doctor.findings import Examination, Finding, failed, ok
from videoqueue.cli.doctor.running import Check, run_checks
from videoqueue.jobs import workers
from videoqueue.services import build_engine
from videoqueue.settings import load_settings
from videoqueue.settings.webhooks import new_webhook_secret

Run = Callable[..., Result]
NAMES = [name for check in CHECKS for name in check.names]


def doctor(environ: Mapping[str, str], *options: str) -> Result:
    options = ("--timeout", str(PATIENCE), *options)
    return CliRunner().invoke(cli, ["doctor", *options], env=environ, catch_exceptions=False, color=False)


def reported(environ: Mapping[str, str], *options: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(doctor(environ, "--json", *options).stdout)["checks"]:
        found.setdefault(one["check"], []).append(one)
    return found


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> dict[str, str]:
    """The settings of a service with a worker that lives."""
    folder = tmp_path_factory.mktemp("healthy") / "data"
    environ = {
        "VIDEOQUEUE_DATA_DIR": str(folder),
        "REDIS_URL": valkey_server,
        "VIDEOQUEUE_RESERVE_BYTES": "0",
        "VIDEOQUEUE_MAX_UPLOAD_BYTES": "1000",
        "VIDEOQUEUE_SWEEP_SECONDS": "3600",
    }
    migrate(environ)
    (folder / "objects").mkdir()
    engine = build_engine(load_settings(environ), pool_size=1)
    workers.heartbeat(engine, "host:1", 1)
    engine.dispose()
    return environ


def test_a_service_in_order_gets_one_line_for_each_check_and_is_left_as_it_was(
    healthy: dict[str, str],
) -> None:
    folder = Path(healthy["VIDEOQUEUE_DATA_DIR"])
    before = files_below(folder)
    with redis.Redis.from_url(healthy["REDIS_URL"]) as queue:
        queue.flushdb()
        done = doctor(healthy)
        assert queue.keys() == []
    *lines, empty, summary = done.stdout.splitlines()
    assert [re.split(r"\s{2,}", line, maxsplit=2)[1] for line in lines] == NAMES
    assert [line for line in lines if not line.startswith("ok ")] == []
    assert (empty, summary) == ("", f"{len(NAMES)} ok, 0 warning, 0 failed")
    assert (done.exit_code, done.stderr) == (0, "")
    assert files_below(folder) == before


def test_everything_broken_is_reported_without_a_password_and_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in place of the folder")
    environ = {
        "VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": f"postgresql://user:sesame%20open@127.0.0.1:{free_port()}/db",
        "REDIS_URL": f"redis://user:sesame@127.0.0.1:{free_port()}/0",
        "VIDEOQUEUE_STORAGE_URL": "s3://bucket/prefix",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "sesame-of-aws",
        "AWS_MAX_ATTEMPTS": "1",
        "VIDEOQUEUE_ADMIN_KEY": "sesame-is-too-short",
        "VIDEOQUEUE_SANDBOX": "off",
        "VIDEOQUEUE_SANDBOX_MEMORY_BYTES": str(100 * 1024**2),
        "VIDEOQUEUE_RESERVE_BYTES": str(2**60),
        "VIDEOQUEUE_DEFAULT_PIPELINE": "nonexistent",
        "VIDEOQUEUE_STORAGEURL": "s3://sesame",
        "VIDEOQUEUE_WEBHOOK_URL": f"http://127.0.0.1:{free_port()}/hook?token=sesame",
        "VIDEOQUEUE_WEBHOOK_SECRET": new_webhook_secret(),
        "PORT": "99999",
    }
    done = doctor(environ)
    assert (done.exit_code, done.stderr) == (1, "")
    assert "sesame" not in done.stdout
    assert "Traceback" not in done.stdout
    by_check = reported(environ)
    worst = {name: sorted(one["status"] for one in found)[0] for name, found in by_check.items()}
    assert worst == {
        **dict.fromkeys(NAMES, "failed"),
        **dict.fromkeys(("schema", "workers", "webhooks", "sandbox"), "warning"),
        "models": "ok",
    }
    assert {one["message"].partition(" ")[0] for one in by_check["settings"]} == {
        "PORT='99999'",
        "VIDEOQUEUE_ADMIN_KEY='...'",
        "VIDEOQUEUE_STORAGEURL",
    }
    assert all(one["remedy"] for found in by_check.values() for one in found if one["status"] != "ok")
    assert all(one["remedy"] in done.stdout for found in by_check.values() for one in found)


def test_a_check_is_left_out_if_its_own_setting_is_invalid(healthy: dict[str, str]) -> None:
    changes = {
        "DATABASE_URL": "mysql://u:sesame@h/d",
        "REDIS_URL": "x",
        "VIDEOQUEUE_STORAGE_URL": "ftp://h/d",
    }
    found = reported(healthy | changes)
    assert len(found["settings"]) == 3
    for name in ("database", "queue", "storage"):
        (one,) = found[name]
        assert one["status"] == "warning"
        assert one["message"].startswith("Not checked, because ")
    assert [one["status"] for name in ("disk", "memory", "models") for one in found[name]] == ["ok"] * 3


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Connections to it are made, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


def test_backends_that_say_nothing_are_findings_when_the_time_is_over(
    healthy: dict[str, str], silent_port: int
) -> None:
    host = f"127.0.0.1:{silent_port}"
    environ = healthy | {
        "DATABASE_URL": f"postgresql://user:sesame@{host}/db",
        "REDIS_URL": f"redis://:sesame@{host}/0",
        "VIDEOQUEUE_STORAGE_URL": "s3://bucket/prefix",
        "AWS_ENDPOINT_URL_S3": f"http://{host}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "sesame-of-aws",
    }
    found = reported(environ, "--timeout", "4")
    assert [found[name][0]["status"] for name in ("database", "queue", "storage")] == ["failed"] * 3
    assert found["storage"][0]["message"] == "There was no result within 4 seconds (--timeout)."
    assert "sesame" not in json.dumps(found)


def test_a_bug_of_one_check_is_a_finding_and_the_others_run() -> None:
    def broken(_: Examination) -> Iterator[Finding]:
        yield ok("first", "It is well.")
        raise RuntimeError("postgresql://user:sesame@host/ is bad")

    checks = [
        Check(("first", "second"), broken, "Do this.", "docs/index.md"),
        Check(("third",), lambda _: iter([ok("third", "It is well.")]), "", ""),
    ]
    first, second, third = run_checks(checks, Examination(load_settings({})))
    assert (first.status, second.status, third.status) == ("ok", "failed", "ok")
    assert (second.check, second.remedy) == ("second", "Do this.")
    assert "RuntimeError" in second.message
    assert "sesame" not in second.message


def test_a_wrong_option_is_a_usage_error() -> None:
    assert doctor({}, "--timeout", "0").exit_code == 2
    assert doctor({}, "--verbose").exit_code == 2


def test_a_text_of_a_server_cannot_forge_a_line() -> None:
    (line, *_) = as_text([failed("queue", "refused\nok      queue", "Do this.", "x")]).splitlines()
    assert line.startswith("failed  queue  refused")
    assert "ok      queue" in line


def test_every_page_that_a_finding_names_exists() -> None:
    sources = (ROOT / "videoqueue" / "cli" / "doctor").glob("*.py")
    named = {page for source in sources for page in re.findall(r'"(docs/[\w./#-]+)"', source.read_text())}
    assert len(named) > 8
    for page in named:
        file, _, anchor = page.partition("#")
        headings = re.findall(r"^#+ (.*)$", (ROOT / file).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, page
