"""Keeps the service's programs running, as a platform would: whatever ends is started again at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.stack import ROOT, eventually
from videoqueue.parent_death import tied_to_parent

_TICK_SECONDS = 0.05
#: How long an orderly end may take; platforms kill after 30.
_END_SECONDS = 40


class Keeper:
    """Programs by name: each a command line for a shell and its environment, logging to `NAME.log`."""

    def __init__(self, programs: Mapping[str, tuple[str, Mapping[str, str]]], folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._log_starts: dict[str, int] = {}
        self._held: set[str] = set()
        self._stopping = threading.Event()
        # PR_SET_PDEATHSIG fires when the thread that started a process ends, so one thread starts them all.
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()
        eventually(lambda: len(self._running) == len(self._programs), "every program is started")

    def _keep(self) -> None:
        while not self._stopping.wait(_TICK_SECONDS):
            for name in self._programs:
                running = self._running.get(name)
                if name not in self._held and (running is None or running.poll() is not None):
                    self._start(name)

    def _start(self, name: str) -> None:
        command, environ = self._programs[name]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._log_starts[name] = log.tell()
            self._running[name] = subprocess.Popen(
                tied_to_parent(["bash", "-c", command]),
                env=dict(environ),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def leader(self, name: str) -> psutil.Process:
        return psutil.Process(self._running[name].pid)

    def hold(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends the program and does not start it again."""
        self._held.add(name)
        leader = self._running[name]
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, number)
        leader.wait(_END_SECONDS)

    def unhold(self, name: str) -> None:
        self._held.discard(name)
        eventually(lambda: self._running[name].poll() is None, f"{name} is started again")

    def log(self, name: str, *, since_start: bool = False) -> str:
        text = (self._folder / f"{name}.log").read_bytes()
        return text[self._log_starts[name] if since_start else 0 :].decode(errors="replace")

    def stop(self) -> None:
        """SIGTERM to every process of a program, as Heroku does; raises when one does not end by that.

        Programs in front of the web process in `programs`, which it needs, end after the others.
        """
        if self._thread.ident is None:
            return
        self._held.update(self._programs)
        names = list(self._programs)
        needed = names[: names.index("web")]
        try:
            self._end(names[len(needed) :])
            self._end(needed)
        finally:
            # The thread goes last, because the kernel kills with it what it has started.
            self._stopping.set()
            self._thread.join()

    def _end(self, names: Sequence[str]) -> None:
        alive = [leader for name in names if (leader := self._running[name]).poll() is None]
        for leader in alive:
            os.killpg(leader.pid, signal.SIGTERM)
        for leader in alive:
            leader.wait(_END_SECONDS)
