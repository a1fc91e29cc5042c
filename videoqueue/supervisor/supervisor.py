"""Keeps a list of programs running: starts them in order, restarts them when they end, stops them together.

It does not know what the programs are. Each is started as the leader of its own session, so that Ctrl-C
reaches only the supervisor, and each leader stops its own workers. If the supervisor is killed with SIGKILL,
the kernel kills the leaders (`videoqueue.parent_death`), and a guard process kills the rest.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from videoqueue.errors import VideoqueueError
from videoqueue.hardening import plain_environment
from videoqueue.supervisor.guard import Guard
from videoqueue.supervisor.output import Log, Output
from videoqueue.supervisor.program import Child, Program

_TICK_SECONDS = 0.05


class Supervisor:
    """Runs programs once, by `run` or `running`.

    Args:
        programs: started in this order; the first one is stopped last. log: receives every line that the
        programs print; a stream, or a callable that takes a line without its
            end. See `Output` for the form of the lines.
        stop_seconds: time between SIGTERM to each leader and SIGKILL to its whole group. backoff: seconds
        until the first restart of a program that has ended, and the maximum, up to which they
            double. They begin again with the first once the program has run for the maximum.
        ready_seconds: time for each program to become ready.
        log_file: receives the same as `log`.
        name: the supervisor's own name in the log.
        is_json: whether the log is JSON.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        log: Log,
        stop_seconds: float = 25.0,
        backoff: tuple[float, float] = (1.0, 30.0),
        *,
        ready_seconds: float = 60.0,
        log_file: TextIO | None = None,
        name: str = "up",
        is_json: bool = False,
    ) -> None:
        self._stop_seconds, self._ready_seconds = stop_seconds, ready_seconds
        self._output = Output(name, [program.name for program in programs], log, log_file, is_json)
        self._guard = Guard(plain_environment(os.environ))
        self._children = [Child(program, self._guard, self._output, backoff) for program in programs]
        # PR_SET_PDEATHSIG acts when the thread that started a child ends, so one thread starts all of them.
        self._thread = threading.Thread(target=self._supervise, name="supervisor")
        self._ready: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._failure = ""
        # Plain attributes: a signal handler must not acquire a lock that the interrupted code may hold.
        self._stopping = self._hurry = self._interrupts = False
        self._signalled_at: float | None = None

    def run(self, on_ready: Callable[[], object] | None = None) -> int:
        """Blocks until SIGINT, SIGTERM or SIGHUP. A second Ctrl-C kills the programs at once.

        Args:
            on_ready: called once, in the calling thread, when all programs are ready.

        Returns:
            The exit code for the process: 1 if a program was not ready within `ready_seconds`, else 0.
        """
        with self._started(interrupts=False) as ready:
            if ready and on_ready:
                on_ready()
            while self._thread.is_alive():
                self._thread.join(0.5)
        return 1 if self._failure else 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keeps the programs running during the body, and stops them at its end.

        In the body, Ctrl-C raises KeyboardInterrupt; SIGTERM and SIGHUP raise SystemExit.

        Raises:
            VideoqueueError: a program was not ready within `ready_seconds`. The body did not run.
        """
        with self._started(interrupts=True) as ready:
            if not ready:
                raise VideoqueueError(self._failure)
            yield

    @contextmanager
    def _started(self, interrupts: bool) -> Iterator[bool]:
        self._interrupts = interrupts
        before = {}
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if inherited, it hides how children end
            numbers = [signal.SIGINT, signal.SIGTERM]
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
                numbers.append(signal.SIGHUP)
            before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            self._thread.start()
            yield self._ready.get()
        finally:
            self._stopping = True
            while self._thread.is_alive():
                self._thread.join(0.5)
            for number, handler in before.items():
                # After a signal the process is ending, and further signals have no effect.
                signal.signal(number, handler if self._signalled_at is None else signal.SIG_IGN)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._stopping:
            self._stopping, self._signalled_at = True, now
            if self._interrupts:
                raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        elif number == signal.SIGINT and (self._signalled_at is None or now > self._signalled_at + 1):
            # The terminal and a wrapper may both send the same Ctrl-C: repeats within a second count as one.
            self._hurry = True

    def note(self, line: str) -> None:
        """Adds a line of the supervisor itself to the log."""
        self._output.note(line)

    def _supervise(self) -> None:
        self._failure = "The supervisor ended with an internal error."
        try:
            self._output.open()
            self._failure = self._watch()
            self._output.note(self._failure or "stopping; Ctrl-C again stops at once")
        finally:
            try:
                self._stop(self._children[1:][::-1])
                self._stop(self._children[:1])
            finally:
                self._guard.close()
                self._output.close()
                self._ready.put(False)

    def _watch(self) -> str:
        """Keeps the programs running until asked to stop. Returns the reason if it gave up, else ""."""
        started: list[Child] = []
        all_ready, deadline = False, 0.0
        while not self._stopping:
            self._guard.keep_alive()
            for child in started:
                child.keep_alive()
            if not all_ready and (not started or started[-1].is_ready()):
                if all_ready := len(started) == len(self._children):
                    self._ready.put(True)
                else:
                    started.append(self._children[len(started)])
                    deadline = time.monotonic() + self._ready_seconds
                    continue
            elif not all_ready and time.monotonic() > deadline:
                return f"{started[-1].program.name} was not ready within {self._ready_seconds:g} s; stopping."
            time.sleep(_TICK_SECONDS)
        return ""

    def _stop(self, children: list[Child]) -> None:
        """Stops these together; returns when all their processes have ended."""
        alive = [child for child in children if child.process]
        for child in alive:
            child.terminate_leader()
        kill_at = time.monotonic() + self._stop_seconds
        while alive:
            late = self._hurry or time.monotonic() > kill_at
            for child in alive[:]:
                ended = child.has_ended()
                if late and not ended:
                    self._output.note(f"{child.program.name} has not stopped in time and is killed")
                if late or ended:
                    child.reap()
                    alive.remove(child)
            time.sleep(_TICK_SECONDS if alive else 0)
