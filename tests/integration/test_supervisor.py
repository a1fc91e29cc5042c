"""The supervisor with real child processes and real signals."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.stack import eventually
from videoqueue.errors import VideoqueueError
from videoqueue.supervisor.program import Program
from videoqueue.supervisor.supervisor import Supervisor

# Runs a supervisor in a process of its own, so that a test can send it signals.
HARNESS = """
import json, os, signal, sys
from videoqueue.supervisor.program import Program
from videoqueue.supervisor.supervisor import Supervisor
names, options, mode, hangup = json.loads(sys.argv[1])
signal.signal(signal.SIGHUP, getattr(signal, hangup))  # the tests themselves may have been started by nohup
programs = [Program(name, command, dict(os.environ)) for name, command in names]
supervisor = Supervisor(programs, sys.stdout, **options)
if mode == "run":
    code = supervisor.run(lambda: print("READY", flush=True))
    print("RETURNED", flush=True)
    sys.exit(code)
try:
    with supervisor.running():
        print("READY", flush=True)
        sys.stdin.read()
except KeyboardInterrupt:
    sys.exit("INTERRUPTED")
"""

FAST = {"backoff": (0.05, 0.4)}

Start = Callable[..., "Running"]


def is_alive(pid: int) -> bool:
    try:
        is_running: bool = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return is_running


def pids_in(file: Path) -> list[int]:
    """The process ids written to `file` so far, one complete line each."""
    if not file.exists():
        return []
    return [int(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def first_pid(file: Path) -> int:
    return int(eventually(lambda: pids_in(file))[0])


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def program(name: str, script: str, **options: Any) -> Program:
    return Program(name, shell(script), dict(os.environ), **options)


class Running:
    """A supervisor in a process of its own."""

    def __init__(
        self, scripts: dict[str, str], folder: Path, options: dict[str, Any], mode: str, hangup: str
    ) -> None:
        self.log = folder / "log"
        programs = [[name, shell(script)] for name, script in scripts.items()]
        arguments = json.dumps([programs, options, mode, hangup])
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HARNESS, arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return self.log.read_text()

    def await_ready(self) -> None:
        eventually(lambda: "READY" in self.text)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        return self.process.wait(20)

    def guard(self) -> psutil.Process | None:
        for child in psutil.Process(self.pid).children():
            with suppress(psutil.NoSuchProcess):
                if any(part.endswith("guard.py") for part in child.cmdline()):
                    return child
        return None


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a supervisor of shell scripts whose working directory is `tmp_path`."""
    running: list[Running] = []

    def run(scripts: dict[str, str], mode: str = "run", hangup: str = "SIG_DFL", **options: Any) -> Running:
        running.append(Running(scripts, tmp_path, FAST | options, mode, hangup))
        return running[-1]

    yield run
    for each in running:
        each.process.kill()
        each.process.communicate()


# A leader with a worker in its session, as gunicorn and Dramatiq are; both pids are written down.
FAMILY = "sleep 600 & echo $! >> {0}.worker; echo $$ >> {0}.leader; wait"


def family(name: str) -> str:
    return FAMILY.format(name)


def family_pids(folder: Path, *names: str) -> list[int]:
    return [first_pid(folder / f"{name}.{part}") for name in names for part in ("leader", "worker")]


def test_a_killed_program_is_started_again_while_the_others_keep_running(
    start: Start, tmp_path: Path
) -> None:
    running = start({"web": family("web"), "worker": family("worker")})
    web, _, worker, _ = family_pids(tmp_path, "web", "worker")

    os.kill(web, signal.SIGKILL)

    eventually(lambda: len(pids_in(tmp_path / "web.leader")) == 2)
    assert "up     | web was ended by SIGKILL; starts again in 0.05 s\n" in running.text
    assert is_alive(worker)
    assert pids_in(tmp_path / "worker.leader") == [worker]


