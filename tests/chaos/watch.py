"""Looks at the database and the storage during a run: what must hold at every moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType

import sqlalchemy as sa

from tests.chaos.service import ChaosService

_PAUSE_SECONDS = 0.05
_TOO_MANY = "SELECT owner, count(*) FROM job WHERE status = 'running' GROUP BY owner HAVING count(*) > :most"
_HOMELESS = "SELECT DISTINCT job_id FROM result_chunk WHERE job_id NOT IN (SELECT job_id FROM job)"
_VIDEOS = "SELECT job_id, input_key FROM job"


class Watch:
    """A thread that looks as long as the `with` lasts; a database that is away is looked at later."""

    def __init__(self, service: ChaosService) -> None:
        self.looks = 0
        self._service = service
        self._most = int(service.environ["VIDEOQUEUE_OWNER_MAX_RUNNING"])
        self._broken: set[str] = set()
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    @property
    def broken(self) -> list[str]:
        return sorted(self._broken)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if self._error and not error:
            raise self._error

    def _watch(self) -> None:
        try:
            while not self._stopping.wait(_PAUSE_SECONDS):
                self._look()
        except BaseException as error:  # noqa: BLE001 - raised again when the watch ends
            self._error = error

    def _look(self) -> None:
        try:
            self._broken.update(self._faults())
            self.looks += 1
        except sa.exc.DBAPIError:
            return  # the harness has crashed the server

    def _faults(self) -> Iterator[str]:
        for owner, count in self._service.database.rows(_TOO_MANY, most=self._most):
            yield f"{owner} had {count} running jobs"
        for (job_id,) in self._service.database.rows(_HOMELESS):
            yield f"{job_id}: results without a job"
        yield from (f"{job_id}: a job without its video" for job_id in self._without_video())

    def _without_video(self) -> set[str]:
        """A video is stored before its row, and removed after it: a row that is still there has one."""
        before = self._videos()
        stored = self._service.storage.stored()
        missing = {job_id for job_id, key in before.items() if key not in stored}
        return missing & set(self._videos()) if missing else missing

    def _videos(self) -> dict[str, str]:
        return {str(job_id): key for job_id, key in self._service.database.rows(_VIDEOS)}
