"""Owners for operators: what they have, their exceptions from the limits, and the jobs of before keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue import audit
from videoqueue.jobs.database import now, reading, writing
from videoqueue.jobs.keys import require_owner
from videoqueue.jobs.quotas import stored_videos
from videoqueue.jobs.tables import API_KEY, JOB, OWNER_STATE
from videoqueue.jobs.types import NOBODY

Limit: TypeAlias = Literal["max_pending", "max_running", "max_stored_bytes"]
#: Rows that one transaction changes, so that other writers do not wait for long.
_BATCH: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Owner:
    """What an owner has. A limit that is None is that of the settings; 0 is none."""

    owner: str
    #: Keys that are neither expired nor revoked.
    keys: int
    jobs: int
    pending: int
    running: int
    #: The sum of the sizes of the videos.
    stored_bytes: int
    max_pending: int | None
    max_running: int | None
    max_stored_bytes: int | None


class OwnerStore:
    """Reads and changes owners.

    All methods raise DatabaseUnavailableError when the database cannot be used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> Sequence[Owner]:
        """Returns everyone who has a key, a job or a limit of their own, by name."""
        jobs = sa.select(
            JOB.c.owner,
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(sa.case((JOB.c.status == "pending", 1), else_=0)), 0),
            sa.func.coalesce(sa.func.sum(sa.case((JOB.c.status == "running", 1), else_=0)), 0),
        ).group_by(JOB.c.owner)
        videos = stored_videos()
        sizes = sa.select(videos.c.owner, sa.func.sum(videos.c.input_bytes)).group_by(videos.c.owner)
        own = sa.or_(*(OWNER_STATE.c[name].is_not(None) for name in _LIMITS))
        limits = sa.select(*(OWNER_STATE.c[name] for name in ("owner", *_LIMITS))).where(own)
        with reading(self._engine) as connection:
            time = now(connection)
            valid = API_KEY.c.revoked_at.is_(None) & sa.or_(
                API_KEY.c.expires_at.is_(None), API_KEY.c.expires_at > time
            )
            keys = sa.select(API_KEY.c.owner, sa.func.sum(sa.case((valid, 1), else_=0)))
            key_rows = connection.execute(keys.group_by(API_KEY.c.owner)).all()
            job_rows, limit_rows = connection.execute(jobs).all(), connection.execute(limits).all()
            stored = {owner: int(size) for owner, size in connection.execute(sizes)}
        return _joined(key_rows, job_rows, limit_rows, stored)

    def set_limits(self, owner: str, limits: Mapping[Limit, int | None]) -> None:
        """Sets limits of an owner; None for the limit of the settings, 0 for no limit.

        Raises:
            VideoqueueError: the name cannot be used.
        """
        require_owner(owner)
        of_owner = sa.update(OWNER_STATE).where(OWNER_STATE.c.owner == owner)
        with writing(self._engine) as connection:
            if connection.execute(of_owner.values(dict(limits))).rowcount == 0:
                connection.execute(sa.insert(OWNER_STATE).values({"owner": owner, **limits}))
        audit.record("limits_set", owner=owner, **{str(limit): value for limit, value in limits.items()})

    def is_known(self, owner: str) -> bool:
        """Returns whether the owner has, or had, a key, a job or a limit of their own."""
        own = sa.or_(*(OWNER_STATE.c[name].is_not(None) for name in _LIMITS))
        found = sa.or_(
            sa.exists().where(API_KEY.c.owner == owner),
            sa.exists().where(JOB.c.owner == owner),
            sa.exists().where(OWNER_STATE.c.owner == owner, own),
        )
        with reading(self._engine) as connection:
            return bool(connection.execute(sa.select(found)).scalar_one())

    def unowned(self) -> int:
        """Returns the number of jobs that belong to nobody."""
        with reading(self._engine) as connection:
            return connection.execute(sa.select(sa.func.count()).where(JOB.c.owner == NOBODY)).scalar_one()

    def adopt(self, owner: str) -> int:
        """Makes an owner the owner of the jobs that belong to nobody, some at a time.

        Where the owner has used the same idempotency key, that of the adopted job is removed.

        Returns:
            The number of jobs.

        Raises:
            VideoqueueError: the name cannot be used.
        """
        require_owner(owner)
        count = 0
        while taken := self._adopt_some(owner):
            count += taken
            audit.record("jobs_adopted", owner=owner, jobs=taken)
        return count

    def _adopt_some(self, owner: str) -> int:
        used = sa.select(JOB.c.idempotency_key).where(
            JOB.c.owner == owner, JOB.c.idempotency_key.is_not(None)
        )
        key = sa.case((JOB.c.idempotency_key.in_(used.scalar_subquery()), None), else_=JOB.c.idempotency_key)
        with writing(self._engine) as connection:
            some = sa.select(JOB.c.job_id).where(JOB.c.owner == NOBODY).limit(_BATCH)
            ids = connection.scalars(some.with_for_update()).all()
            adopted = sa.update(JOB).where(JOB.c.job_id.in_(ids))
            return connection.execute(adopted.values(owner=owner, idempotency_key=key)).rowcount if ids else 0


_LIMITS: Final[tuple[Limit, ...]] = ("max_pending", "max_running", "max_stored_bytes")


def _joined(
    keys: Iterable[Sequence[Any]],
    jobs: Iterable[Sequence[Any]],
    limits: Iterable[Sequence[Any]],
    stored: Mapping[str, int],
) -> list[Owner]:
    """Returns the owners in any of the rows. The first value of each row is the owner's name."""
    valid, counts, own = ({row[0]: tuple(row[1:]) for row in rows} for rows in (keys, jobs, limits))
    found = []
    for owner in sorted({*valid, *counts, *own}):
        total, pending, running = map(int, counts.get(owner, (0, 0, 0)))
        max_pending, max_running, max_stored_bytes = own.get(owner, (None, None, None))
        found.append(
            Owner(
                owner=owner,
                keys=int(valid.get(owner, (0,))[0]),
                jobs=total,
                pending=pending,
                running=running,
                stored_bytes=stored.get(owner, 0),
                max_pending=max_pending,
                max_running=max_running,
                max_stored_bytes=max_stored_bytes,
            )
        )
    return found
