"""Removes what is old, in a thread beside the sweeper's: a storage that hangs must not keep jobs from rescue.

One thread in every worker process; doubled work does no harm.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

from videoqueue.maintenance.periodic import Periodic
from videoqueue.maintenance.retention import Retention
from videoqueue.settings import Settings

logger = logging.getLogger(__name__)


class Purger:
    def __init__(self, retention: Retention, settings: Settings) -> None:
        self._retention = retention
        self._settings = settings
        self._round: Iterator[tuple[int, int]] | None = None
        # Soon after the start, so that workers that are restarted often get to it, but not all at once.
        first = settings.purge_seconds * random.uniform(0, 0.1)  # noqa: S311
        self._periodic = Periodic(
            "purger", self._pass, pause=settings.purge_seconds, first=first, retry=settings.retry_seconds
        )

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def purge(self) -> bool:
        """One bounded pass; answers whether this round goes on in another.

        Raises:
            DatabaseUnavailableError, StorageUnavailableError: a new round begins next time.
        """
        current, self._round = self._round or self._passes(), None
        found = next(current, None)
        if found is None:
            return False
        jobs, videos = found
        if jobs or videos:
            logger.info("Removed what is old. jobs=%d videos_without_job=%d", jobs, videos)
        self._round = current
        return True

    def _passes(self) -> Iterator[tuple[int, int]]:
        """A round in bounded steps: what each removed, jobs and videos without a job."""
        settings, retention = self._settings, self._retention
        rows = settings.sweep_rows
        if settings.retention_days:
            while removed := retention.remove_ended(settings.retention_days, rows):
                yield removed, 0
        retention.forget_workers(settings.orphan_seconds)
        retention.remove_unfinished(settings.orphan_seconds)
        for keys in retention.orphans(settings.orphan_seconds, rows):
            yield 0, retention.remove_orphans(keys)

    def _pass(self) -> float:
        more = self.purge()
        pause = self._settings.sweep_seconds if more else self._settings.purge_seconds
        return pause * random.uniform(0.8, 1.2)  # noqa: S311
