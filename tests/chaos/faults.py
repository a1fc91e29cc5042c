"""Does the damage that `schedule` has planned, and notes whom it hit."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import sqlalchemy as sa

from tests.chaos.processes import child_of, is_child
from tests.chaos.schedule import Fault
from tests.chaos.service import ChaosService

_LOOK_SECONDS = 0.05
#: Longer than the lease that the harness sets, whatever the machine is busy with.
_FROZEN_SECONDS = 2.5
#: How long a lease may take to be taken back, and then the job to be claimed by another worker.
_SUCCESSION_SECONDS = 6.0
#: How long a trap waits for somebody to step in.
_TRAP_SECONDS = 5.0
#: How long it takes at most until a process that has stopped itself is seen to be stopped.
_SEEN_SECONDS = 0.5


@dataclass(frozen=True)
class Kill:
    """When which process was killed, and the jobs it was running; microseconds since 1970."""

    kind: str
    at: int
    jobs: tuple[uuid.UUID, ...]


@dataclass
class Damage:
    """What was really done: a fault that found nobody to hit is not counted."""

    kills: list[Kill] = field(default_factory=list)
    done: list[str] = field(default_factory=list)


class FaultInjector:
    """Each fault runs in a thread of its own, so that they overlap as planned."""

    def __init__(self, service: ChaosService) -> None:
        self._service = service
        self.damage = Damage()
        self._threads: list[threading.Thread] = []
        self._servers = {"kill valkey": threading.Lock(), "crash database": threading.Lock()}
        self._steps = threading.Lock()
        self._errors: list[BaseException] = []

    def run(self, plan: list[Fault]) -> None:
        """Follows the plan and returns when the last fault is over, everything mended."""
        began = time.monotonic()
        for fault in plan:
            time.sleep(max(0.0, began + fault.at - time.monotonic()))
            thread = threading.Thread(target=self._inject, args=(fault,), name=fault.kind, daemon=True)
            thread.start()
            self._threads.append(thread)
        for thread in self._threads:
            thread.join(60)
        self.mend()
        if self._errors:
            raise self._errors[0]

    def mend(self) -> None:
        """No worker stays frozen, no order stays open. A frozen child is for the worker to end."""
        self._service.withdraw_orders()
        for process in self._service.processes():
            if not is_child(process):
                _continue(process)

    def _inject(self, fault: Fault) -> None:
        try:
            if self._actions()[fault.kind](fault):
                self.damage.done.append(fault.kind)
        except psutil.NoSuchProcess:
            return  # somebody else killed it first
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            self._errors.append(error)

    def _actions(self) -> dict[str, Callable[[Fault], bool]]:
        service = self._service
        leader = service.keeper.leader
        return {
            "kill child": lambda fault: self._kill(fault, self._child(fault.where)),
            "kill worker": lambda fault: self._kill(fault, service.worker_process(fault.where)),
            "kill master": lambda fault: self._kill(fault, leader(fault.where)),
            "kill web worker": lambda fault: self._kill(fault, service.web_process()),
            "kill web master": lambda fault: self._kill(fault, leader("web")),
            "freeze child": self._freeze_child,
            "freeze worker": self._freeze_worker,
            "freeze at step": self._freeze_at_step,
            "flush queue": self._flush,
            "kill valkey": self._kill_valkey,
            "crash database": self._crash_database,
            "cut": self._cut,
            "down": self._down,
            "delay": self._delay,
            "eat replies": self._eat,
            "eat commit": self._eat_commit,
        }

    def _child(self, name: str) -> psutil.Process | None:
        worker = self._service.worker_process(name)
        return child_of(worker) if worker else None

    def _kill(self, fault: Fault, target: psutil.Process | None) -> bool:
        if target is None:
            return False
        jobs = self._jobs_of(target)
        target.kill()
        self._note(fault.kind, jobs)
        return True

    def _note(self, kind: str, jobs: tuple[uuid.UUID, ...] = ()) -> None:
        self.damage.kills.append(Kill(kind, time.time_ns() // 1000, jobs))

    def _jobs_of(self, target: psutil.Process) -> tuple[uuid.UUID, ...]:
        """The jobs under way in this process, the one above it and those below; none while nobody knows."""
        family = {target.pid, target.ppid(), *(process.pid for process in target.children())}
        try:
            under_way = self._service.database.jobs_under_way()
        except sa.exc.SQLAlchemyError:
            return ()
        return tuple(job_id for job_id, worker in under_way if worker in family)

    def _freeze_child(self, fault: Fault) -> bool:
        child = self._child(fault.where)
        if child is not None:
            child.suspend()
        return child is not None

    def _freeze_worker(self, fault: Fault) -> bool:
        worker = self._service.worker_process(fault.where)
        if worker is None:
            return False
        worker.suspend()
        time.sleep(_FROZEN_SECONDS + fault.seconds)
        _continue(worker)
        return True

    def _freeze_at_step(self, fault: Fault) -> bool:
        """A worker stops at the step and wakes up in the moment in which another one has taken its job."""
        with self._steps:
            before = {process.pid for process in self._frozen()}
            self._service.order(fault.where, "stop")
            obeyed = _within(_TRAP_SECONDS, lambda: self._service.is_obeyed(fault.where))
            self._service.withdraw_orders()
            # Whoever obeyed may be killed by another fault before it is seen to be frozen.
            _within(_SEEN_SECONDS, lambda: bool(self._newly_frozen(before)))
            for worker in self._newly_frozen(before):
                self._await_successor(worker)
                _continue(worker)
            return obeyed

    def _await_successor(self, worker: psutil.Process) -> None:
        """Waits until its jobs are no longer this worker's and another attempt has begun, if any does."""
        jobs = self._jobs_of(worker)
        if jobs and _within(_SUCCESSION_SECONDS, lambda: not self._jobs_of(worker)):
            _within(_SUCCESSION_SECONDS, lambda: any(self._is_running(job_id) for job_id in jobs))

    def _is_running(self, job_id: uuid.UUID) -> bool:
        try:
            return any(found == job_id for found, _ in self._service.database.jobs_under_way())
        except sa.exc.SQLAlchemyError:
            return False

    def _frozen(self) -> list[psutil.Process]:
        found = []
        for process in self._service.processes():
            with suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_STOPPED:
                    found.append(process)
        return found

    def _newly_frozen(self, before: set[int]) -> list[psutil.Process]:
        return [process for process in self._frozen() if process.pid not in before]

    def _flush(self, fault: Fault) -> bool:
        return self._service.valkey.flush()

    def _kill_valkey(self, fault: Fault) -> bool:
        with self._servers[fault.kind]:
            self._service.kill_queue()
            self._note(fault.kind)
            time.sleep(fault.seconds)
            self._service.start_queue()
        return True

    def _crash_database(self, fault: Fault) -> bool:
        assert self._service.postgres is not None
        with self._servers[fault.kind]:
            self._service.postgres.crash()
            self._note(fault.kind)
            time.sleep(fault.seconds)
            self._service.postgres.restart()
        return True

    def _cut(self, fault: Fault) -> bool:
        self._service.proxies[fault.where].cut()
        return True

    def _down(self, fault: Fault) -> bool:
        with self._service.proxies[fault.where].down():
            time.sleep(fault.seconds)
        return True

    def _delay(self, fault: Fault) -> bool:
        with self._service.proxies[fault.where].delayed(fault.seconds / 10):
            time.sleep(2 * fault.seconds)
        return True

    def _eat(self, fault: Fault) -> bool:
        with self._service.proxies[fault.where].eating_replies():
            time.sleep(fault.seconds)
        return True

    def _eat_commit(self, fault: Fault) -> bool:
        """The next transaction is committed, and nobody is told."""
        proxy = self._service.proxies["database"]
        proxy.eat_reply_to(b"COMMIT")
        try:
            return proxy.trapped.wait(_TRAP_SECONDS)
        finally:
            proxy.release()


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _continue(process: psutil.Process) -> None:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        os.kill(process.pid, signal.SIGCONT)
