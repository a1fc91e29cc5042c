"""The part of the client that reads what a job has found."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from videoqueue.client.address import job_path
from videoqueue.client.connected import Connected, Query, StrPath
from videoqueue.client.download import Download, Writable, replacing
from videoqueue.client.responses import field
from videoqueue.client.transport import Call
from videoqueue.client.types import Frame, JobResults, Segments


class ResultsReader(Connected):
    """The methods for results, and for the submitted video."""

    def results(self, job_id: str | uuid.UUID) -> JobResults:
        """Returns all results of a completed job. They are in memory at once; see `frames`.

        Raises:
            ClientError: `results_not_ready` or `job_failed`.
        """
        return cast(JobResults, self._json(job_path("/video/results", job_id)))

    def frames(
        self,
        job_id: str | uuid.UUID,
        *,
        start: float | None = None,
        end: float | None = None,
        page_size: int = 500,
    ) -> Iterator[Frame]:
        """Yields the results of a completed job frame by frame. One page is in memory at a time.

        Args:
            job_id: the job.
            start: only frames from this second on.
            end: only frames before this second.
            page_size: frames of a page, 1 to 1000.

        Raises:
            ClientError: `results_not_ready` or `job_failed`.
        """
        by_time = start is not None or end is not None
        path = job_path("/jobs", job_id, "/results") if by_time else job_path("/video/results", job_id)
        size, following = ("limit", "next_from") if by_time else ("page_size", "next_page_token")
        position = _decimal(start)
        while True:
            begin: Query = {"from": position, "to": _decimal(end)} if by_time else {"page_token": position}
            page = self._json(path, {size: page_size, **begin})
            yield from cast(list[Frame], field(page, "results", list))
            found = page.get(following)
            if found is None:
                return
            position = _decimal(found) if by_time else str(found)

    def save_results(self, job_id: str | uuid.UUID, output: StrPath | Writable) -> None:
        """Writes all results of a completed job as the service sends them, in JSON. See `export`."""
        self._download(job_path("/video/results", job_id), None, output)

    def segments(self, job_id: str | uuid.UUID, *, min_confidence: float | None = None) -> Segments:
        """Returns when each label and each text is seen in a completed job.

        Args:
            job_id: the job.
            min_confidence: only ranges whose confidence is at least this, 0 to 1.

        Raises:
            ClientError: `results_not_ready` or `job_failed`.
        """
        query: Query = {"min_confidence": _share(min_confidence)}
        return cast(Segments, self._json(job_path("/jobs", job_id, "/segments"), query))

    def export(
        self,
        job_id: str | uuid.UUID,
        format: str,
        output: StrPath | Writable,
        *,
        min_confidence: float | None = None,
    ) -> None:
        """Writes the results of a completed job in the format of another program.

        Args:
            job_id: the job.
            format: `csv`, `jsonl`, `vtt`, `srt` or `coco`.
            output: a path, whose file is replaced when all is there; or a binary file object.
            min_confidence: leave out what was recognized with a lower confidence, 0 to 1.

        Raises:
            ClientError: `results_not_ready`, `job_failed` or `video_size_unknown`.
            OSError: the output cannot be written.
        """
        query: Query = {"format": format, "min_confidence": _share(min_confidence)}
        self._download(job_path("/jobs", job_id, "/export"), query, output)

    def video(self, job_id: str | uuid.UUID, output: StrPath | Writable) -> None:
        """Writes the submitted video. A download that breaks off is continued where it ended.

        Args:
            job_id: a job in any state.
            output: a path, whose file is replaced when all is there; or a binary file object.

        Raises:
            ClientError: `video_missing`.
            OSError: the output cannot be written.
        """
        self._download(job_path("/jobs", job_id, "/video"), None, output, ranges=True)

    def _download(
        self,
        path: str,
        query: Query | None,
        output: StrPath | Writable,
        *,
        ranges: bool = False,
    ) -> None:
        if isinstance(output, str | os.PathLike):
            with replacing(Path(output)) as (file, restart):
                self._copy(path, query, Download(file, restart, ranges=ranges))
            return
        self._copy(path, query, Download(output, None, ranges=ranges))

    def _copy(self, path: str, query: Query | None, download: Download) -> None:
        self._transport.call(
            Call("GET", path, query, download.headers, None, download.position, download.accepts),
            download.read,
        )


def _decimal(seconds: float | None) -> str | None:
    return None if seconds is None else repr(seconds)


def _share(confidence: float | None) -> str | None:
    return None if confidence is None else f"{confidence:f}"
