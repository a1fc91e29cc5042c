"""A client as a careful user writes one: an Idempotency-Key, and the same request again when in doubt."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import requests

from tests.chaos.catalogue import Submission

_PAUSE_SECONDS = 0.2
#: Answers that say nothing about the file: the same again is what the error text asks for.
_AGAIN = (408, 429, 500, 502, 503, 504, 507)


@dataclass
class Submitted:
    """What the service answered in the end: a job, or a refusal."""

    submission: Submission
    key: str
    job_id: uuid.UUID | None = None
    code: str | None = None
    tries: int = 0
    finished: bool = False

    @property
    def accepted(self) -> uuid.UUID:
        """The id of its job; the service has to have accepted it."""
        assert self.job_id is not None, f"{self.submission.name} was refused: {self.code}"
        return self.job_id


@dataclass
class Observed:
    """What clients saw, for the report; lists are appended to by several threads."""

    status_seconds: list[float] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)
    broken_connections: int = 0


class Client:
    """`key` is the API key that it sends; none if it is empty."""

    def __init__(self, url: str, observed: Observed, timeout: float = 15.0, key: str = "") -> None:
        self._url = url
        self._observed = observed
        self._timeout = timeout
        self._access = {"Authorization": f"Bearer {key}"} if key else {}

    def submit(self, submission: Submission, key: str, give_up: Callable[[], bool]) -> Submitted:
        """Repeats the request until the service decides, or until `give_up`."""
        submitted = Submitted(submission, key)
        while not self._submit_once(submitted) and not give_up():
            time.sleep(_PAUSE_SECONDS)
        return submitted

    def _submit_once(self, submitted: Submitted) -> bool:
        submitted.tries += 1
        submission = submitted.submission
        try:
            answer = requests.post(
                f"{self._url}/video/submit",
                data=submission.content,
                params=dict(submission.parameters),
                headers={"Content-Type": "video/mp4", "Idempotency-Key": submitted.key, **self._access},
                timeout=self._timeout,
            )
        except requests.RequestException:
            self._observed.broken_connections += 1
            return False
        if answer.status_code == 202:
            submitted.job_id = uuid.UUID(answer.json()["job_id"])
            return True
        code = answer.json()["code"]
        if answer.status_code == 500:
            self._observed.bugs.append(f"submit answered 500 for {submission.name}")
        if answer.status_code in _AGAIN or code == "upload_incomplete":
            return False
        submitted.code = code
        return True

    def status(self, job_id: uuid.UUID) -> str | None:
        """The job's status, None when there was no answer."""
        began = time.monotonic()
        try:
            answer = requests.get(
                f"{self._url}/video/status/{job_id}", headers=self._access, timeout=self._timeout
            )
        except requests.RequestException:
            self._observed.broken_connections += 1
            return None
        if answer.status_code == 200:
            self._observed.status_seconds.append(time.monotonic() - began)
            return str(answer.json()["status"])
        if answer.status_code != 503:
            self._observed.bugs.append(f"status of an accepted job answered {answer.status_code}")
        return None

    def error(self, job_id: uuid.UUID) -> str:
        answer = requests.get(
            f"{self._url}/video/status/{job_id}", headers=self._access, timeout=self._timeout
        )
        return str(answer.json()["error_message"])

    def results(self, job_id: uuid.UUID) -> bytes:
        """The bytes of the `results` array; empty when there is none."""
        answer = requests.get(
            f"{self._url}/video/results/{job_id}", headers=self._access, timeout=self._timeout
        )
        found = re.fullmatch(rb'\{"job_id":"[^"]*","results":(\[.*\]),"created_at":.*\}\n?', answer.content)
        return found[1] if found and answer.ok else b""


def new_key() -> str:
    return str(uuid.uuid4())
