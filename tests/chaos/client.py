"""A client as a careful user writes one: an Idempotency-Key, and the same request again when in doubt."""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.catalogue import Submission

_PAUSE_SECONDS = 0.2
#: Answers that say nothing about the file: the same again is what the error text asks for.
_AGAIN = (408, 429, 500, 502, 503, 504, 507)


@dataclass(frozen=True)
class Fate:
    """What the client does with its job."""

    #: The status in which it deletes the job, or "ended"; never if empty.
    delete_in: str = ""
    #: Whether it retries the job once if it fails.
    retry: bool = False


@dataclass
class Submitted:
    """What the service answered in the end: a job, or a refusal."""

    submission: Submission
    key: str
    job_id: uuid.UUID | None = None
    code: str | None = None
    tries: int = 0
    finished: bool = False
    fate: Fate = field(default_factory=lambda: Fate())
    #: Set before the first request to delete the job is sent.
    deletion_asked: bool = False
    #: The service has said that the job is gone.
    deleted: bool = False

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

    def delete(self, submitted: Submitted, give_up: Callable[[], bool]) -> None:
        """Repeats the request until the job is gone, or until `give_up`; then asks for what is gone."""
        again = submitted.deletion_asked
        submitted.deletion_asked = True
        while not (code := self._delete_once(submitted.accepted)) and not give_up():
            again = True
            time.sleep(_PAUSE_SECONDS)
        if code == 404 and not again:
            self._observed.bugs.append(f"{submitted.job_id}: it was gone before it was deleted")
        submitted.deleted = code is not None
        if submitted.deleted:
            self._observed.bugs += [f"after 204: {line}" for line in self.found_of(submitted.accepted)]

    def _delete_once(self, job_id: uuid.UUID) -> int | None:
        """204 or 404; None if the service has not decided."""
        answer = self._ask("DELETE", f"/jobs/{job_id}")
        if answer is None:
            return None
        if answer.status_code in (204, 404):
            return answer.status_code
        if answer.status_code != 503:
            self._observed.bugs.append(f"DELETE answered {answer.status_code}")
        return None

    def found_of(self, job_id: uuid.UUID) -> list[str]:
        """What the service still serves of a job that is deleted; requests without an answer do not count."""
        found = []
        for path in (f"/video/results/{job_id}", f"/video/status/{job_id}", f"/jobs/{job_id}"):
            answer = self._ask("GET", path)
            if answer is not None and answer.status_code not in (404, 503):
                found.append(f"{path} answered {answer.status_code}")
        return found

    def retry(self, failed: Submitted) -> Submitted | None:
        """Asks once for a new job from a failed one; None if the service does not say that it made one."""
        answer = self._ask("POST", f"/jobs/{failed.job_id}/retry")
        if answer is None or answer.status_code in (429, 503):
            return None
        if answer.status_code != 202:
            self._observed.bugs.append(f"retry answered {answer.status_code}: {answer.text}")
            return None
        fate = Fate("ended" if failed.fate.delete_in else "")
        job_id = uuid.UUID(answer.json()["job_id"])
        return Submitted(failed.submission, "", job_id, tries=1, fate=fate)

    def _ask(self, method: str, path: str) -> requests.Response | None:
        try:
            return requests.request(method, self._url + path, headers=self._access, timeout=self._timeout)
        except requests.RequestException:
            self._observed.broken_connections += 1
            return None

    def error(self, job_id: uuid.UUID) -> str:
        answer = requests.get(
            f"{self._url}/video/status/{job_id}", headers=self._access, timeout=self._timeout
        )
        return str(answer.json()["error_message"])

    def metrics(self) -> Counter[str]:
        """The counters, and the numbers of observations of the histograms: by name, and by name and outcome.

        The values of all other labels are added.
        """
        answer = requests.get(f"{self._url}/metrics", headers=self._access, timeout=self._timeout)
        answer.raise_for_status()
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.name.endswith(("_total", "_count")):
                    outcome = sample.labels.get("outcome")
                    found[f"{family.name} {outcome}" if outcome else family.name] += int(sample.value)
        return found

    def results(self, job_id: uuid.UUID) -> bytes:
        """The bytes of the `results` array; empty when there is none."""
        answer = requests.get(
            f"{self._url}/video/results/{job_id}", headers=self._access, timeout=self._timeout
        )
        found = re.fullmatch(rb'\{"job_id":"[^"]*","results":(\[.*\]),"created_at":.*\}\n?', answer.content)
        return found[1] if found and answer.ok else b""


def new_key() -> str:
    return str(uuid.uuid4())
