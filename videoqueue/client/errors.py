"""The errors of the client. No message and no attribute contains a key or a password."""

from __future__ import annotations


class ClientError(Exception):
    """A call failed. All errors of the client are of this class.

    Attributes:
        detail: what was wrong and what to do; of a refusal, the `detail` of the service (RFC 9457).
        code: what was wrong, for programs. Of a refusal, the `code` of the service, or None if the response
            is of another program. Otherwise `no_response` (the service could not be reached or sent
            nothing), `broken_response` (a response ended early), `bad_response` (it is not one of this
            service), `certificate` (TLS), `redirected`, `bad_file` (a file object cannot be used),
            `job_failed` or `wait_timeout`.
        status: the HTTP status; None if there was no response.
        request_id: the id of the request, which the log of the service contains.
        retry_after: after how many seconds the service takes the request again, if it says so.
        maybe_done: whether the request, or an earlier attempt of it, may have been carried out although no
            response to it arrived.
        idempotency_key: the key of a submission or retry. The same call with this key makes no second job.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.maybe_done = False
        self.idempotency_key: str | None = None

    def __str__(self) -> str:
        known = {"code": self.code, "status": self.status, "request": self.request_id}
        notes = ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
        return f"{self.detail} ({notes})" if notes else self.detail


class JobFailedError(ClientError):
    """The job that was waited for has failed.

    Attributes:
        job_id: the job.
        error_code: why it failed, for programs: the field of `GET /jobs/{job_id}`. None if it is not known.
        error_message: why it failed, for people.
    """

    def __init__(
        self,
        detail: str,
        *,
        job_id: str = "",
        error_code: str | None = None,
        error_message: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, code="job_failed", request_id=request_id)
        self.job_id = job_id
        self.error_code = error_code
        self.error_message = error_message


class WaitTimeoutError(ClientError, TimeoutError):
    """The job had not ended when the time limit of `wait` passed. The job goes on.

    Attributes:
        job_id: the job.
    """

    def __init__(self, detail: str, *, job_id: str = "") -> None:
        super().__init__(detail, code="wait_timeout")
        self.job_id = job_id
