"""The limits of an owner that refuse a submission: pending jobs, and the size of all stored videos."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, Engine

from videoqueue.errors import QuotaExceededError
from videoqueue.jobs.database import reading
from videoqueue.jobs.tables import JOB, OWNER_STATE
from videoqueue.jobs.types import NOBODY, OwnerLimits

#: The default limit of pending jobs of an owner. It does not hold for jobs that belong to nobody: without
#: keys all jobs do, and VIDEOQUEUE_MAX_PENDING_JOBS limits them.
_MAX_PENDING: Final = 5000


def limits_of(connection: Connection, owner: str, limits: OwnerLimits) -> OwnerLimits:
    """Returns the limits of an owner.

    Args:
        connection: an open transaction.
        owner: the owner.
        limits: those of the settings, which hold where the owner has no exception.
    """
    return _merged(connection.execute(_state_of(owner)).one_or_none(), owner, limits)


def lock_limits(connection: Connection, owner: str, limits: OwnerLimits) -> OwnerLimits:
    """Returns the limits of an owner; if any refuses, the owner is locked until the end of the transaction.

    While it is locked, no other transaction adds a job of the owner. Without the lock, concurrent
    submissions on Postgres would not see each other's jobs and exceed the limit. A write transaction on
    SQLite excludes all others anyway.
    """
    found = limits_of(connection, owner, limits)
    if connection.dialect.name == "sqlite" or not (found.max_pending or found.max_stored_bytes):
        return found
    connection.execute(postgresql.insert(OWNER_STATE).values(owner=owner).on_conflict_do_nothing())
    return _merged(connection.execute(_state_of(owner).with_for_update()).one_or_none(), owner, limits)


def require_quota(connection: Connection, owner: str, limits: OwnerLimits, size: int) -> None:
    """Returns if the owner may have another pending job with a video of `size` bytes.

    Args:
        connection: an open transaction.
        owner: the owner.
        limits: those of the owner, from `limits_of` or `lock_limits`.
        size: the additional stored bytes; 0 if the video is stored already.

    Raises:
        QuotaExceededError: a limit is reached.
    """
    if limits.max_pending and _has_pending(connection, owner, limits.max_pending):
        raise QuotaExceededError(
            f"The limit of pending jobs of this owner is {limits.max_pending} "
            f"({_source(limits, 'max_pending')}), and it is reached. Try again when some of them have "
            "started, or ask the operator for a higher limit."
        )
    if not limits.max_stored_bytes or not size:
        return
    stored = _stored_bytes(connection, owner, limits.max_stored_bytes - size)
    if stored + size > limits.max_stored_bytes:
        raise QuotaExceededError(
            f"The stored videos of this owner have {stored} bytes. With this one they would exceed the limit "
            f"of {limits.max_stored_bytes} bytes ({_source(limits, 'max_stored_bytes')}). Delete jobs that "
            "are no longer needed, or ask the operator for a higher limit."
        )


def check_quota(
    engine: Engine, owner: str, limits: OwnerLimits, size: int, idempotency_key: str | None
) -> None:
    """Checks, without a lock, whether an owner may submit a video of `size` bytes.

    A submission with a known idempotency key passes, because it makes no new job.

    Raises:
        QuotaExceededError: a limit of the owner is reached.
        DatabaseUnavailableError: the database cannot be used.
    """
    known = sa.select(JOB.c.job_id).where(JOB.c.owner == owner, JOB.c.idempotency_key == idempotency_key)
    with reading(engine) as connection:
        try:
            require_quota(connection, owner, limits_of(connection, owner, limits), size)
        except QuotaExceededError:
            if idempotency_key is None or connection.execute(known).scalar_one_or_none() is None:
                raise


def stored_videos() -> sa.Subquery:
    """Returns each stored video once, with its owner and size in bytes: a retried job shares its video."""
    columns = JOB.c.owner, JOB.c.input_key, sa.func.max(JOB.c.input_bytes).label("input_bytes")
    return sa.select(*columns).group_by(JOB.c.owner, JOB.c.input_key).subquery()


def _stored_bytes(connection: Connection, owner: str, enough: int) -> int:
    """Returns the size of all stored videos of the owner, or a larger number that is at most `enough`."""
    # The index with the sizes is enough for the sum over the jobs; no row is read.
    of_jobs = sa.select(sa.func.coalesce(sa.func.sum(JOB.c.input_bytes), 0)).where(JOB.c.owner == owner)
    stored = int(connection.execute(of_jobs).scalar_one())
    if stored <= enough:
        return stored
    videos = stored_videos()
    of_videos = sa.select(sa.func.coalesce(sa.func.sum(videos.c.input_bytes), 0))
    return int(connection.execute(of_videos.where(videos.c.owner == owner)).scalar_one())


def _has_pending(connection: Connection, owner: str, count: int) -> bool:
    """Returns whether the owner has at least so many pending jobs; reads at most so many index entries."""
    pending = sa.select(sa.literal(1)).select_from(JOB).where(sa.text("job.status = 'pending'"))
    last = pending.where(JOB.c.owner == owner).offset(count - 1).limit(1)
    return connection.execute(last).scalar_one_or_none() is not None


def _state_of(owner: str) -> sa.Select[int | None, int | None, int | None]:
    columns = OWNER_STATE.c.max_pending, OWNER_STATE.c.max_running, OWNER_STATE.c.max_stored_bytes
    return sa.select(*columns).where(OWNER_STATE.c.owner == owner)


def _merged(
    row: sa.Row[int | None, int | None, int | None] | None, owner: str, limits: OwnerLimits
) -> OwnerLimits:
    if limits.max_pending is None:
        limits = replace(limits, max_pending=0 if owner == NOBODY else _MAX_PENDING)
    own = {} if row is None else {name: value for name, value in row._mapping.items() if value is not None}
    return OwnerLimits(**vars(limits) | own | {"exceptions": frozenset(own)})


def _source(limits: OwnerLimits, name: str) -> str:
    """Returns what has set a limit of an owner: the setting, or the command for exceptions."""
    return "`videoqueue owners set`" if name in limits.exceptions else f"VIDEOQUEUE_OWNER_{name.upper()}"
