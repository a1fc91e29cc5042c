"""The composition root: makes the parts of the service from the settings.

The web application, the worker and `videoqueue jobs` get their parts here. Nothing in this module imports
Flask, so that a worker does not load the HTTP edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware
from sqlalchemy.engine import Engine

from videoqueue import failpoints
from videoqueue.broker import build_broker
from videoqueue.causes import cause_of
from videoqueue.errors import PipelineError, SettingsError
from videoqueue.hardening import make_private_database, make_private_folder
from videoqueue.jobs import deadline
from videoqueue.jobs.database import engine_options, prepare
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.segments import JobSegments
from videoqueue.jobs.store import JobStore, LeasePolicy
from videoqueue.jobs.types import OwnerLimits
from videoqueue.pipeline.definitions.definition import PipelineDefinition, load_definitions
from videoqueue.settings import Settings
from videoqueue.storage import ObjectStorage, open_storage
from videoqueue.storage.reserve import Reserve


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts of one process.

    Attributes:
        settings: the settings that the parts were made from.
        engine: the pool of database connections that `store`, `queries` and `results` share.
        store: writes jobs and their results.
        queries: reads jobs.
        results: reads the results of jobs.
        segments: makes and keeps the segments of jobs.
        storage: keeps the submitted videos.
        reserve: tells whether the disks have room for another video.
        broker: the queue, without actors and middleware.
        pipelines: the pipeline definitions by id.
    """

    settings: Settings
    engine: Engine
    store: JobStore
    queries: JobQueries
    results: ResultReader
    segments: JobSegments
    storage: ObjectStorage
    reserve: Reserve
    broker: RedisBroker
    pipelines: Mapping[str, PipelineDefinition]


def build(settings: Settings, *, pool_size: int) -> Services:
    """Makes every part. Connects to nothing and writes no file.

    Args:
        settings: where the backends are, and the limits.
        pool_size: the maximum number of database connections of this process.

    Returns:
        The parts, ready for use.

    Raises:
        SettingsError: a URL or a pipeline definition cannot be used.
    """
    engine = build_engine(settings, pool_size=pool_size)
    storage = build_storage(settings)
    results = ResultReader(engine)
    return Services(
        settings=settings,
        engine=engine,
        store=build_store(settings, engine),
        queries=JobQueries(engine),
        results=results,
        segments=JobSegments(engine, results),
        storage=storage,
        reserve=build_reserve(settings, storage.local_folder),
        broker=build_queue(settings),
        pipelines=load_pipelines(settings),
    )


def build_process(settings: Settings) -> Services:
    """Makes every part for a web or worker process, and prepares this host for it.

    Makes the data folder and the SQLite file if they do not exist, and closes both to other users.

    Returns:
        The parts, with VIDEOQUEUE_DATABASE_CONNECTIONS connections.

    Raises:
        SettingsError: a setting is missing or cannot be used, or a file or folder that a setting names. The
            message is one line.
    """
    settings.require_durable()
    failpoints.arm(settings.failpoints_dir)
    try:
        make_private_folder(settings.data_path)
        if settings.sqlite_file:
            make_private_database(settings.sqlite_file)
        return build(settings, pool_size=settings.database_connections)
    except OSError as error:
        raise SettingsError(
            f"A file or folder cannot be used: {cause_of(error)}. "
            "Look at VIDEOQUEUE_DATA_DIR and VIDEOQUEUE_PIPELINES_DIR."
        ) from error


def build_engine(settings: Settings, *, pool_size: int) -> Engine:
    """Returns an engine for DATABASE_URL with at most `pool_size` connections. Connects to nothing."""
    engine = sa.create_engine(settings.database_url, **engine_options(settings.database_url, pool_size))
    prepare(engine)
    deadline.install(engine)
    return engine


def build_store(settings: Settings, engine: Engine) -> JobStore:
    """Returns the store, with the lease policy and the limits of owners of the settings."""
    return JobStore(
        engine, LeasePolicy.of(settings), OwnerLimits.of(settings), webhooks=bool(settings.webhook_url)
    )


def build_storage(settings: Settings) -> ObjectStorage:
    """Returns the storage for videos. Touches nothing.

    Raises:
        SettingsError: VIDEOQUEUE_STORAGE_URL cannot be used.
    """
    return open_storage(settings.storage_url, settings.data_path / "objects", settings.reserve_bytes)


def build_reserve(settings: Settings, videos: Path | None) -> Reserve:
    """Returns the space that stays free on the volumes that hold videos, a SQLite file or the data folder.

    If videos and database are elsewhere, the data folder has only the copies that workers make.

    Args:
        settings: the settings.
        videos: the folder of the storage; None if videos are on no disk of this machine.
    """
    database = settings.sqlite_file
    others = [] if database is None else [database.parent]
    if others or videos is not None:
        others.append(settings.data_path)
    return Reserve(videos, others, settings.reserve_bytes)


def build_queue(settings: Settings, middleware: Sequence[Middleware] = ()) -> RedisBroker:
    """Returns the broker, with only the middleware given. Connects to nothing.

    Raises:
        SettingsError: REDIS_URL cannot be used.
    """
    return build_broker(settings.redis_url, middleware, verify_tls=settings.redis_tls == "verify")


def load_pipelines(settings: Settings) -> Mapping[str, PipelineDefinition]:
    """Returns the pipeline definitions by id.

    Raises:
        SettingsError: a definition, or VIDEOQUEUE_DEFAULT_PIPELINE, cannot be used.
    """
    folders = [Path(settings.pipelines_dir)] if settings.pipelines_dir else []
    try:
        pipelines = load_definitions(*folders)
    except PipelineError as error:
        raise SettingsError(str(error)) from None
    if settings.default_pipeline not in pipelines:
        raise SettingsError(
            f"VIDEOQUEUE_DEFAULT_PIPELINE={settings.default_pipeline!r} cannot be used: "
            f"it takes one of {', '.join(sorted(pipelines))}."
        )
    return pipelines
