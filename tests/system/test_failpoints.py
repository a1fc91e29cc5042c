"""At every named step a process is killed, frozen or made to fail; nothing is lost, nothing left over."""

from __future__ import annotations

import time

import psutil
import pytest

from tests.chaos.bench import Bench, wake
from tests.chaos.catalogue import Submission
from tests.chaos.client import Submitted, new_key
from tests.chaos.service import WORKERS
from tests.support.stack import eventually
from videoqueue.failpoints import STEPS

#: A process is frozen in the middle of a write about once in ten times, and on a busy machine more often.
_TRIES = 30
#: For what takes long and is the same on each.
_ON_ONE_DATABASE = pytest.mark.parametrize("running", ["sqlite"], indirect=True)


#: Steps that not every job comes to; they have tests of their own.
_SPECIAL = ("purger.", "deletion.", "worker.segments_", "webhook.")


@pytest.mark.parametrize("step", [step for step in STEPS if not step.startswith(_SPECIAL)])
def test_a_process_killed_at_a_step_loses_nothing(bench: Bench, step: str) -> None:
    video, key = _submission_for(bench, step), new_key()
    if step == "web.duplicate_found":
        bench.submit(video, key)
    orders = [step, *_ORDERS_BEFORE.get(step, ())]
    for order in orders:
        bench.service.order(order, "kill")
    submitted = bench.submit(video, key)
    bench.await_obeyed(*orders)
    bench.assert_nothing_is_broken(submitted)


def test_a_process_killed_before_it_commits_the_end_of_a_job_counts_it_once(bench: Bench) -> None:
    """The web process passes the step for the submission, the worker for the claim and then for the end."""
    bench.service.order("job.counted", "kill @2")
    submitted = bench.submit(bench.catalogue.quick)
    bench.await_obeyed("job.counted")
    bench.assert_nothing_is_broken(submitted)
    way = bench.service.log.by_job()[submitted.accepted]
    assert [one.after for one in way] == ["pending", "running", "pending", "running", "completed"]


#: What else must die so that a process comes to the step at all.
_ORDERS_BEFORE = {
    "worker.released": ("child.first_frame_sent",),
    "sweeper.before_expire": ("worker.claimed",),
    "sweeper.expired": ("worker.claimed",),
    "sweeper.announcement_taken": ("worker.claimed",),
}


def _submission_for(bench: Bench, step: str) -> Submission:
    if step == "worker.failed":
        return next(one for one in bench.catalogue.hostile if one.name == "refusing")
    return bench.catalogue.quick


@pytest.mark.parametrize("step", ["web.row_committed", "worker.claimed", "worker.downloaded"])
def test_an_unexpected_error_at_a_step_loses_nothing(bench: Bench, step: str) -> None:
    bench.service.order(step, "raise")
    submitted = bench.submit(bench.catalogue.quick)
    bench.await_obeyed(step)
    bench.assert_nothing_is_broken(submitted)


@_ON_ONE_DATABASE
def test_a_child_that_died_between_two_jobs_is_no_crash_of_the_second(bench: Bench) -> None:
    """As when the kernel, short of memory, takes a child that waits: it is to be the first to go."""
    jobs = [bench.submit(bench.catalogue.quick) for _ in WORKERS]
    for one in jobs:
        bench.await_ended(one)
    for child in bench.service.children():
        child.kill()
    eventually(lambda: not bench.service.children(), "no child is left")
    jobs.append(bench.submit(bench.catalogue.quick))
    bench.assert_nothing_is_broken(*jobs)
    way = bench.service.log.by_job()[jobs[-1].accepted]
    assert [transition.after for transition in way] == ["pending", "running", "completed"]


@_ON_ONE_DATABASE
def test_a_child_that_freezes_is_ended_and_its_job_is_done(bench: Bench) -> None:
    bench.service.order("child.first_frame_sent", "stop")
    submitted = bench.submit(bench.catalogue.quick)
    bench.await_obeyed("child.first_frame_sent")
    bench.assert_nothing_is_broken(submitted)


