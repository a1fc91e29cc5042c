"""Whether a request is served now or rejected: the limits of a process, the backlog and the storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import request

from videoqueue.api.probe import Probe
from videoqueue.api.problems import ApiError
from videoqueue.errors import StorageUnavailableError
from videoqueue.jobs.quotas import check_quota
from videoqueue.server.concurrency import ConcurrencyLimit
from videoqueue.server.lanes import REFUSAL, limit_reached
from videoqueue.services import Services


class RequestLimit:
    """How many requests of one kind a process serves at once, so that threads remain for the others.

    Args:
        limit: the maximum number of requests.
        what: what they are, such as "uploads".
        setting: the name of the setting that holds the limit.
    """

    def __init__(self, limit: int, what: str, setting: str) -> None:
        self._limit = ConcurrencyLimit(limit)
        self._detail = limit_reached(f"{what} of one process", limit, setting)

    def acquire(self) -> Callable[[], None]:
        """Acquires a slot without waiting, in a request.

        Returns:
            A release function; calling it again has no effect.

        Raises:
            ApiError: `rate_limited`, if no slot is free, or the request waited in vain for a slot of the
                server.
        """
        if refusal := request.environ.get(REFUSAL):
            raise ApiError("rate_limited", refusal)
        release = self._limit.acquire()
        if release is None:
            raise ApiError("rate_limited", self._detail)
        return release

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Holds a slot for the block.

        Raises:
            ApiError: `rate_limited`, if no slot is free.
        """
        release = self.acquire()
        try:
            yield
        finally:
            release()


class Admission:
    """Decides, before a video is read, whether another job can be accepted."""

    def __init__(self, services: Services) -> None:
        self._settings = services.settings
        self._queries = services.queries
        self._engine, self._limits = services.engine, services.store.limits
        self._storage = Probe("storage", services.storage.check)

    def require(self, owner: str, idempotency_key: str | None, size: int) -> None:
        """Returns if a job can be stored and queued now.

        A repeated submission passes even if too many jobs are pending, because it makes no new job.

        Args:
            owner: the owner of the submission.
            idempotency_key: its key.
            size: the video has at least so many bytes.

        Raises:
            ApiError: `too_many_pending_jobs`.
            QuotaExceededError: a limit of the owner is reached. `JobStore.create` decides in the end.
            DatabaseUnavailableError, StorageUnavailableError, StorageFullError: a backend cannot be used, or
                did not respond within VIDEOQUEUE_BACKEND_TIMEOUT_SECONDS.
        """
        seconds = self._settings.backend_timeout_seconds
        storage = self._storage.ask()
        check_quota(self._engine, owner, self._limits, size, idempotency_key)
        self.require_backlog(owner, idempotency_key)
        try:
            storage.result(seconds)
        except TimeoutError:
            raise StorageUnavailableError(
                f"The storage for videos did not respond within {seconds:g} seconds "
                "(VIDEOQUEUE_BACKEND_TIMEOUT_SECONDS). Try again in a minute."
            ) from None

    def require_backlog(self, owner: str, idempotency_key: str | None) -> None:
        """Returns if another job may be pending.

        Raises:
            ApiError: `too_many_pending_jobs`.
            DatabaseUnavailableError: the database cannot be used.
        """
        limit = self._settings.max_pending_jobs
        if self._queries.is_backlog_full(limit, owner, idempotency_key):
            raise ApiError(
                "too_many_pending_jobs",
                f"The limit of pending jobs is {limit} (VIDEOQUEUE_MAX_PENDING_JOBS), and it is reached. Try "
                "again when some of them are completed, or ask for a higher limit or more workers.",
            )
