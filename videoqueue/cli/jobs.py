"""jobs: what operators do with jobs, directly on database and storage, whether the service runs or not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from videoqueue.errors import QueueUnavailableError, VideoqueueError
from videoqueue.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from videoqueue.jobs.store import JobStore
    from videoqueue.jobs.tables import Status
    from videoqueue.maintenance.retention import Retention
    from videoqueue.storage import ObjectStorage

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def jobs() -> None:
    """List, show, retry and purge jobs.

    Works directly on DATABASE_URL and VIDEOQUEUE_STORAGE_URL (or VIDEOQUEUE_DATA_DIR): give it the settings
    that the worker has.
    """


@jobs.command("list")
@click.option("--status", type=click.Choice(["pending", "running", "completed", "failed"]))
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@_as_json
def list_jobs(status: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs, newest first.

    \b
    videoqueue jobs list
    videoqueue jobs list --status failed --limit 100
    videoqueue jobs list --json | jq -r '.[].job_id'
    """
    from videoqueue.cli.job_view import described, table
    from videoqueue.jobs.queries import Overview

    with _database(load_settings()) as engine:
        overview = Overview(engine)
        now = overview.clock()
        rows = [described(row, now) for row in overview.latest(limit, cast("Status | None", status))]
    click.echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else table(rows))


@jobs.command()
@click.argument("job_id")
@_as_json
def show(job_id: str, as_json: bool) -> None:
    """Show everything about the job JOB_ID.

    \b
    videoqueue jobs show 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8
    """
    from videoqueue.cli.job_view import described, details
    from videoqueue.jobs.queries import Overview

    settings = load_settings()
    with _database(settings) as engine:
        row = _store(settings, engine).get(_parsed(job_id))
        if row is None:
            raise _unknown()
        overview = Overview(engine)
        job = described(row, overview.clock()) | {"frames_committed": overview.frames(row.job_id)}
    click.echo(json.dumps(job, indent=2, ensure_ascii=False) if as_json else details(job))


@jobs.command()
@click.argument("job_id")
def retry(job_id: str) -> None:
    """Make a new job from the video and parameters of the failed job JOB_ID, and print its id.

    The failed job stays as it is.

    \b
    videoqueue jobs retry 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8
    """
    settings = load_settings()
    storage = _storage(settings)
    with _database(settings) as engine:
        store = _store(settings, engine)
        row = store.get(_parsed(job_id))
        if row is None:
            raise _unknown()
        if row.status != "failed":
            raise VideoqueueError(f"This job is {row.status}: only a failed one can be tried again.")
        if not storage.exists(row.input_key):
            raise VideoqueueError("The video of this job is gone from the storage: submit it again.")
        again = store.retry(row.job_id)
        if again is None:
            raise _unknown()  # purged since
    click.echo(str(again))
    _announce(settings, again)


@jobs.command()
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    metavar="DAYS",
    help="Jobs that ended more than so many days ago. [default: VIDEOQUEUE_RETENTION_DAYS]",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def purge(older_than: int | None, dry_run: bool) -> None:
    """Remove ended jobs with their results and videos, and what killed uploads have left.

    Workers do the same once an hour. Pending and running jobs stay, whatever their age; uploads and videos
    without a job go when older than VIDEOQUEUE_ORPHAN_SECONDS.

    \b
    videoqueue jobs purge --dry-run
    videoqueue jobs purge --older-than 7
    """
    from videoqueue.maintenance.retention import Retention

    settings = load_settings()
    storage = _storage(settings)
    days = settings.retention_days or None if older_than is None else older_than
    if days is None:
        click.echo(
            "VIDEOQUEUE_RETENTION_DAYS is 0: no job is too old. Name an age with --older-than.", err=True
        )
    with _database(settings) as engine:
        (_preview if dry_run else _purge)(Retention(engine, storage), settings, days)


def _preview(retention: Retention, settings: Settings, days: int | None) -> None:
    count = 0 if days is None else retention.count_ended(days)
    orphans = sum(map(len, retention.orphans(settings.orphan_seconds, settings.sweep_rows)))
    click.echo(f"Would remove jobs: {count}, videos without a job: {orphans}")


def _purge(retention: Retention, settings: Settings, days: int | None) -> None:
    count = 0
    while days is not None and (removed := retention.remove_ended(days, settings.sweep_rows)):
        count += removed
    unfinished = retention.remove_unfinished(settings.orphan_seconds)
    orphans = retention.orphans(settings.orphan_seconds, settings.sweep_rows)
    videos = sum(retention.remove_orphans(keys) for keys in orphans)
    click.echo(f"Removed jobs: {count}, videos without a job: {videos}, unfinished uploads: {unfinished}")


@contextmanager
def _database(settings: Settings) -> Iterator[Engine]:
    """The database, which must be there and up to date: this command makes none."""
    import sqlalchemy as sa

    from videoqueue.jobs.database import engine_options, prepare, reading
    from videoqueue.jobs.tables import HEARTBEAT

    engine = sa.create_engine(settings.database_url, **engine_options(settings.database_url, 2))
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file is not None and not Path(file).is_file():
        raise VideoqueueError(
            "There is no database yet. Set DATABASE_URL or VIDEOQUEUE_DATA_DIR to what the worker has."
        )
    prepare(engine)
    try:
        with reading(engine) as connection:
            if not sa.inspect(connection).has_table(HEARTBEAT.name):
                raise VideoqueueError(
                    "The database has not the tables of this version. "
                    "Run `flask --app videoqueue.app db upgrade` first, as the Procfile's release does."
                )
        yield engine
    finally:
        engine.dispose()


def _storage(settings: Settings) -> ObjectStorage:
    from videoqueue.storage import open_storage

    settings.require_shared_storage()
    return open_storage(settings.storage_url, settings.data_path / "objects")


def _store(settings: Settings, engine: Engine) -> JobStore:
    from videoqueue.jobs.store import JobStore, LeasePolicy

    return JobStore(engine, LeasePolicy(announce_seconds=settings.announce_seconds))


def _announce(settings: Settings, job_id: uuid.UUID) -> None:
    from videoqueue.broker import announce, build_broker

    try:
        if not settings.redis_url:
            raise QueueUnavailableError("REDIS_URL is not set.")
        announce(build_broker(settings.redis_url, verify_tls=settings.redis_tls == "verify"), job_id)
    except QueueUnavailableError as error:
        seconds = settings.announce_seconds + settings.sweep_seconds
        click.echo(f"{error} A worker finds the job within {seconds:g} seconds.", err=True)


def _parsed(job_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(job_id)
    except ValueError:
        raise VideoqueueError(
            f"{job_id!r} is no job id. One looks like 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8; "
            "see `videoqueue jobs list`."
        ) from None


def _unknown() -> VideoqueueError:
    return VideoqueueError("There is no job with this id. See `videoqueue jobs list`.")
