"""Keeps a list of programs running: starts them in order, restarts them when they die, stops them together.

It knows nothing of what the programs are. Each child leads a session of its own, so that Ctrl-C reaches only
the supervisor and every leader stops its own workers. Two ties end the children with the supervisor, even
when that is killed with -9: the kernel kills the leaders (`videoqueue.parent_death`), a guard process kills
the rest.
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
    """Runs `programs` once, by `run` or `running`. They start in the order given; the first one stops last.

    `log` gets every line the programs print, as "name | line": a stream, or a callable that takes the line
    without its end. `log_file` gets the same. A program that dies is restarted after `backoff[0]` seconds,
    doubling up to `backoff[1]`, and back to the first once it has run that long. On stop each leader gets
    SIGTERM and has `stop_seconds`; then its whole group gets SIGKILL.
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
    ) -> None:
        self._stop_seconds, self._ready_seconds = stop_seconds, ready_seconds
        self._output = Output(name, [program.name for program in programs], log, log_file)
        self._guard = Guard(plain_environment(os.environ))
        self._children = [Child(program, self._guard, self._output, backoff) for program in programs]
        # PR_SET_PDEATHSIG fires when the thread that started a child ends, so one thread starts all of them.
        self._thread = threading.Thread(target=self._supervise, name="supervisor")
        self._ready: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._failure = ""
        # Plain attributes, because a signal handler must not take a lock that the interrupted code may hold.
        self._stopping = self._hurry = self._interrupts = False
        self._signalled_at: float | None = None

    def run(self, on_ready: Callable[[], object] | None = None) -> int:
        """Blocks until SIGINT, SIGTERM or SIGHUP, and returns the exit code for the process.

        `on_ready` is called once, in the calling thread, when all programs are ready. When one is not ready
        within `ready_seconds`, everything is stopped and the code is 1. A second Ctrl-C stops at once.
        """
        with self._started(interrupts=False) as ready:
            if ready and on_ready:
                on_ready()
            while self._thread.is_alive():
                self._thread.join(0.5)
        return 1 if self._failure else 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Runs the body while the programs are kept running; stops them when it ends.

        Ctrl-C raises KeyboardInterrupt in the body, SIGTERM and SIGHUP raise SystemExit.

        Raises:
            VideoqueueError: a program was not ready within `ready_seconds`; the body did not run.
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
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited, it would hide how children end
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
                # A process that was told to end has nothing left that another Ctrl-C could interrupt.
                signal.signal(number, handler if self._signalled_at is None else signal.SIG_IGN)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._stopping:
            self._stopping, self._signalled_at = True, now
            if self._interrupts:
                raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        elif number == signal.SIGINT and (self._signalled_at is None or now > self._signalled_at + 1):
            # Wrappers forward the Ctrl-C that the terminal sends too: repeats within a second count as one.
            self._hurry = True

    def _supervise(self) -> None:
        self._failure = "The supervisor ended by an error of its own."
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
        """Keeps the programs running until asked to stop; returns why it gave up, if it did."""
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
        """Stops these together and returns when nothing is left of them."""
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