def test_the_workers_of_a_killed_leader_are_gone_before_it_starts_again(start: Start, tmp_path: Path) -> None:
    start({"web": family("web")})
    leader, worker = family_pids(tmp_path, "web")

    os.kill(leader, signal.SIGKILL)

    eventually(lambda: len(pids_in(tmp_path / "web.leader")) == 2)
    assert not is_alive(worker)


def test_ended_programs_leave_no_zombies(start: Start, tmp_path: Path) -> None:
    running = start({"web": family("web"), "failing": "echo $$ >> failing; exit 1"})
    os.kill(family_pids(tmp_path, "web")[0], signal.SIGKILL)
    eventually(lambda: len(pids_in(tmp_path / "web.leader")) == 2 and len(pids_in(tmp_path / "failing")) > 2)

    def zombies() -> list[psutil.Process]:
        children = psutil.Process(running.pid).children(recursive=True)
        return [child for child in children if child.is_running() and child.status() == psutil.STATUS_ZOMBIE]

    eventually(lambda: not zombies())


def test_the_pause_before_a_restart_doubles_up_to_its_limit(start: Start) -> None:
    running = start({"web": "exit 3"}, backoff=(0.5, 2))

    eventually(lambda: running.text.count("starts again") >= 5)

    lines = [line for line in running.text.splitlines() if "starts again" in line][:5]
    assert lines == [
        f"up  | web ended with exit code 3; starts again in {pause} s" for pause in (0.5, 1, 2, 2, 2)
    ]


def test_the_pause_is_short_again_after_the_program_has_run_for_long(start: Start) -> None:
    running = start({"web": "echo >> runs; [ $(wc -l < runs) != 3 ] || sleep 2; exit 3"}, backoff=(0.1, 1.6))

    eventually(lambda: running.text.count("starts again") >= 4)

    pauses = [line.split()[-2] for line in running.text.splitlines() if "starts again" in line]
    assert pauses[:4] == ["0.1", "0.2", "0.1", "0.2"]


def test_kill_9_of_the_supervisor_leaves_no_process(start: Start, tmp_path: Path) -> None:
    running = start({"web": family("web"), "worker": family("worker")})
    pids = family_pids(tmp_path, "web", "worker")
    guard = eventually(running.guard)

    running.signal(signal.SIGKILL)

    running.exit_code()
    eventually(lambda: not any(map(is_alive, [*pids, guard.pid])))


def test_the_leaders_die_with_the_supervisor_even_when_the_guard_stands_still(
    start: Start, tmp_path: Path
) -> None:
    running = start({"web": family("web"), "worker": family("worker")})
    pids = family_pids(tmp_path, "web", "worker")
    guard = eventually(running.guard)
    guard.suspend()

    running.signal(signal.SIGKILL)

    running.exit_code()
    try:
        eventually(lambda: not any(map(is_alive, pids[::2])))
    finally:
        guard.resume()
    eventually(lambda: not any(map(is_alive, pids)))


