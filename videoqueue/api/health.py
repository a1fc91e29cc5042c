"""For supervisors and load balancers, outside the `video` blueprint."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from flask import Blueprint, Flask, current_app
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue

from videoqueue.api.probe import Probe
from videoqueue.api.problems import problem
from videoqueue.broker import queued
from videoqueue.errors import (
    DatabaseUnavailableError,
    QueueUnavailableError,
    StorageFullError,
    StorageUnavailableError,
)
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.types import Counts
from videoqueue.services import Services, services_of

blueprint = Blueprint("health", __name__)

_KEY = "videoqueue.readiness"
_NO_STORE = {"Cache-Control": "no-store"}

T = TypeVar("T")


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """200 as long as this process answers at all; it asks nothing of database, queue or storage."""
    return {"status": "ok"}, 200, _NO_STORE


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """503 without database or storage; 200 with `degraded` when jobs are accepted, but may have to wait."""
    return cast(Readiness, current_app.extensions[_KEY]).answer()


class Readiness:
    """Asks database, storage and queue at once, for at most VIDEOQUEUE_READY_SECONDS."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._seconds = settings.ready_seconds
        queries = JobQueries(services.store.engine)

        def counts() -> Counts:
            set_deadline(self._seconds)  # else a server that hangs would be waited for when it is long back
            return queries.counts(settings.worker_silence_seconds)

        self._database = Probe("readyz-database", counts)
        self._storage = Probe("readyz-storage", services.storage.check)
        self._queue = Probe("readyz-queue", lambda: queued(services.broker))

    def answer(self) -> ResponseReturnValue:
        deadline = time.monotonic() + self._seconds
        asked = (self._database.ask(), self._storage.ask(), self._queue.ask())
        counts: Counts | None = None
        away, degraded = [], []
        try:
            counts = _result(asked[0], deadline)
        except (DatabaseUnavailableError, TimeoutError):
            away.append("database")
        try:
            _result(asked[1], deadline)
        except StorageFullError:
            degraded.append("storage_full")
        except (StorageUnavailableError, TimeoutError):
            away.append("storage")
        try:
            _result(asked[2], deadline)
        except (QueueUnavailableError, TimeoutError):
            degraded.append("queue_unavailable")
        if away or counts is None:
            return problem(f"{away[0]}_unavailable", self._words(away))
        return _ready(counts, degraded)

    def _words(self, away: list[str]) -> str:
        verb = "does" if len(away) == 1 else "do"
        return (
            f"The {' and the '.join(away)} {verb} not answer within {self._seconds:g} seconds "
            "(VIDEOQUEUE_READY_SECONDS) or cannot be used. Look at the log, and at what they run on."
        )


def _result(answer: Future[T], deadline: float) -> T:
    return answer.result(max(0.0, deadline - time.monotonic()))


def _ready(counts: Counts, degraded: list[str]) -> ResponseReturnValue:
    if counts.workers == 0:
        degraded.append("no_live_worker")
    body: dict[str, Any] = {
        "status": "ready",
        "degraded": degraded,
        "workers": counts.workers,
        "pending": counts.pending,
        "oldest_pending_seconds": counts.oldest_pending_seconds,
    }
    return body, 200, _NO_STORE


@blueprint.record
def _install(state: BlueprintSetupState) -> None:
    state.app.extensions[_KEY] = Readiness(services_of(cast(Flask, state.app)))
