"""The data types of jobs. Times are microseconds since 1970 UTC; durations are seconds."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from videoqueue.settings import Settings

Status = Literal["pending", "running", "completed", "failed"]
#: Every state of a job. Other lists of states derive from this one.
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
#: The states in which a job never changes again.
TERMINAL: Final[tuple[Status, ...]] = ("completed", "failed")

#: Why a running job goes back to pending. Failures and crashes are counted; an interruption is not.
Setback: TypeAlias = Literal["failures", "crashes", "interruption"]


class _Scope(Enum):
    ALL_OWNERS = "all owners"


#: In place of an owner: the jobs of every owner, for operators and for the duties of the service itself.
ALL_OWNERS: Final = _Scope.ALL_OWNERS
#: Whose jobs a read or a write is about. A job of another owner is treated as if it did not exist.
OwnerScope: TypeAlias = str | Literal[_Scope.ALL_OWNERS]
#: The owner of jobs that were submitted without a key.
NOBODY: Final = ""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The first and the last microsecond of the years 1 to 9999.
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A submission; see `Job` for the fields."""

    owner: str
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    input_key: str
    input_bytes: int
    input_sha256: str
    idempotency_key: str | None = None
    name: str | None = None
    key_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of the table `job`, which documents each column (`videoqueue.jobs.tables`)."""

    job_id: uuid.UUID
    owner: str
    status: Status
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    input_key: str
    input_bytes: int
    input_sha256: str
    progress: float
    pipeline_version: str | None
    attempt: int
    failures: int
    crashes: int
    run_after: int
    lease_until: int | None
    worker: str | None
    claimed_at: int | None
    worked: int
    announce_after: int
    announcements: int
    error_message: str | None
    results_etag: str | None
    idempotency_key: str | None
    created_at: int
    updated_at: int
    started_at: int | None
    finished_at: int | None
    damaged_frames: int | None
    width: int | None
    height: int | None
    fps: float | None
    duration: float | None
    codec: str | None
    name: str | None
    key_id: str | None
    error_code: str | None
    result_bytes: int | None


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The part of a job that clients poll for."""

    job_id: uuid.UUID
    status: Status
    progress: float
    created_at: int
    updated_at: int
    #: The last error, also of an attempt that will be repeated.
    error_message: str | None
    #: SHA-256 of the results; set only when the job is completed.
    results_etag: str | None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A running attempt, and where it resumes: after frame `start_after`, with chunk number `next_seq`.

    It resumes there only under `pipeline_version`. Under another version it starts at the first frame; see
    `JobStore.begin`.
    """

    job_id: uuid.UUID
    owner: str
    attempt: int
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    input_key: str
    input_bytes: int
    #: Of the video as it was submitted; 64 hexadecimal digits.
    input_sha256: str
    failures: int
    #: The version that made the committed chunks; None when there are none, or when it is unknown.
    pipeline_version: str | None
    start_after: int | None
    next_seq: int
    #: The last frame that an attempt under another version had processed; -1 when there is none.
    repeats_until: int = -1
    #: Time that the attempts before this one worked.
    worked_seconds: float
    #: Whether the owner has a limit of running jobs, so that another job may wait for the end of this one.
    owner_is_limited: bool = False


@dataclass(frozen=True, kw_only=True)
class ExpiredLease:
    """A running job whose worker has not renewed its lease, which ended `seconds` ago."""

    job_id: uuid.UUID
    attempt: int
    worker: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The length of the backlog and the number of live workers."""

    pending: int
    #: Age of the oldest pending job; None when no job is pending.
    oldest_pending_seconds: float | None
    workers: int


@dataclass(frozen=True, kw_only=True)
class LeasePolicy:
    """How long a lease lasts, how many setbacks in a row fail a job, and when a pending job is announced."""

    lease_seconds: float
    renew_seconds: float
    max_attempts: int
    max_crashes: int
    #: Pause after a job's first announcement. It doubles with each further one, up to `announce_max_seconds`.
    announce_seconds: float
    announce_max_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> LeasePolicy:
        """Returns the policy that the settings describe."""
        return cls(
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.renew_seconds,
            max_attempts=settings.max_attempts,
            max_crashes=settings.max_crashes,
            announce_seconds=settings.announce_seconds,
            announce_max_seconds=settings.announce_max_seconds,
        )

    def announcement_pause(self, announcements: int) -> float:
        """Returns the seconds from the next announcement of a job to the one after it.

        Args:
            announcements: how often the job was announced before.
        """
        return min(self.announce_seconds * 2.0 ** min(announcements, 30), self.announce_max_seconds)


@dataclass(frozen=True, kw_only=True)
class OwnerLimits:
    """What each owner may have at the same time; 0 for no limit. `owner_state` has the exceptions."""

    #: None for the default, which limits only jobs that belong to someone.
    max_pending: int | None = 0
    max_running: int = 0
    #: The size of all stored videos together, in bytes.
    max_stored_bytes: int = 0
    #: The names of those that are exceptions of one owner.
    exceptions: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> OwnerLimits:
        """Returns the limits of the settings."""
        return cls(
            max_pending=settings.owner_max_pending,
            max_running=settings.owner_max_running,
            max_stored_bytes=settings.owner_max_stored_bytes,
        )


def rfc3339(microseconds: int, precision: Literal["milliseconds", "microseconds"] = "microseconds") -> str:
    """Returns a time as RFC 3339 in UTC, for example 2026-01-31T12:00:00.123456Z.

    Args:
        microseconds: microseconds since 1970. RFC 3339 has no text for a time outside of the years 1 to 9999:
            the nearest time of these years is returned.
        precision: the length of the fraction; further digits are cut off.
    """
    moment = _EPOCH + timedelta(microseconds=min(max(microseconds, _FIRST), _LAST))
    return moment.isoformat(timespec=precision).removesuffix("+00:00") + "Z"
