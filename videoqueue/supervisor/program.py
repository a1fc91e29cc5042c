"""One program to keep running, and its process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from videoqueue.parent_death import tied_to_parent
from videoqueue.supervisor.guard import Guard, kill_group
from videoqueue.supervisor.output import Output

# From SIGKILL until the supervisor abandons a process; only one that hangs in the kernel takes longer.
_GROUP_END_SECONDS = 5.0


@dataclass(frozen=True)
class Program:
    """One program to keep running.

    Args:
        name: its name in the log.
        command: the command line.
        env: its whole environment.
        cwd: its working directory; by default the supervisor's.
        ready: returns within about a second, without raising, whether the program serves. The next program in
            the list is started only then. Without it, a program is ready as soon as it is started.
    """

    name: str
    command: list[str]
    env: Mapping[str, str]
    cwd: str | Path | None = None
    ready: Callable[[], bool] | None = None


class Child:
    """The process of one program, and the time of its next start."""

    def __init__(self, program: Program, guard: Guard, output: Output, backoff: tuple[float, float]) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self._guard, self._output = guard, output
        self._shortest, self._longest = backoff
        self._pause = self._shortest
        self._start_at = self._started_at = 0.0

    def keep_alive(self) -> None:
        """Starts the program when it is due; if it has ended, kills its group and plans the next start."""
        now = time.monotonic()
        if self.process and self.has_ended():
            ran = now - self._started_at
            self._plan_restart(self.reap(), self._shortest if ran >= self._longest else self._pause)
        elif not self.process and now >= self._start_at:
            self._start()

    def _plan_restart(self, ended: str, pause: float) -> None:
        self._output.note(f"{self.program.name} {ended}; starts again in {pause:g} s")
        self._start_at = time.monotonic() + pause
        self._pause = min(pause * 2, self._longest)

    def _start(self) -> None:
        try:
            self.process = subprocess.Popen(
                tied_to_parent(self.program.command),
                env=dict(self.program.env),
                cwd=self.program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            self._plan_restart(f"cannot be started ({error.strerror})", self._pause)
            return
        self._started_at = time.monotonic()
        self._guard.add(self.process.pid)
        assert self.process.stdout
        self._reader = self._output.follow(self.program.name, self.process.stdout)

    def is_ready(self) -> bool:
        """Returns whether the program runs and serves."""
        return self.process is not None and (self.program.ready is None or self.program.ready())

    def has_ended(self) -> bool:
        """Returns whether the leader has ended. It is not reaped here, so its pid cannot be reused yet."""
        assert self.process
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is not None

    def terminate_leader(self) -> None:
        """Sends SIGTERM to the leader only: a worker that receives it twice does not finish its job."""
        assert self.process
        with suppress(PermissionError):
            os.kill(self.process.pid, signal.SIGTERM)

    def reap(self) -> str:
        """Kills the group and waits for its end. Returns how the leader ended, for the log."""
        assert self.process
        kill_group(self.process.pid)
        try:
            code = self.process.wait(_GROUP_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._output.note(f"{self.program.name} (process {self.process.pid}) survives being killed")
            return "does not end"
        _await_group_end(self.process.pid)
        self._guard.remove(self.process.pid)
        self._reader.join(1)
        self.process = None
        return f"ended with exit code {code}" if code >= 0 else f"was ended by {_signal_name(-code)}"


def _await_group_end(group: int) -> None:
    deadline = time.monotonic() + _GROUP_END_SECONDS
    while _is_alive(group) and time.monotonic() < deadline:
        time.sleep(0.01)
    with suppress(ChildProcessError):  # as process 1 of a container, this process must reap the orphans
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def _is_alive(group: int) -> bool:
    """Returns whether a process of this group runs. Zombies do not count: they hold no port and no file."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _parent, found = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(found) == group and state not in "ZX":
                return True
    return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
