"""The thread that removes old data. It is not the sweeper's, so that a hung storage cannot delay job rescue.

Every worker process has one. Several at the same time do no harm.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

from sqlalchemy.engine import Engine

from videoqueue.jobs import workers
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.maintenance.periodic import Periodic
from videoqueue.maintenance.retention import Removed, Retention
from videoqueue.settings import Settings

logger = logging.getLogger(__name__)


class Purger:
    """Removes old data and the rows of lost workers, in bounded passes."""

    def __init__(self, engine: Engine, retention: Retention, settings: Settings) -> None:
        self._engine = engine
        self._retention = retention
        self._settings = settings
        self._round: Iterator[Removed] | None = None
        # A short random delay: workers that restart often get to it, but not all at the same time.
        first = settings.purge_seconds * random.uniform(0, 0.1)  # noqa: S311
        self._periodic = Periodic(
            "purger", self._pass, pause=settings.purge_seconds, first=first, retry=settings.retry_seconds
        )

    def start(self) -> None:
        """Starts the thread."""
        self._periodic.start()

    def stop(self) -> None:
        """Ends the thread after its current pass."""
        self._periodic.stop()

    def purge(self) -> bool:
        """Runs one step of a round.

        Returns:
            True if the round has more steps.

        Raises:
            DatabaseUnavailableError, StorageUnavailableError: the next call starts a new round.
        """
        current, self._round = self._round or self._steps(), None
        removed = next(current, None)
        if removed is None:
            return False
        if removed.jobs or removed.videos:
            fields = {"jobs": removed.jobs, "videos_without_job": removed.videos}
            logger.info("Removed old data.", extra=fields)
        self._round = current
        return True

    def _steps(self) -> Iterator[Removed]:
        settings = self._settings
        workers.forget_silent(self._engine, settings.orphan_seconds)
        yield from self._retention.round(
            ALL_OWNERS, settings.retention_days or None, settings.orphan_seconds, settings.sweep_rows
        )

    def _pass(self) -> float:
        more = self.purge()
        pause = self._settings.sweep_seconds if more else self._settings.purge_seconds
        return pause * random.uniform(0.8, 1.2)  # noqa: S311