@pytest.mark.parametrize(
    "step", ["worker.claimed", "worker.downloaded", "worker.chunk_committed", "worker.before_complete"]
)
def test_a_worker_that_wakes_up_past_its_lease_changes_nothing(bench: Bench, step: str) -> None:
    """Its successor is frozen in the middle of the same job, so that the row is there to be taken wrongly."""
    submitted, first, both = _freeze_two(bench, step)
    wake(first)
    # Its log tells when the first attempt is over; the lease of the second one ends meanwhile.
    eventually(lambda: _end_of_first_attempt(bench, submitted) is not None, "the first attempt is over")
    wake(both)
    bench.assert_nothing_is_broken(submitted)
    assert _end_of_first_attempt(bench, submitted) == "lost: another worker has it, or it was deleted"


def _freeze_two(bench: Bench, step: str) -> tuple[Submitted, list[psutil.Process], list[psutil.Process]]:
    """Freezes the first worker of a job at the step, and its second one later.

    Returns the job, the first worker, and both workers.
    """
    for _ in range(_TRIES):
        bench.service.order(step, "stop")
        submitted = bench.submit(bench.catalogue.quick)
        bench.await_obeyed(step)
        bench.service.order("worker.downloaded", "stop")
        first = eventually(lambda: bench.frozen(), "the first worker is frozen")
        if both := _await_second(bench, submitted):
            return submitted, first, both
        bench.service.withdraw_orders()
        wake(bench.frozen())
        bench.await_ended(submitted)
    pytest.fail(f"in {_TRIES} tries a process was frozen while it wrote, or the job was over before")


def _await_second(bench: Bench, submitted: Submitted) -> list[psutil.Process]:
    """The two frozen workers; none when the second was quicker than the order to freeze, or when another
    thread of one of them was just writing to SQLite, which has one lock for all."""

    def is_decided() -> bool:
        obeyed = bench.service.is_obeyed("worker.downloaded")
        return obeyed or bench.has_ended(submitted) or not bench.service.database.is_writable()

    eventually(is_decided, "the second worker has the job")
    if not bench.service.is_obeyed("worker.downloaded"):
        return []
    both = eventually(lambda: len(found := bench.frozen()) == 2 and found, "the second worker is frozen")
    return both if bench.service.database.is_writable() else []


def _end_of_first_attempt(bench: Bench, submitted: Submitted) -> str | None:
    """How the log says that it ended."""
    for name in WORKERS:
        for line in bench.service.keeper.log(name).splitlines():
            if f"[job_id={submitted.job_id} attempt=1] Job " in line and " seconds=" in line:
                return line.split("Job ", 1)[1].split(".", 1)[0]
    return None


def test_jobs_are_taken_while_the_queue_is_down_and_run_when_it_is_back(bench: Bench) -> None:
    with bench.service.without_queue():
        began = time.monotonic()
        submitted = [bench.submit(bench.catalogue.quick) for _ in range(3)]
        # A web process that waited for the queue would wait for a minute or for ever.
        assert time.monotonic() - began < 30
        assert [one.tries for one in submitted] == [1, 1, 1]
        assert {bench.client.status(one.accepted) for one in submitted} == {"pending"}
    bench.assert_nothing_is_broken(*submitted)


@_ON_ONE_DATABASE
def test_a_worker_ends_in_time_though_the_queue_is_away(bench: Bench) -> None:
    """Dramatiq would try for minutes to acknowledge the message of the job that it has done."""
    submitted = bench.submit(bench.catalogue.good[2])
    eventually(bench.service.database.jobs_under_way, "the job runs")
    with bench.service.without_queue():
        bench.await_ended(submitted)
        with bench.service.without(*WORKERS):
            pass  # each has ended by SIGTERM before the block begins
    bench.assert_nothing_is_broken(submitted)
