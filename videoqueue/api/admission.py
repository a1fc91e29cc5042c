"""Whether another video can be taken in, found out before its body is read."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask

from videoqueue.api.probe import Probe
from videoqueue.api.problems import ApiError
from videoqueue.errors import StorageUnavailableError
from videoqueue.jobs.queries import JobQueries
from videoqueue.services import Services
from videoqueue.settings import Settings

_KEY = "videoqueue.gate"


@dataclass(frozen=True)
class _Gate:
    queries: JobQueries
    storage: Probe[None]


def install(app: Flask, services: Services) -> None:
    app.extensions[_KEY] = _Gate(
        JobQueries(services.store.engine),
        Probe("storage", services.storage.check),
    )


def admit(app: Flask, services: Services, idempotency_key: str | None) -> None:
    """Returns when a job could be stored and queued now.

    Raises:
        ApiError: `too_many_pending_jobs`; a repeated submission is let through, to be told its job.
        DatabaseUnavailableError, StorageUnavailableError, StorageFullError: found out in bounded time.
    """
    gate: _Gate = app.extensions[_KEY]
    storage = gate.storage.ask()
    if gate.queries.is_backlog_full(services.settings.max_pending_jobs, idempotency_key):
        raise ApiError("too_many_pending_jobs", _full(services.settings))
    try:
        storage.result(services.settings.backend_timeout_seconds)
    except TimeoutError:
        raise StorageUnavailableError(
            "The storage for videos does not answer within "
            f"{services.settings.backend_timeout_seconds:g} seconds (VIDEOQUEUE_BACKEND_TIMEOUT_SECONDS). "
            "Try again in a minute."
        ) from None


def _full(settings: Settings) -> str:
    return (
        f"{settings.max_pending_jobs} jobs are waiting already (VIDEOQUEUE_MAX_PENDING_JOBS). Try again when "
        "some of them are done, or have the limit raised or workers added."
    )
