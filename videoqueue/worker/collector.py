"""Commits what the sandbox reports of one attempt, one chunk every few seconds."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing

from videoqueue.errors import ResultsTooLargeError
from videoqueue.failpoints import failpoint
from videoqueue.jobs.chunk_encoding import ChunkEncoder
from videoqueue.jobs.store import Claim
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem
from videoqueue.sandbox.protocol import Alive, Begun, Ended, Report, Seen
from videoqueue.sandbox.sandbox import Stopped
from videoqueue.services import Services

#: A chunk is committed early and ends when it has this many frames, or bytes as stored or as served. This
#: bounds the size of a row, and the time and memory to read it, also with an older release after a rollback.
_CHUNK_FRAMES = 1000
_STORED_BYTES = 4 * 1024 * 1024
_SERVED_BYTES = 16 * 1024 * 1024
#: A smaller chunk is committed again, with further items, instead of another one: equal results of many
#: commits are stored once. This bounds what is written again each time.
_GROWING_BYTES = 128 * 1024


class Collector:
    """Writes the results of one attempt to the database. `video` is set when the child has ended the task."""

    def __init__(self, services: Services, claim: Claim) -> None:
        self.video = VideoInfo()
        self._services = services
        self._claim = claim
        self._seq = claim.next_seq
        self._chunk = ChunkEncoder()
        #: How many items of the chunk are committed.
        self._committed_items = 0
        #: The bytes of the `results` array of the chunks before; None until the first item.
        self._served: int | None = None
        self._progress = 0.0
        self._committed = time.monotonic()

    def collect(self, reports: Generator[Report]) -> None:
        """Consumes all reports and commits their results, also those that were complete before a shutdown.

        Raises:
            Stopped, PermanentError, TransientError: raised by the sandbox.
            ResultsTooLargeError: a result is larger than `MAX_ITEM_BYTES`, or all are larger than
                VIDEOQUEUE_MAX_RESULT_BYTES.
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
                self._add(item)
            case Alive(fraction):
                self._progress = max(self._progress, fraction)
            case Ended(video):
                self.video = video
        overdue = time.monotonic() - self._committed >= self._services.settings.checkpoint_seconds
        if overdue or self._is_full():
            self._commit()

    def _is_full(self) -> bool:
        chunk = self._chunk
        is_large = chunk.stored_bytes >= _STORED_BYTES or chunk.served_bytes >= _SERVED_BYTES
        return is_large or len(chunk.frames) >= _CHUNK_FRAMES

    def _add(self, item: FrameItem) -> None:
        if self._served is None:
            self._served = self._services.results.size(self._claim.job_id, ALL_OWNERS)
        self._chunk.add(item)
        limit = self._services.settings.max_result_bytes
        if limit and self._served + self._added() > limit:
            raise ResultsTooLargeError(
                f"The results are larger than {limit} bytes (VIDEOQUEUE_MAX_RESULT_BYTES). Submit the video "
                "with a larger frame_stride or a lower max_frames, or ask for a higher limit."
            )

    def _added(self) -> int:
        """Returns how many bytes the current chunk adds to the `results` array, with the comma before it."""
        return self._chunk.served_bytes + min(self._seq, 1)

    def _begin(self, version: str) -> None:
        """Drops the results of another version of the pipeline, stored or not."""
        if version == self._claim.pipeline_version:
            return
        self._claim = self._services.store.begin(self._claim, version)
        failpoint("worker.version_stored")
        self._seq = self._claim.next_seq
        self._chunk = ChunkEncoder()
        self._committed_items = 0
        self._served = None
        self._progress = 0.0

    def _commit(self) -> None:
        if len(self._chunk.frames) > self._committed_items:
            chunk = self._chunk.chunk()
            self._services.store.checkpoint(
                self._claim,
                self._seq,
                chunk.payload,
                chunk.frames,
                self._progress,
                chunk.form,
                replaces=self._committed_items > 0,
            )
            failpoint("worker.chunk_committed")
            self._committed_items = len(chunk.frames)
            if len(chunk.payload) >= _GROWING_BYTES or self._is_full():
                self._begin_chunk()
        self._committed = time.monotonic()

    def _begin_chunk(self) -> None:
        self._served = None if self._served is None else self._served + self._added()
        self._chunk = ChunkEncoder()
        self._committed_items = 0
        self._seq += 1
