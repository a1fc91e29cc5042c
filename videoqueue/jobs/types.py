"""What goes into the store and comes out of it. Durations are seconds."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

#: Why a running job goes back: only passing errors and crashes are counted, a shutdown is not.
Setback = Literal["failures", "crashes", "interruption"]


@dataclass(frozen=True, kw_only=True)
class NewJob:
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    input_key: str
    input_bytes: int
    input_sha256: str
    idempotency_key: str | None = None
    owner: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A running attempt and where it resumes: behind frame `start_after`, with chunk number `next_seq`.

    It does so only under `pipeline_version`. Under another it begins with the first frame: `JobStore.begin`.
    """

    job_id: uuid.UUID
    attempt: int
    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    input_key: str
    failures: int
    #: That of the chunks there are; None when there are none, or when it is not known.
    pipeline_version: str | None
    start_after: int | None
    next_seq: int
    #: Up to this frame the attempt does again what another version had done; -1 when nothing.
    repeats_until: int = -1
    #: Time spent by the attempts before this one.
    worked_seconds: float


@dataclass(frozen=True, kw_only=True)
class LeasePolicy:
    """How long a lease holds, how many setbacks in a row fail a job, when a forgotten one is looked for."""

    lease_seconds: float = 20.0
    renew_seconds: float = 4.0
    max_attempts: int = 5
    max_crashes: int = 3
    #: From a job's creation to its first announcement by a sweeper.
    announce_seconds: float = 10.0
