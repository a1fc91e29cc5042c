"""Commits what the sandbox reports of one attempt, one chunk every few seconds."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing

from videoqueue.failpoints import failpoint
from videoqueue.jobs.results import encode
from videoqueue.jobs.store import Claim, JobStore
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem
from videoqueue.sandbox.protocol import Alive, Begun, Ended, Report, Seen
from videoqueue.sandbox.sandbox import Stopped

#: A chunk with this many frames or bytes is committed early, to bound memory and row size.
_CHUNK_FRAMES = 1000
_CHUNK_BYTES = 4 * 1024 * 1024


class Collector:
    """Writes the results of one attempt to the database. `video` is set when the child has ended the task."""

    def __init__(self, store: JobStore, claim: Claim, checkpoint_seconds: float) -> None:
        self.video = VideoInfo()
        self._store = store
        self._claim = claim
        self._checkpoint_seconds = checkpoint_seconds
        self._seq = claim.next_seq
        self._items: list[FrameItem] = []
        self._size = 0
        self._progress = 0.0
        self._committed = time.monotonic()

    def collect(self, reports: Generator[Report]) -> None:
        """Consumes all reports and commits their results, also those that were complete before a shutdown.

        Raises:
            Stopped, PermanentError, TransientError: raised by the sandbox.
            LeaseLostError, DatabaseUnavailableError: a chunk could not be committed.
        """
        try:
            with closing(reports):
                for report in reports:
                    self._take(report)
        except Stopped:
            self._commit()
            raise
        self._commit()

    def _take(self, report: Report) -> None:
        match report:
            case Begun(version):
                self._begin(version)
            case Seen(item):
                self._items.append(item)
                self._size += report.size
            case Alive(fraction):
                self._progress = max(self._progress, fraction)
            case Ended(video):
                self.video = video
        overdue = time.monotonic() - self._committed >= self._checkpoint_seconds
        if overdue or len(self._items) >= _CHUNK_FRAMES or self._size >= _CHUNK_BYTES:
            self._commit()

    def _begin(self, version: str) -> None:
        """Drops the results of another version of the pipeline, stored or not."""
        if version == self._claim.pipeline_version:
            return
        self._claim = self._store.begin(self._claim, version)
        failpoint("worker.version_stored")
        self._seq = self._claim.next_seq
        self._items.clear()
        self._size = 0
        self._progress = 0.0

    def _commit(self) -> None:
        if self._items:
            frames = [item["frame_index"] for item in self._items]
            self._store.checkpoint(self._claim, self._seq, encode(self._items), frames, self._progress)
            failpoint("worker.chunk_committed")
            self._seq += 1
            self._items.clear()
            self._size = 0
        self._committed = time.monotonic()
