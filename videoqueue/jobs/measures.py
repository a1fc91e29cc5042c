"""What is counted, and by which event in the life of a job. `counters` stores the counts.

Durations are counted in microseconds. Nothing is counted between the start and the end of an attempt: what is
known of a running job is its progress in tenths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from videoqueue.jobs.counters import Count, Labels
from videoqueue.jobs.types import TERMINAL, Job, Setback, Status

#: How jobs end. A job that is deleted after its end counts only by that end.
Outcome: TypeAlias = Literal["completed", "failed", "deleted"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

#: Why an attempt ended without an outcome, by what the store calls it.
_KINDS: Final[dict[Setback | Literal["expiry"], str]] = {
    "failures": "error",
    "crashes": "crash",
    "interruption": "interruption",
    "expiry": "expired_lease",
}
KINDS: Final = tuple(_KINDS.values())

#: How a try to send a webhook ended. `given_up` is a failed try that was the last.
DeliveryOutcome: TypeAlias = Literal["delivered", "failed", "given_up"]

_MICROSECONDS: Final = 1_000_000

#: The upper bounds of the buckets of histograms, in seconds.
BOUNDS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A counter or a histogram.

    Attributes:
        name: its name in the table `counter`; for a histogram without `_bucket` and `_sum`.
        about: what it is, for operators.
        labels: the names of its labels, each with the values that are known from the beginning. Those of
            `pipeline` are the ids of the installed pipelines.
        unit: how many of what is stored make one of what is shown.
    """

    name: str
    about: str
    labels: Mapping[str, tuple[str, ...]]
    unit: int = 1


_PIPELINE: Final[Mapping[str, tuple[str, ...]]] = {"pipeline": ()}

SUBMITTED: Final = Measure(
    name="jobs_submitted",
    about="Jobs that were accepted. A retry of a failed job is a new job.",
    labels=_PIPELINE,
)
FINISHED: Final = Measure(
    name="jobs_finished",
    about="Jobs that ended: completed, failed, or deleted before either.",
    labels={"outcome": OUTCOMES, **_PIPELINE},
)
SETBACKS: Final = Measure(
    name="job_setbacks",
    about="Attempts after which a job is tried again, or fails because it was tried too often.",
    labels={"kind": KINDS},
)
FRAMES: Final = Measure(name="frames", about="Frames with results, of completed jobs.", labels=_PIPELINE)
VIDEO_SECONDS: Final = Measure(
    name="video_seconds",
    about="Durations of the videos of completed jobs.",
    labels=_PIPELINE,
    unit=_MICROSECONDS,
)
WAIT: Final = Measure(
    name="job_wait_seconds",
    about="Time from the submission of a job to its first start.",
    labels={},
    unit=_MICROSECONDS,
)
DURATION: Final = Measure(
    name="job_duration_seconds",
    about="Time from the first start of a job to its end, with the pauses between its attempts.",
    labels={"outcome": TERMINAL},
    unit=_MICROSECONDS,
)
WEBHOOKS: Final = Measure(
    name="webhook_deliveries",
    about="Tries to send a webhook, by outcome.",
    labels={"outcome": get_args(DeliveryOutcome)},
)
COUNTERS: Final = (SUBMITTED, FINISHED, SETBACKS, FRAMES, VIDEO_SECONDS, WEBHOOKS)
HISTOGRAMS: Final = (WAIT, DURATION)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A job whose attempt has ended: the columns that are counted."""

    status: Status
    pipeline_id: str
    started_at: int | None
    finished_at: int | None
    duration: float | None
    frames: int


def submitted(pipeline_id: str) -> list[Count]:
    """Returns the counts of a new job."""
    return [Count(SUBMITTED.name, (pipeline_id,))]


def claimed(job: Job) -> list[Count]:
    """Returns the counts of a job that has just been claimed."""
    if job.attempt != 1 or job.started_at is None:
        return []
    return _observed(WAIT, (), job.started_at - job.created_at)


def ended(job: Ended, setback: Setback | Literal["expiry"] | None) -> list[Count]:
    """Returns the counts of a job whose attempt has just ended.

    Args:
        job: the job, after the change.
        setback: why the attempt ended without an outcome; None if it ended with one.
    """
    counts = [] if setback is None else [Count(SETBACKS.name, (_KINDS[setback],))]
    if job.status not in TERMINAL:
        return counts
    counts.append(Count(FINISHED.name, (job.status, job.pipeline_id)))
    if job.started_at is not None and job.finished_at is not None:
        counts += _observed(DURATION, (job.status,), job.finished_at - job.started_at)
    if job.status == "completed":
        counts.append(Count(FRAMES.name, (job.pipeline_id,), job.frames))
        seconds = job.duration or 0.0
        counts.append(Count(VIDEO_SECONDS.name, (job.pipeline_id,), round(seconds * VIDEO_SECONDS.unit)))
    return counts


def deleted(status: Status, pipeline_id: str) -> list[Count]:
    """Returns the counts of a job that was deleted in this state."""
    return [] if status in TERMINAL else [Count(FINISHED.name, ("deleted", pipeline_id))]


def delivery(outcome: DeliveryOutcome) -> list[Count]:
    """Returns the counts of a try to send a webhook."""
    return [Count(WEBHOOKS.name, (outcome,))]


def _observed(histogram: Measure, labels: Labels, amount: int) -> list[Count]:
    """Returns the counts of one observation. A clock that was set back makes it 0."""
    amount = max(0, amount)
    return [
        Count(f"{histogram.name}_bucket", (*labels, bucket_of(amount / histogram.unit))),
        Count(f"{histogram.name}_sum", labels, amount),
    ]


def bucket_of(seconds: float) -> str:
    """Returns the label of the first bucket that a duration is in: its upper bound in seconds, or +Inf."""
    return next((str(bound) for bound in BOUNDS if seconds <= bound), "+Inf")
