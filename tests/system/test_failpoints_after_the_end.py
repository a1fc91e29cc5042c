"""A process is killed at a named step of what follows a job's end: segments, webhooks, deletions, purges."""

from __future__ import annotations

import uuid

import psutil
import pytest
import requests

from tests.chaos.bench import Bench
from tests.support.stack import eventually

_FORTY_DAYS = 40 * 86_400


@pytest.mark.parametrize(("step", "rows"), [("worker.segments_begun", 0), ("worker.segments_kept", 1)])
def test_segments_of_a_worker_killed_around_them_are_there_when_asked_for(
    bench: Bench, step: str, rows: int
) -> None:
    bench.service.order(step, "kill")
    submitted = bench.submit(bench.catalogue.large)
    bench.await_obeyed(step)
    assert bench.client.status(submitted.accepted) == "completed"
    kept = "SELECT version FROM job_segments WHERE job_id = :job_id"
    job_id = submitted.accepted
    given = job_id if bench.service.postgres else job_id.hex
    assert len(bench.service.database.rows(kept, job_id=given)) == rows
    address = f"{bench.service.url}/jobs/{submitted.accepted}/segments"
    assert requests.get(address, timeout=60).json()["truncated"] is False
    bench.assert_nothing_is_broken(submitted)


@pytest.mark.parametrize(("step", "arrivals"), [("webhook.taken", 1), ("webhook.sent", 2)])
def test_the_webhook_of_a_worker_killed_while_it_sends_is_sent_by_another(
    bench: Bench, step: str, arrivals: int
) -> None:
    bench.service.order(step, "kill")
    submitted = bench.submit(bench.catalogue.quick)
    bench.await_obeyed(step)
    bench.assert_nothing_is_broken(submitted)
    told = [one.status for one in bench.service.receiver.told if one.job_id == submitted.job_id]
    assert told == ["completed"] * arrivals


@pytest.mark.parametrize("step", ["purger.row_deleted", "deletion.video_deleted", "purger.object_deleted"])
def test_a_purge_killed_at_a_step_leaves_nothing_of_the_job(bench: Bench, step: str) -> None:
    submitted = bench.submit(bench.catalogue.quick)
    bench.await_ended(submitted)
    bench.service.order(step, "kill")
    bench.service.database.change(
        "UPDATE job SET finished_at = finished_at - :age", age=_FORTY_DAYS * 1_000_000
    )
    bench.await_obeyed(step)
    eventually(lambda: not bench.service.database.rows("SELECT job_id FROM job"), "every old job is gone")
    assert bench.oracle.broken([]) == []
    assert bench.service.storage.stored() == set()


def test_a_purge_killed_before_it_removes_an_orphan_does_so_later(bench: Bench) -> None:
    orphan, storage = f"inputs/{uuid.uuid4().hex}.mp4", bench.service.storage
    storage.put(orphan, b"left by a kill")
    bench.service.order("purger.orphan_found", "kill")
    storage.make_old(orphan)
    bench.await_obeyed("purger.orphan_found")
    eventually(lambda: orphan not in storage.stored(), "the orphan is gone")
    assert bench.oracle.broken([]) == []


@pytest.mark.parametrize("step", ["deletion.row_deleted", "deletion.video_deleted", "deletion.finished"])
def test_a_deletion_of_a_running_job_killed_at_a_step_leaves_nothing(bench: Bench, step: str) -> None:
    """The child is frozen in the middle of the job, so that only the lost lease can end it."""
    before = {child.pid for child in bench.service.children()}
    bench.service.order("child.first_frame_sent", "stop")
    submitted = bench.submit(bench.catalogue.quick)
    bench.await_obeyed("child.first_frame_sent")
    frozen = [child for child in bench.service.children() if child.status() == psutil.STATUS_STOPPED]
    assert len(frozen) == 1, before
    bench.service.order(step, "kill")
    address = f"{bench.service.url}/jobs/{submitted.accepted}"
    with pytest.raises(requests.RequestException):
        requests.delete(address, timeout=60)
    bench.await_obeyed(step)
    eventually(lambda: not frozen[0].is_running(), "the child is ended")
    eventually(bench.service.answers, "web answers")
    assert requests.delete(address, timeout=60).status_code == 404
    bench.service.run("videoqueue jobs purge")
    assert bench.service.database.rows("SELECT job_id FROM deleted_job") == []
    known = {key for (key,) in bench.service.database.rows("SELECT input_key FROM job")}
    assert bench.service.storage.stored() == known
    assert bench.oracle.broken([]) == []


@pytest.mark.parametrize("step", ["purger.deletion_found", "deletion.video_deleted"])
def test_a_purge_killed_while_it_finishes_a_deletion_does_so_later(bench: Bench, step: str) -> None:
    submitted = bench.submit(bench.catalogue.quick)
    bench.await_ended(submitted)
    bench.service.order("deletion.row_deleted", "kill")
    bench.service.order(step, "kill")
    with pytest.raises(requests.RequestException):
        requests.delete(f"{bench.service.url}/jobs/{submitted.accepted}", timeout=60)
    bench.await_obeyed("deletion.row_deleted", step)
    left = "SELECT job_id FROM deleted_job"
    eventually(lambda: not bench.service.database.rows(left), "the deletion is finished")
    known = {key for (key,) in bench.service.database.rows("SELECT input_key FROM job")}
    assert bench.service.storage.stored() == known
    assert bench.oracle.broken([]) == []
