"""`videoqueue jobs`, directly on database and storage."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from tests.support.records import new_job, stored
from videoqueue.broker import queued
from videoqueue.cli import cli
from videoqueue.errors import SettingsError, VideoqueueError
from videoqueue.jobs.deletion import Deletions
from videoqueue.jobs.tables import Base, JobRow
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.services import Services

Run = Callable[..., Result]


@pytest.fixture
def run(services: Services) -> Run:
    """The command with the settings of the test's service."""
    environ = {"VIDEOQUEUE_DATA_DIR": services.settings.data_dir, "REDIS_URL": services.settings.redis_url}

    def run(*arguments: str, **settings: str) -> Result:
        return CliRunner().invoke(
            cli, ["jobs", *arguments], env=environ | settings, catch_exceptions=False, color=False
        )

    return run


def submitted(services: Services) -> tuple[uuid.UUID, str]:
    key = f"inputs/{uuid.uuid4().hex}.mp4"
    with services.storage.open_writer(key) as writer:
        writer.write(b"a video")
        writer.commit()
    return services.store.create(new_job(b"a video", frame_stride=3, max_frames=9, input_key=key))[0], key


def failed(services: Services, why: str = "It ends early.") -> uuid.UUID:
    job_id, _ = submitted(services)
    claim = services.store.claim(job_id, "host:1")
    assert claim is not None
    services.store.checkpoint(claim, 0, b"a,b", [0, 3], 0.25)
    services.store.fail(claim, why)
    return job_id


def test_list_shows_the_newest_jobs_first_in_aligned_columns(run: Run, services: Services) -> None:
    first, second = submitted(services)[0], failed(services, "Line one\nand " + "long " * 30)
    done = run("list")
    assert done.exit_code == 0
    heading, *lines = done.stdout.splitlines()
    assert heading.split()[:3] == ["job_id", "status", "progress"]
    assert [line.split()[:2] for line in lines] == [[str(second), "failed"], [str(first), "pending"]]
    column = heading.index("error_message")
    assert lines[0][column:].startswith("Line one and long")
    assert lines[0].endswith("...")
    assert lines[1][column:] == "-"


def test_list_takes_a_status_and_a_limit(run: Run, services: Services) -> None:
    submitted(services)
    jobs = [str(failed(services)) for _ in range(3)]
    listed = json.loads(run("list", "--status", "failed", "--limit", "2", "--json").stdout)
    assert [job["job_id"] for job in listed] == [jobs[2], jobs[1]]
    assert run("list", "--status", "completed", "--json").stdout == "[]\n"


