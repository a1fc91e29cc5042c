"""Named steps: every one has its place in the code, and an order is obeyed once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from videoqueue import failpoints
from videoqueue.errors import SettingsError
from videoqueue.failpoints import STEPS, InjectedError, failpoint
from videoqueue.settings import load_settings

PACKAGE = Path(failpoints.__file__).parent
STEP = "web.object_stored"


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Path]:
    """A folder of orders that this process obeys."""
    failpoints.arm(tmp_path)
    yield tmp_path
    failpoints.arm("")


def test_every_step_is_passed_at_one_place_and_every_place_is_registered() -> None:
    named = [
        name
        for module in PACKAGE.rglob("*.py")
        for name in re.findall(r"\bfailpoint\(\"([^\"]+)\"\)", module.read_text())
    ]
    assert sorted(named) == sorted(STEPS)


def test_without_a_folder_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / STEP).write_text("raise")
    failpoint(STEP)
    assert (tmp_path / STEP).exists()
    assert failpoints.armed() == ""


def test_an_order_is_obeyed_once(orders: Path) -> None:
    (orders / STEP).write_text("raise\n")
    with pytest.raises(InjectedError, match=re.escape(STEP)):
        failpoint(STEP)
    failpoint(STEP)
    assert [file.name for file in orders.iterdir()] == [f"{STEP}.fired"]


def test_an_order_may_wait_for_the_third_time(orders: Path) -> None:
    (orders / STEP).write_text("raise @3")
    failpoint(STEP)
    failpoint(STEP)
    with pytest.raises(InjectedError):
        failpoint(STEP)
    failpoint(STEP)


def test_another_step_does_not_obey(orders: Path) -> None:
    (orders / STEP).write_text("raise")
    failpoint("web.announced")
    assert (orders / STEP).exists()


@pytest.mark.parametrize(("action", "ended"), [("kill", signal.SIGKILL), ("stop", signal.SIGSTOP)])
def test_kill_and_stop_do_what_they_say(tmp_path: Path, action: str, ended: signal.Signals) -> None:
    (tmp_path / STEP).write_text(action)
    code = f"from videoqueue import failpoints as f; f.arm({str(tmp_path)!r}); f.failpoint({STEP!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert (os.WSTOPSIG(status) if os.WIFSTOPPED(status) else os.WTERMSIG(status)) == ended
    process.kill()
    process.returncode = 0 if os.WIFSIGNALED(status) else None
    process.wait()


@pytest.mark.parametrize(
    ("name", "order", "flaw"),
    [
        ("web.nowhere", "kill", "'web.nowhere' is no step"),
        (STEP, "dance", "asks for none of kill, stop, raise"),
    ],
)
def test_an_order_that_nobody_could_obey_stops_the_start(
    tmp_path: Path, name: str, order: str, flaw: str
) -> None:
    (tmp_path / name).write_text(order)
    with pytest.raises(SettingsError, match=flaw):
        load_settings({"VIDEOQUEUE_FAILPOINTS_DIR": str(tmp_path)})


def test_an_order_that_was_obeyed_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / f"{STEP}.fired").write_text("kill")
    (tmp_path / "web.announced").write_text("kill @2\n")
    assert load_settings({"VIDEOQUEUE_FAILPOINTS_DIR": str(tmp_path)}).failpoints_dir == str(tmp_path)
