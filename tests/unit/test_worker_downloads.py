"""What `run_job` does when the video cannot be downloaded, or is not the submitted one."""

import hashlib
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.full_disk import files_of_at_most, without_links
from tests.support.log_lines import LogLines
from tests.support.scripted_runs import (
    ITEMS,
    VIDEO,
    Run,
    Script,
    folder,
    job_id,
    results,
    row,
    run,
    store_video,
)
from videoqueue.jobs.tables import JobRow
from videoqueue.sandbox.protocol import Seen
from videoqueue.services import Services

__all__ = ["folder", "job_id", "run"]


def test_a_full_disk_is_told_tried_again_and_leaves_nothing(
    services: Services, folder: Path, job_id: uuid.UUID, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = services.storage.download

    def full(*arguments: Any) -> str:
        with files_of_at_most(len(VIDEO) - 1):
            return download(*arguments)

    without_links(monkeypatch)
    monkeypatch.setattr(services.storage, "download", full)
    assert run(Script())(job_id) == 5.0
    monkeypatch.undo()
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 1, 0)
    assert "disk of the worker is full" in (job.error_message or "")
    assert list(folder.iterdir()) == []
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).values(run_after=0))
    assert run(Script(*map(Seen, ITEMS)))(job_id) is None
    assert (row(services, job_id).status, results(services, job_id)) == ("completed", ITEMS)


@pytest.mark.parametrize("stored", [VIDEO[:-1], VIDEO + b"!", b"X" + VIDEO[1:], b""])
def test_a_video_that_is_not_the_submitted_one_is_no_result_but_tried_again(
    services: Services, folder: Path, job_id: uuid.UUID, run: Run, log_lines: LogLines, stored: bytes
) -> None:
    store_video(services, stored)
    script = Script(*map(Seen, ITEMS))
    assert run(script)(job_id) == 5.0
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes) == ("pending", 1, 0)
    assert "checksum differs" in (job.error_message or "")
    assert script.tasks == []
    assert list(folder.iterdir()) == []
    (line,) = log_lines.having("The stored video is not the one that was submitted.")
    assert f"bytes={len(stored)} of={len(VIDEO)}" in line
    assert f"expected={hashlib.sha256(VIDEO).hexdigest()}" in line


def test_a_video_that_is_right_again_is_processed(services: Services, job_id: uuid.UUID, run: Run) -> None:
    store_video(services, b"another")
    assert run(Script())(job_id) == 5.0
    store_video(services, VIDEO)
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).values(run_after=0))
    assert run(Script(*map(Seen, ITEMS)))(job_id) is None
    assert (row(services, job_id).status, results(services, job_id)) == ("completed", ITEMS)


def test_a_worker_that_stops_during_a_download_returns_its_job(
    services: Services, folder: Path, job_id: uuid.UUID, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()
    download = services.storage.download

    def stop(key: str, path: Path, check: Callable[[], None]) -> str:
        stopping.set()
        return download(key, path, check)

    monkeypatch.setattr(services.storage, "download", stop)
    script = Script(*map(Seen, ITEMS))
    assert run(script, stopping)(job_id) is not None
    job = row(services, job_id)
    assert (job.status, job.failures, job.crashes, script.tasks) == ("pending", 0, 0, [])
    assert list(folder.iterdir()) == []