def test_show_tells_everything(run: Run, services: Services) -> None:
    job_id = failed(services)
    job = json.loads(run("show", str(job_id), "--json").stdout)
    assert job["created_at"].endswith("Z")
    told = {name: job[name] for name in ("status", "attempt", "worker", "frames_committed", "error_message")}
    assert told == {
        "status": "failed",
        "attempt": 1,
        "worker": "host:1",
        "frames_committed": 2,
        "error_message": "It ends early.",
    }
    lines = run("show", str(job_id)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(job)
    assert f"job_id{' ' * 14}{job_id}" in lines


def test_show_tells_what_was_found_out_about_the_video(run: Run, services: Services) -> None:
    video = VideoInfo(damaged_frames=3, width=640, height=360, fps=29.97, duration=4.5, codec="hevc")
    claim = services.store.claim(submitted(services)[0], "host:1")
    assert claim is not None
    claim = services.store.begin(claim, "a" * 64)
    services.store.complete(claim, "etag", video)
    job = json.loads(run("show", str(claim.job_id), "--json").stdout)
    assert {name: job[name] for name in vars(video)} == vars(video)
    assert job["pipeline_version"] == "a" * 64


def test_show_tells_how_long_a_running_job_is_still_leased(run: Run, services: Services) -> None:
    job_id, _ = submitted(services)
    services.store.claim(job_id, "host:1")
    job = json.loads(run("show", str(job_id), "--json").stdout)
    assert job["lease_seconds_left"] == pytest.approx(15, abs=5)
    assert job["worked_seconds"] >= 0


def test_every_column_is_shown_or_told_otherwise(run: Run, services: Services) -> None:
    job = json.loads(run("show", str(failed(services)), "--json").stdout)
    hidden = {
        "input_sha256",
        "idempotency_key",
        "results_etag",
        "lease_until",
        "claimed_at",
        "worked",
    }
    assert set(Base.metadata.tables["job"].columns.keys()) - hidden <= set(job)


def test_list_takes_an_owner_and_shows_the_names(run: Run, services: Services) -> None:
    jobs = {
        owner: services.store.create(new_job(owner=owner, name=f"of {owner or 'nobody'}"))[0]
        for owner in ("", "anna", "bert")
    }
    for owner, job_id in jobs.items():
        listed = json.loads(run("list", "--owner", owner, "--json").stdout)
        assert [(job["job_id"], job["owner"]) for job in listed] == [(str(job_id), owner)]
    assert len(json.loads(run("list", "--json").stdout)) == 3
    heading, line = run("list", "--owner", "anna").stdout.splitlines()
    assert line[heading.index("name") :].startswith("of anna")
    assert line[heading.index("owner") :].startswith("anna ")


@pytest.mark.parametrize("status", ["pending", "running", "failed"])
def test_delete_leaves_nothing_of_a_job_in_any_state(run: Run, services: Services, status: str) -> None:
    job_id = failed(services) if status == "failed" else submitted(services)[0]
    if status == "running":
        assert services.store.claim(job_id, "host:1") is not None
    key = stored(services.store, job_id).input_key
    assert run("delete", str(job_id)).stdout == f"Deleted {job_id}.\n"
    assert (services.store.get(job_id, ALL_OWNERS), services.storage.exists(key)) == (None, False)


def test_delete_goes_on_after_an_unknown_job_and_names_it(run: Run, services: Services) -> None:
    first, second = submitted(services)[0], submitted(services)[0]
    unknown = [uuid.uuid4(), uuid.uuid4()]
    with pytest.raises(VideoqueueError) as told:
        run("delete", *map(str, (first, unknown[0], second, unknown[1], first)))
    assert str(told.value).startswith(f"There is no job with these ids: {unknown[0]}, {unknown[1]}.")
    assert services.store.get(first, ALL_OWNERS) is services.store.get(second, ALL_OWNERS) is None


def test_purge_takes_an_owner_after_a_dry_run_that_removes_nothing(run: Run, services: Services) -> None:
    jobs = {}
    for owner in ("anna", "bert"):
        jobs[owner] = failed(services)
        with services.store.engine.begin() as connection:
            row = sa.update(JobRow).where(JobRow.job_id == jobs[owner])
            connection.execute(row.values(owner=owner, finished_at=1))
    of_anna = ("purge", "--owner", "anna", "--older-than", "0")
    assert run(*of_anna, "--dry-run").stdout == "Would remove jobs: 1, videos without a job: 0\n"
    assert services.store.get(jobs["anna"], ALL_OWNERS) is not None
    assert "Removed jobs: 1," in run(*of_anna).stdout
    assert services.store.get(jobs["anna"], ALL_OWNERS) is None
    assert services.store.get(jobs["bert"], ALL_OWNERS) is not None


def test_purge_finishes_interrupted_deletions_and_a_dry_run_counts_them(run: Run, services: Services) -> None:
    job_id, key = submitted(services)
    assert Deletions(services.engine, services.store.limits).delete(job_id, ALL_OWNERS) is not None
    assert run("purge", "--dry-run").stdout == "Would remove jobs: 0, videos without a job: 1\n"
    assert services.storage.exists(key)
    assert "videos without a job: 1," in run("purge").stdout
    assert not services.storage.exists(key)


def test_retry_makes_a_new_job_and_announces_it(run: Run, services: Services) -> None:
    job_id = failed(services)
    done = run("retry", str(job_id))
    assert (done.exit_code, done.stderr) == (0, "")
    again = stored(services.store, uuid.UUID(done.stdout.strip()))
    assert (again.status, again.frame_stride, again.max_frames) == ("pending", 3, 9)
    assert again.input_key == stored(services.store, job_id).input_key
    assert stored(services.store, job_id).status == "failed"
    assert queued(services.broker) == 1


def test_retry_without_a_queue_leaves_the_job_to_the_sweeper(run: Run, services: Services) -> None:
    done = run("retry", str(failed(services)), REDIS_URL="redis://127.0.0.1:1")
    assert stored(services.store, uuid.UUID(done.stdout.strip())).status == "pending"
    assert done.stderr.startswith("Redis cannot be reached (")
    assert done.stderr.endswith(" A worker will find the job within 15 seconds.\n")


def test_retry_takes_failed_jobs_only(run: Run, services: Services) -> None:
    job_id, _ = submitted(services)
    with pytest.raises(VideoqueueError, match=r"This job is pending\. Only a failed job can be retried"):
        run("retry", str(job_id))


def test_retry_needs_the_video(run: Run, services: Services) -> None:
    job_id = failed(services)
    services.storage.delete(stored(services.store, job_id).input_key)
    with pytest.raises(VideoqueueError, match="The video of this job is no longer in the storage"):
        run("retry", str(job_id))
    assert json.loads(run("list", "--status", "pending", "--json").stdout) == []


@pytest.mark.parametrize("command", ["show", "retry", "delete"])
def test_an_unknown_or_malformed_id_is_told(run: Run, command: str) -> None:
    job_id = str(uuid.uuid4())
    with pytest.raises(VideoqueueError, match=f"There is no job with this id: {job_id}"):
        run(command, job_id)
    with pytest.raises(VideoqueueError, match="'7' is not a job id"):
        run(command, "7")


def test_purge_removes_what_is_old_after_a_dry_run_that_does_not(run: Run, services: Services) -> None:
    old, young = failed(services), failed(services)
    waiting, _ = submitted(services)
    orphan = services.settings.data_path / "objects" / "inputs" / f"{'f' * 32}.mp4"
    orphan.write_bytes(b"x")
    os.utime(orphan, (1, 1))
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).where(JobRow.job_id == old).values(finished_at=1))
    assert run("purge", "--dry-run").stdout == "Would remove jobs: 1, videos without a job: 1\n"
    assert (services.store.get(old, ALL_OWNERS) is not None, orphan.exists()) == (True, True)
    assert run("purge").stdout == "Removed jobs: 1, videos without a job: 1, unfinished uploads: 0\n"
    assert (services.store.get(old, ALL_OWNERS), orphan.exists()) == (None, False)
    assert services.store.get(young, ALL_OWNERS) is not None
    assert "Removed jobs: 1," in run("purge", "--older-than", "0").stdout
    assert services.store.get(young, ALL_OWNERS) is None
    assert services.store.get(waiting, ALL_OWNERS) is not None


