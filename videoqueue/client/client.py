"""The client: one method for each thing that the service does."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, cast

from requests import Response

from videoqueue.client.address import job_path
from videoqueue.client.attempts import retry_after
from videoqueue.client.connected import Query, StrPath
from videoqueue.client.errors import ClientError, JobFailedError, WaitTimeoutError
from videoqueue.client.responses import TRY_AGAIN, decoded, field, nothing
from videoqueue.client.results import ResultsReader
from videoqueue.client.transport import Call
from videoqueue.client.types import JobDescription, JobStatus, JobSummary, PipelineSummary, Status
from videoqueue.client.upload import Progress, Readable, Upload, name_of

#: Seconds between two polls if the service names none.
_POLL: Final = 1.0
#: It may name none that is shorter.
_SHORTEST: Final = 0.1
_MAX_KEY: Final = 255


class Client(ResultsReader):
    """A client of one service.

    A request is sent again when the connection fails, when a response is cut off, and after 408, 429, 502,
    503, 504 and 507. That is safe: each request has the same effect when it is carried out twice. Other
    refusals are raised at once. Redirects are not followed.

    Several threads may use one client at the same time; after a fork, make a new one. Close it, or use it in
    a `with` statement.

    All methods that take a `job_id` raise ClientError with the code `job_not_found` if there is no such job
    or it belongs to another owner.
    """

    def submit(
        self,
        file: StrPath | Readable,
        *,
        name: str | None = None,
        pipeline_id: str | None = None,
        frame_stride: int | None = None,
        max_frames: int | None = None,
        idempotency_key: str | None = None,
        progress: Progress | None = None,
    ) -> str:
        """Uploads a video. However often it is sent, there is one job.

        Args:
            file: the path of the video, or a binary file object, which is read from its position to its end.
                One that is not seekable is read once, so that a broken upload is not repeated.
            name: the name to show; by default that of the file.
            pipeline_id: the pipeline; by default that of the service.
            frame_stride: frames 0, n, 2n ... are processed.
            max_frames: the maximum number of frames to process.
            idempotency_key: 1 to 255 printable ASCII characters. Another submission with this key, the same
                video and the same parameters, also of another process, returns the first job. By default a
                new key.
            progress: called with the bytes that were sent, and with those there are or None. An upload that
                is repeated begins again at 0.

        Returns:
            The job id.

        Raises:
            ClientError: the video was refused, or it could not be sent.
            OSError: the file cannot be read.
            TypeError: the file object is not binary.
        """
        if isinstance(file, str | os.PathLike):
            with Path(file).open("rb") as opened:
                return self.submit(
                    opened,
                    name=name_of(file) if name is None else name,
                    pipeline_id=pipeline_id,
                    frame_stride=frame_stride,
                    max_frames=max_frames,
                    idempotency_key=idempotency_key,
                    progress=progress,
                )
        body = Upload(file, progress)
        query = {
            "pipeline_id": pipeline_id,
            "frame_stride": frame_stride,
            "max_frames": max_frames,
            "name": name_of(file) if name is None else name,
        }
        return self._accepted("/video/submit", idempotency_key, query, body)

    def status(self, job_id: str | uuid.UUID) -> JobStatus:
        """Returns the status of a job."""
        return cast(JobStatus, self._json(job_path("/video/status", job_id)))

    def wait(
        self,
        job_id: str | uuid.UUID,
        timeout: float | None = None,
        *,
        on_status: Callable[[JobStatus], object] | None = None,
    ) -> JobStatus:
        """Polls until the job is completed, as often as the service says (`Retry-After`).

        Args:
            job_id: the job.
            timeout: the time limit in seconds; None for none. A poll has at least a second.
            on_status: called with each status.

        Returns:
            The last status.

        Raises:
            JobFailedError: the job has failed.
            WaitTimeoutError: it had not ended within the time limit. It goes on.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            job, pause = self._polled(job_id, timeout, until)
            if on_status is not None:
                on_status(job)
            if job["status"] == "completed":
                return job
            if job["status"] == "failed":
                raise self._failed(str(job_id), job.get("error_message"), until)
            remaining = pause if until is None else until - time.monotonic()
            if remaining <= 0:
                raise _timed_out(job_id, timeout, f"It is {job['status']}.")
            time.sleep(min(pause, remaining))

    def _polled(
        self, job_id: str | uuid.UUID, timeout: float | None, until: float | None
    ) -> tuple[JobStatus, float]:
        """Returns the status, and the seconds until the next poll."""

        def read(response: Response) -> tuple[JobStatus, float]:
            job = decoded(response)
            field(job, "status", str)
            pause = retry_after(response.headers.get("Retry-After"))
            return job, _POLL if pause is None else max(pause, _SHORTEST)

        try:
            return self._transport.call(Call("GET", job_path("/video/status", job_id)), read, until)
        except ClientError as error:
            if until is None or time.monotonic() < until or not _is_temporary(error):
                raise
            detail = error.detail
        raise _timed_out(job_id, timeout, detail)

    def job(self, job_id: str | uuid.UUID) -> JobDescription:
        """Returns everything about a job."""
        return cast(JobDescription, self._json(job_path("/jobs", job_id)))

    def jobs(
        self, status: Status | None = None, *, owner: str | None = None, page_size: int = 200
    ) -> Iterator[JobSummary]:
        """Yields jobs, newest first. Pages are fetched as they are needed.

        Args:
            status: only jobs in this state.
            owner: only jobs of this owner; jobs of others need a key with the scope `admin`.
            page_size: jobs of a page, 1 to 200.
        """
        token = None
        while True:
            query = {"status": status, "owner": owner, "page_size": page_size, "page_token": token}
            page = self._json("/jobs", query)
            yield from cast(list[JobSummary], field(page, "jobs", list))
            token = page.get("next_page_token")
            if token is None:
                return

    def pipelines(self) -> list[PipelineSummary]:
        """Returns the pipelines that a job can have."""
        return cast(list[PipelineSummary], field(self._json("/pipelines"), "pipelines", list))

    def delete(self, job_id: str | uuid.UUID) -> None:
        """Deletes a job in any state, with its results and its video.

        If an attempt may have deleted it although its response was lost, a job that is unknown afterwards
        counts as deleted.
        """
        try:
            self._transport.call(Call("DELETE", job_path("/jobs", job_id)), nothing)
        except ClientError as error:
            if not (error.code == "job_not_found" and error.maybe_done):
                raise

    def retry(self, job_id: str | uuid.UUID, *, idempotency_key: str | None = None) -> str:
        """Makes a new job from a failed one. However often it is sent, there is one new job.

        Args:
            job_id: the failed job, which stays as it is.
            idempotency_key: as for `submit`.

        Returns:
            The id of the new job.

        Raises:
            ClientError: `not_retryable`, if the job has not failed or its video is gone.
        """
        return self._accepted(job_path("/jobs", job_id, "/retry"), idempotency_key)

    def _accepted(
        self,
        path: str,
        idempotency_key: str | None,
        query: Query | None = None,
        body: Upload | None = None,
    ) -> str:
        key = uuid.uuid4().hex if idempotency_key is None else idempotency_key
        if not (1 <= len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
            raise ValueError(f"idempotency_key takes 1 to {_MAX_KEY} printable ASCII characters.")
        headers = {"Idempotency-Key": key}
        if body is not None:
            headers["Content-Type"] = "video/mp4"
        try:
            accepted = self._transport.call(Call("POST", path, query, lambda: headers, body), decoded)
        except ClientError as error:
            error.idempotency_key = key
            raise
        return cast(str, field(accepted, "job_id", str))

    def _failed(self, job_id: str, message: str | None, until: float | None) -> JobFailedError:
        try:
            code = self._transport.call(Call("GET", job_path("/jobs", job_id)), decoded, until).get(
                "error_code"
            )
        except ClientError:  # it was deleted in the meantime, or the connection failed
            code = None
        return JobFailedError(
            f"Job {job_id} failed: {message}", job_id=job_id, error_code=code, error_message=message
        )


def _is_temporary(error: ClientError) -> bool:
    return error.code in ("no_response", "broken_response") or error.status in TRY_AGAIN


def _timed_out(job_id: object, timeout: float | None, why: str) -> WaitTimeoutError:
    return WaitTimeoutError(
        f"Job {job_id} had not ended within {timeout:g} seconds, and goes on. {why}", job_id=str(job_id)
    )
