"""jobs: list, show, delete, retry and purge jobs, in database and storage. The service need not run."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import click

from videoqueue.cli.database import opened_database
from videoqueue.cli.option_types import OwnerName, Text, Whole
from videoqueue.cli.wording import counted
from videoqueue.errors import QueueUnavailableError, VideoqueueError
from videoqueue.jobs.types import ALL_OWNERS, STATUSES, OwnerLimits, OwnerScope, Status
from videoqueue.settings import Settings, load_settings
from videoqueue.settings.values import MAX_DAYS

if TYPE_CHECKING:
    from videoqueue.maintenance.retention import Retention
    from videoqueue.storage import ObjectStorage

_owner = click.option(
    "--owner",
    type=OwnerName(allows_nobody=True),
    metavar="NAME",
    help="Only jobs of this owner; '' for those of nobody.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def jobs() -> None:
    """List, show, delete, retry and purge jobs.

    The commands use DATABASE_URL and VIDEOQUEUE_STORAGE_URL, or VIDEOQUEUE_DATA_DIR. Set them as for the
    worker.
    """


@jobs.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="List only jobs in this state.")
@click.option(
    "--limit", type=Whole(1, 1_000_000_000), default=20, show_default=True, help="Maximum number of jobs."
)
@_owner
@_as_json
def list_jobs(status: Status | None, limit: int, owner: str | None, as_json: bool) -> None:
    """List the newest jobs, newest first.

    \b
    videoqueue jobs list
    videoqueue jobs list --status failed --limit 100
    videoqueue jobs list --owner anna
    videoqueue jobs list --json | jq -r '.[].job_id'
    """
    from videoqueue.cli.job_view import described, table
    from videoqueue.jobs.queries import JobQueries

    with opened_database(load_settings()) as engine:
        queries = JobQueries(engine)
        now = queries.clock()
        rows = [described(job, now) for job in queries.latest(_scope(owner), limit, status)]
    click.echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else table(rows))


@jobs.command()
@click.argument("job_id", type=Text())
@_as_json
def show(job_id: str, as_json: bool) -> None:
    """Show all details of the job JOB_ID.

    \b
    videoqueue jobs show 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8
    """
    from videoqueue.cli.job_view import described, details
    from videoqueue.jobs.queries import JobQueries
    from videoqueue.services import build_store

    settings = load_settings()
    with opened_database(settings) as engine:
        job = build_store(settings, engine).get(parsed_id(job_id), ALL_OWNERS)
        if job is None:
            raise _unknown(job_id)
        queries = JobQueries(engine)
        shown = described(job, queries.clock()) | {"frames_committed": queries.frames(job.job_id, ALL_OWNERS)}
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False) if as_json else details(shown))


@jobs.command()
@click.argument("job_ids", nargs=-1, type=Text(), required=True, metavar="JOB_ID...")
def delete(job_ids: tuple[str, ...]) -> None:
    """Delete jobs in any state, with their results and videos.

    A worker that processes such a job stops within VIDEOQUEUE_RENEW_SECONDS. If there is no job with one of
    the ids, the others are deleted, and the exit code is 1.

    \b
    videoqueue jobs delete 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8
    """
    from videoqueue.maintenance.next_job import announce_next
    from videoqueue.maintenance.removal import Remover
    from videoqueue.services import build_queue, build_store

    settings = load_settings()
    storage = _storage(settings)
    wanted = list(dict.fromkeys(map(parsed_id, job_ids)))
    unknown = []
    with opened_database(settings) as engine:
        remover = Remover(engine, storage, OwnerLimits.of(settings))
        for job_id in wanted:
            if (deleted := remover.delete(job_id, ALL_OWNERS)) is None:
                unknown.append(str(job_id))
                continue
            click.echo(f"Deleted {job_id}.")
            # Without a queue, the worker of the deleted job announces the next one.
            if deleted.next_of is not None and settings.redis_url:
                announce_next(build_store(settings, engine), build_queue(settings), deleted.next_of)
    if unknown:
        raise _unknown(*unknown)


@jobs.command()
@click.argument("job_id", type=Text())
def retry(job_id: str) -> None:
    """Create a new job from the video and parameters of the failed job JOB_ID, and print its id.

    The failed job does not change.

    \b
    videoqueue jobs retry 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8
    """
    from videoqueue.services import build_store

    settings = load_settings()
    storage = _storage(settings)
    with opened_database(settings) as engine:
        store = build_store(settings, engine)
        job = store.get(parsed_id(job_id), ALL_OWNERS)
        if job is None:
            raise _unknown(job_id)
        if job.status != "failed":
            raise VideoqueueError(f"This job is {job.status}. Only a failed job can be retried.")
        if not storage.exists(job.input_key):
            raise VideoqueueError("The video of this job is no longer in the storage. Submit it again.")
        again = store.retry(job.job_id, ALL_OWNERS)
        if again is None:
            raise _unknown(job_id)  # it was purged in the meantime
    click.echo(str(again))
    _announce(settings, again)


@jobs.command()
@click.option(
    "--older-than",
    type=Whole(0, MAX_DAYS),
    metavar="DAYS",
    help="Minimum age of the jobs since their end. [default: VIDEOQUEUE_RETENTION_DAYS]",
)
@_owner
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
def purge(older_than: int | None, owner: str | None, dry_run: bool) -> None:
    """Remove old jobs with their results and videos, and old uploads without a job.

    Workers do the same once an hour. Pending and running jobs are never removed. Unfinished uploads, and
    videos without a job, are removed when they are older than VIDEOQUEUE_ORPHAN_SECONDS.

    \b
    videoqueue jobs purge --dry-run
    videoqueue jobs purge --older-than 7
    videoqueue jobs purge --owner anna --older-than 0
    """
    from videoqueue.maintenance.retention import Retention
    from videoqueue.services import build_store

    settings = load_settings()
    storage = _storage(settings)
    days = settings.retention_days or None if older_than is None else older_than
    if days is None:
        click.echo(
            "VIDEOQUEUE_RETENTION_DAYS is 0: jobs are kept forever. Set an age with --older-than.", err=True
        )
    with opened_database(settings) as engine:
        retention = Retention(build_store(settings, engine), storage)
        (_preview if dry_run else _purge)(retention, settings, _scope(owner), days)


def _preview(retention: Retention, settings: Settings, owner: OwnerScope, days: int | None) -> None:
    count = 0 if days is None else retention.count_ended(owner, days)
    orphans = set(retention.unfinished_deletions())
    orphans.update(*retention.orphans(settings.orphan_seconds, settings.sweep_rows))
    click.echo(f"Would remove jobs: {count}, videos without a job: {len(orphans)}")


def _purge(retention: Retention, settings: Settings, owner: OwnerScope, days: int | None) -> None:
    from videoqueue.maintenance.retention import Removed

    removed = sum(retention.round(owner, days, settings.orphan_seconds, settings.sweep_rows), start=Removed())
    click.echo(
        f"Removed jobs: {removed.jobs}, videos without a job: {removed.videos}, "
        f"unfinished uploads: {removed.uploads}"
    )


def _scope(owner: str | None) -> OwnerScope:
    return ALL_OWNERS if owner is None else owner


def _storage(settings: Settings) -> ObjectStorage:
    from videoqueue.services import build_storage

    settings.require_shared_storage()
    return build_storage(settings)


def _announce(settings: Settings, job_id: uuid.UUID) -> None:
    from videoqueue.broker import announce
    from videoqueue.services import build_queue

    try:
        if not settings.redis_url:
            raise QueueUnavailableError("REDIS_URL is not set.")
        announce(build_queue(settings), job_id)
    except QueueUnavailableError as error:
        seconds = settings.announce_seconds + settings.sweep_seconds
        click.echo(f"{error} A worker will find the job within {counted(seconds, 'second')}.", err=True)


def parsed_id(job_id: str) -> uuid.UUID:
    """Returns the id of a job. Raises VideoqueueError if the text is none."""
    try:
        return uuid.UUID(job_id)
    except ValueError:
        raise VideoqueueError(
            f"{job_id!r} is not a job id. A job id looks like 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8. "
            "`videoqueue jobs list` prints the ids."
        ) from None


def _unknown(*job_ids: str) -> VideoqueueError:
    which = "this id" if len(job_ids) == 1 else "these ids"
    return VideoqueueError(
        f"There is no job with {which}: {', '.join(job_ids)}. `videoqueue jobs list` prints the ids."
    )