def test_a_killed_guard_is_replaced_by_one_that_knows_the_running_programs(
    start: Start, tmp_path: Path
) -> None:
    running = start({"web": family("web")})
    pids = family_pids(tmp_path, "web")
    first = eventually(running.guard)
    first.kill()
    eventually(lambda: (guard := running.guard()) and guard.pid != first.pid)

    running.signal(signal.SIGKILL)

    running.exit_code()
    eventually(lambda: not any(map(is_alive, pids)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_and_is_a_success(start: Start, tmp_path: Path, number: int) -> None:
    running = start({"web": family("web"), "worker": family("worker")})
    pids = family_pids(tmp_path, "web", "worker")
    running.await_ready()

    running.signal(number)

    assert running.exit_code() == 0
    assert not any(map(is_alive, pids))
    assert running.text.splitlines()[-2:] == ["up     | stopping; Ctrl-C again stops at once", "RETURNED"]


def test_started_by_nohup_it_goes_on_when_the_terminal_is_closed(start: Start, tmp_path: Path) -> None:
    running = start({"web": family("web")}, hangup="SIG_IGN")
    web = family_pids(tmp_path, "web")[0]
    running.await_ready()

    running.signal(signal.SIGHUP)
    os.kill(web, signal.SIGKILL)

    eventually(lambda: len(pids_in(tmp_path / "web.leader")) == 2)
    assert "stopping" not in running.text


def test_two_interrupts_at_once_are_a_normal_stop(start: Start, tmp_path: Path) -> None:
    running = start({"web": "trap 'sleep 0.2; echo told; exit' TERM; " + family("web")})
    pids = family_pids(tmp_path, "web")

    running.signal(signal.SIGINT)
    eventually(lambda: "stopping" in running.text)
    running.signal(signal.SIGINT)

    assert running.exit_code() == 0
    assert not any(map(is_alive, pids))
    assert "web | told\n" in running.text
    assert "Traceback" not in running.text


def test_a_later_interrupt_kills_what_does_not_stop(start: Start, tmp_path: Path) -> None:
    running = start({"web": "trap '' TERM; " + family("web")}, stop_seconds=600)
    pids = family_pids(tmp_path, "web")

    def ended_by_interrupts() -> bool:
        running.signal(signal.SIGINT)
        return running.process.poll() is not None

    eventually(ended_by_interrupts)

    assert running.exit_code() == 0
    assert not any(map(is_alive, pids))
    assert "Traceback" not in running.text


def test_a_signal_during_the_start_stops_what_has_started(start: Start, tmp_path: Path) -> None:
    running = start({"web": "trap '' TERM; echo $$ >> web"}, stop_seconds=0.1)
    eventually(lambda: psutil.Process(running.pid).children())

    running.signal(signal.SIGTERM)

    assert running.exit_code() == 0
    assert not any(map(is_alive, pids_in(tmp_path / "web")))


def test_a_program_that_ignores_term_is_killed_after_the_stop_time(start: Start, tmp_path: Path) -> None:
    running = start({"web": "trap '' TERM; " + family("web"), "worker": family("worker")}, stop_seconds=0.5)
    pids = family_pids(tmp_path, "web", "worker")
    told_at = time.monotonic()

    running.signal(signal.SIGTERM)

    assert running.exit_code() == 0
    assert time.monotonic() - told_at > 0.5
    assert not any(map(is_alive, pids))
    assert "up     | web has not stopped in time and is killed\n" in running.text
    assert "worker has not stopped" not in running.text


def test_only_the_leader_gets_term(start: Start, tmp_path: Path) -> None:
    worker = (
        "trap 'echo TERM >> seen' TERM; trap 'echo USR1 >> seen; exit' USR1; echo $$ >> worker; "
        "while :; do sleep 0.02; done"
    )
    leader = f'sh -c "{worker}" & trap "kill -USR1 $!; wait; exit" TERM; wait'.replace("$$", "\\$\\$")
    running = start({"web": leader})
    first_pid(tmp_path / "worker")

    running.signal(signal.SIGTERM)

    assert running.exit_code() == 0
    assert (tmp_path / "seen").read_text() == "USR1\n"


def test_the_first_program_stops_only_after_the_others_have_ended(start: Start, tmp_path: Path) -> None:
    def slow(name: str) -> str:
        return (
            f"trap 'echo stopping; sleep 0.3; echo {name} ended >> order; exit' TERM; "
            f"echo $$ >> {name}.leader; "
            "while :; do sleep 0.02; done"
        )

    names = ["queue", "web", "worker"]
    running = start({name: slow(name) for name in names})
    for name in names:
        first_pid(tmp_path / f"{name}.leader")

    running.signal(signal.SIGTERM)

    assert running.exit_code() == 0
    stopping = [line.split()[0] for line in running.text.splitlines() if line.endswith("| stopping")]
    assert sorted(stopping[:2]) == ["web", "worker"]
    assert (tmp_path / "order").read_text().splitlines()[-1] == "queue ended"
    assert stopping[2] == "queue"


def test_ctrl_c_in_the_body_of_running_stops_everything(start: Start, tmp_path: Path) -> None:
    running = start({"web": family("web")}, mode="running")
    pids = family_pids(tmp_path, "web")
    running.await_ready()

    running.signal(signal.SIGINT)

    assert running.exit_code() == 1
    assert not any(map(is_alive, pids))
    assert running.text.endswith("INTERRUPTED\n")
    assert "Traceback" not in running.text


def test_term_in_the_body_of_running_stops_everything(start: Start, tmp_path: Path) -> None:
    running = start({"web": family("web")}, mode="running")
    pids = family_pids(tmp_path, "web")
    running.await_ready()

    running.signal(signal.SIGTERM)

    assert running.exit_code() == 128 + signal.SIGTERM
    assert not any(map(is_alive, pids))


def test_programs_are_kept_running_while_the_body_of_running_works(tmp_path: Path) -> None:
    web = program("web", family("web"), cwd=tmp_path)
    before = signal.getsignal(signal.SIGINT)

    with Supervisor([web], io.StringIO(), backoff=(0.05, 0.4)).running():
        os.kill(first_pid(tmp_path / "web.leader"), signal.SIGKILL)
        pids = eventually(lambda: len(found := pids_in(tmp_path / "web.worker")) == 2 and found)

    assert not any(map(is_alive, pids))
    assert signal.getsignal(signal.SIGINT) == before


def test_a_program_starts_when_the_one_before_it_is_ready(tmp_path: Path) -> None:
    seen: list[bool] = []

    def queue_ready() -> bool:
        seen.append((tmp_path / "web").exists())
        return len(seen) == 3

    queue = program("queue", "exec sleep 600", ready=queue_ready)
    web = program("web", "echo $$ > web; exec sleep 600", cwd=tmp_path)

    with Supervisor([queue, web], io.StringIO()).running():
        assert seen == [False, False, False]
        first_pid(tmp_path / "web")


def test_a_program_that_does_not_become_ready_ends_the_start(tmp_path: Path) -> None:
    queue = program("queue", family("queue"), cwd=tmp_path, ready=lambda: False)
    web = program("web", "touch web", cwd=tmp_path)
    supervisor = Supervisor([queue, web], io.StringIO(), ready_seconds=0.5)

    with (
        pytest.raises(VideoqueueError, match=r"^queue was not ready within 0\.5 s; stopping\.$"),
        supervisor.running(),
    ):
        pytest.fail("the body must not run")

    assert not any(map(is_alive, family_pids(tmp_path, "queue")))
    assert not (tmp_path / "web").exists()


def test_run_returns_a_failure_when_a_program_does_not_become_ready() -> None:
    queue = program("queue", "exec sleep 600", ready=lambda: False)

    code = Supervisor([queue], io.StringIO(), ready_seconds=0.1).run(lambda: pytest.fail("it is not ready"))

    assert code == 1


def test_an_error_in_the_ready_callback_stops_everything(tmp_path: Path) -> None:
    def fail() -> None:
        first_pid(tmp_path / "web.worker")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        Supervisor([program("web", family("web"), cwd=tmp_path)], io.StringIO()).run(fail)

    assert not any(map(is_alive, family_pids(tmp_path, "web")))


def test_a_program_that_cannot_be_started_does_not_stop_the_others(tmp_path: Path) -> None:
    lines: list[str] = []
    broken = program("broken", "true", cwd=tmp_path / "missing")
    web = program("web", family("web"), cwd=tmp_path)
    supervisor = Supervisor([web, broken], lines.append, backoff=(0.05, 0.4), ready_seconds=0.6)

    with pytest.raises(VideoqueueError, match="broken was not ready"), supervisor.running():
        pytest.fail("the body must not run")

    assert "up     | broken cannot be started (No such file or directory); starts again in 0.05 s" in lines
    assert pids_in(tmp_path / "web.leader") == [first_pid(tmp_path / "web.leader")]


def lines_of(script: str, tmp_path: Path, last: str) -> list[str]:
    """What the log gets from `web` running `script`, up to the line `last`."""
    lines: list[str] = []
    worker = program("worker", "exec sleep 600")
    with Supervisor([program("web", script, cwd=tmp_path), worker], lines.append).running():
        eventually(lambda: f"web    | {last}" in lines)
    found = [line for line in lines if line.startswith("web")]
    return found[: found.index(f"web    | {last}") + 1]


def test_each_line_is_prefixed_with_the_padded_name(tmp_path: Path) -> None:
    lines = lines_of("echo one; echo two >&2; echo; printf 'three\\r\\n'; exec sleep 600", tmp_path, "three")

    assert lines == ["web    | one", "web    | two", "web    | ", "web    | three"]


def test_a_line_written_in_pieces_stays_one_line(tmp_path: Path) -> None:
    # The pause between the pieces makes them separate reads, also in the middle of a character.
    script = "printf 'caf\\303'; sleep 0.1; printf '\\251 o'; sleep 0.1; printf 'pen\\nrest'"

    assert lines_of(script, tmp_path, "rest") == ["web    | café open", "web    | rest"]


def test_bytes_that_are_no_text_and_endless_lines_do_not_stop_the_log(tmp_path: Path) -> None:
    script = "printf '\\377\\n'; head -c 100000 /dev/zero | tr '\\0' x; echo; echo after; exec sleep 600"

    lines = lines_of(script, tmp_path, "after")

    assert lines[0] == "web    | \ufffd"
    assert "".join(line.removeprefix("web    | ") for line in lines[1:-1]) == "x" * 100_000
    assert lines[-1] == "web    | after"


def test_a_log_that_stands_still_does_not_stop_the_programs(tmp_path: Path) -> None:
    flowing = threading.Event()
    lines: list[str] = []

    def log(line: str) -> None:
        flowing.wait(20)
        lines.append(line)

    web = program("web", "seq 1 100000; touch done; exec sleep 600", cwd=tmp_path)
    with Supervisor([web], log).running():
        eventually((tmp_path / "done").exists)
        flowing.set()
        eventually(lambda: any("lines left out" in line for line in lines))

    assert lines[:2] == ["web | 1", "web | 2"]


def test_a_log_that_is_closed_does_not_stop_the_programs(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    web = program("web", "seq 1 100000; touch done; exec sleep 600", cwd=tmp_path)
    log = os.fdopen(writer, "w")

    with Supervisor([web], log).running():
        eventually((tmp_path / "done").exists)

    log.write("whatever is in the buffer, closing sends something")
    with pytest.raises(BrokenPipeError):
        log.close()


def test_the_log_file_gets_the_same_lines(tmp_path: Path) -> None:
    log = io.StringIO()
    with (tmp_path / "up.log").open("w") as log_file:
        web = program("web", "echo one; exec sleep 600")
        with Supervisor([web], log, log_file=log_file).running():
            eventually(lambda: "web | one\n" in log.getvalue())

    assert (tmp_path / "up.log").read_text() == log.getvalue()


def test_in_a_json_log_objects_get_the_programs_name_and_other_lines_become_objects(tmp_path: Path) -> None:
    script = r"""
printf '%s\n' '{"message": "a", "process": "child"}' '{"message": "b"}' '[1]' '{"message": "c"' plain
head -c 40000 /dev/zero | tr '\0' '"'; echo; echo last; exec sleep 600
"""
    log = io.StringIO()
    with Supervisor([program("web", script, cwd=tmp_path)], log, is_json=True).running():
        eventually(lambda: '"last"' in log.getvalue())
    objects = [json.loads(line) for line in log.getvalue().splitlines()]
    assert objects[:2] == [{"message": "a", "process": "child"}, {"process": "web", "message": "b"}]
    rest = [(found["process"], found["message"]) for found in objects[2:]]
    assert rest[:3] == [("web", "[1]"), ("web", '{"message": "c"'), ("web", "plain")]
    assert "".join(message for _, message in rest[3:-2]) == '"' * 40_000
    assert rest[-2:] == [("web", "last"), ("up", "stopping; Ctrl-C again stops at once")]
    assert all(found["time"].endswith("Z") and found["level"] == "INFO" for found in objects[2:])