def test_purge_without_retention_says_so(run: Run, services: Services) -> None:
    job_id = failed(services)
    with services.store.engine.begin() as connection:
        connection.execute(sa.update(JobRow).values(finished_at=1))
    done = run("purge", VIDEOQUEUE_RETENTION_DAYS="0")
    assert done.stderr.startswith("VIDEOQUEUE_RETENTION_DAYS is 0")
    assert services.store.get(job_id, ALL_OWNERS) is not None


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(VideoqueueError, match="There is no database yet"):
        CliRunner().invoke(
            cli, ["jobs", "list"], env={"VIDEOQUEUE_DATA_DIR": str(tmp_path)}, catch_exceptions=False
        )
    assert list(tmp_path.iterdir()) == []


def test_tables_of_an_earlier_version_are_told(empty_database_url: str) -> None:
    engine = sa.create_engine(empty_database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE job (job_id INTEGER)"))
    engine.dispose()
    with pytest.raises(VideoqueueError, match="does not have the tables of this version"):
        CliRunner().invoke(
            cli, ["jobs", "list"], env={"DATABASE_URL": empty_database_url}, catch_exceptions=False
        )


@pytest.mark.parametrize("command", [["purge"], ["retry", "x"], ["delete", "x"]])
def test_a_shared_database_beside_a_local_folder_is_refused(command: list[str]) -> None:
    with pytest.raises(SettingsError, match="VIDEOQUEUE_STORAGE_URL is not set"):
        CliRunner().invoke(
            cli, ["jobs", *command], env={"DATABASE_URL": "postgresql://h/d"}, catch_exceptions=False
        )


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["delete"], ["retry"], ["purge"]])
def test_each_command_explains_itself_with_an_example(command: list[str]) -> None:
    shown = CliRunner().invoke(cli, ["jobs", *command, "--help"])
    assert shown.exit_code == 0
    if command:
        assert f"videoqueue jobs {command[0]}" in shown.output
