"""Whose job is next: fair turns of the owners, and their limits of running jobs.

A message is a permit to run one job, whichever it names. The transaction of a claim chooses the owner:
the one with the fewest running jobs; of several, the one that was claimed for longest ago. An owner at its
limit of running jobs is left out.

A database uses a partial index only if the query spells out the state as the index does.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from videoqueue.jobs.tables import JOB, OWNER_STATE
from videoqueue.jobs.types import OwnerLimits

_COUNT: Final = sa.func.count()

#: Each owner with pending jobs once, and null: one step in the index for each owner. SQLite would choose an
#: index of all pending jobs and read them for each owner, so it is told which one to use.
_OWNERS: Final = """
    SELECT min(owner) AS owner FROM job {indexed} WHERE status = 'pending'
    UNION ALL
    SELECT (SELECT min(owner) FROM job {indexed} WHERE status = 'pending' AND owner > owners.owner)
    FROM owners WHERE owner IS NOT NULL
"""
_INDEXED: Final = {"sqlite": "INDEXED BY ix_job_owner_pending"}


@dataclass(frozen=True)
class Turn:
    """The owner whose job is next, its `last_claim` at the choice, and its limit of running jobs."""

    owner: str
    last_claim: int
    max_running: int


def next_turn(connection: Connection, limits: OwnerLimits, time: int) -> Turn | None:
    """Returns whose job is next, or None if no job can be claimed at `time`.

    Owners for whom no job was ever claimed come first; of several, the one whose job is the oldest.
    """
    query = turns(limits, time, connection.dialect.name).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Turn(*row)


def turns(limits: OwnerLimits, time: int, dialect: str) -> sa.Select[str, int, int]:
    """Returns a query for the turns of all owners with a job that can be claimed at `time`, in order."""
    text = sa.text(_OWNERS.format(indexed=_INDEXED.get(dialect, "")))
    owners = text.columns(sa.column("owner", sa.String)).cte("owners", recursive=True)
    of_owner = JOB.c.owner == owners.c.owner
    running = _running(_COUNT).where(of_owner).scalar_subquery()
    oldest = _pending(JOB.c.created_at).where(of_owner, JOB.c.run_after <= time).order_by(JOB.c.created_at)
    each = (
        sa.select(
            owners.c.owner,
            sa.func.coalesce(OWNER_STATE.c.last_claim, 0).label("last_claim"),
            _max_running(limits).label("max_running"),
            running.label("running"),
            oldest.limit(1).scalar_subquery().label("oldest"),
        )
        .select_from(owners.outerjoin(OWNER_STATE, OWNER_STATE.c.owner == owners.c.owner))
        .where(owners.c.owner.is_not(None))
        .subquery()
    )
    free = (each.c.max_running == 0) | (each.c.running < each.c.max_running)
    fair = each.c.running, each.c.last_claim, each.c.oldest, each.c.owner
    query = sa.select(each.c.owner, each.c.last_claim, each.c.max_running)
    return query.where(free, each.c.oldest.is_not(None)).order_by(*fair)


def take_turn(connection: Connection, turn: Turn, time: int) -> bool:
    """Locks the owner's row until the end of the transaction and notes the claim in it.

    Returns:
        False if another worker has claimed a job of the owner since the choice. Then nothing has changed, and
        the choice is to be made again. So the limit of running jobs holds, and the turns are fair, also when
        several workers choose at the same time.
    """
    unchanged = OWNER_STATE.c.last_claim == turn.last_claim
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    note = insert(OWNER_STATE).values(owner=turn.owner, last_claim=time)
    note = note.on_conflict_do_update(index_elements=["owner"], set_={"last_claim": time}, where=unchanged)
    return connection.execute(note.returning(OWNER_STATE.c.owner)).one_or_none() is not None


def claimable_of(owner: str, named: uuid.UUID, time: int) -> sa.ColumnElement[uuid.UUID]:
    """Returns an expression: the named job if it is the owner's and can be claimed, else their oldest."""
    ready = (JOB.c.status == "pending") & (JOB.c.owner == owner) & (JOB.c.run_after <= time)
    theirs = sa.select(JOB.c.job_id).where(JOB.c.job_id == named, ready)
    return sa.func.coalesce(
        theirs.scalar_subquery(), _oldest_of(owner, time).scalar_subquery(), type_=sa.Uuid()
    )


def at_running_limit(limits: OwnerLimits) -> sa.Select[str]:
    """Returns a query for the owners that have as many running jobs as they may."""
    running = _running(JOB.c.owner, _COUNT.label("jobs")).group_by(JOB.c.owner).subquery()
    limit = _max_running(limits)
    return (
        sa.select(running.c.owner)
        .select_from(running.outerjoin(OWNER_STATE, OWNER_STATE.c.owner == running.c.owner))
        .where(limit > 0, running.c.jobs >= limit)
    )


def count_claimable(connection: Connection, limits: OwnerLimits, time: int) -> int:
    """Returns how many pending jobs workers could claim now.

    Of an owner with a limit of running jobs, it counts only as many as may still start.
    """
    ready = _pending(JOB.c.owner, _COUNT).where(JOB.c.run_after <= time).group_by(JOB.c.owner)
    counts = _by_owner(connection, ready)
    own = sa.select(OWNER_STATE.c.owner, OWNER_STATE.c.max_running)
    exceptions = _by_owner(connection, own.where(OWNER_STATE.c.max_running.is_not(None)))
    if not exceptions and limits.max_running == 0:
        return sum(counts.values())
    running = _by_owner(connection, _running(JOB.c.owner, _COUNT).group_by(JOB.c.owner))
    total = 0
    for owner, count in counts.items():
        limit = exceptions.get(owner, limits.max_running)
        total += min(count, max(0, limit - running.get(owner, 0))) if limit else count
    return total


def _by_owner(connection: Connection, query: sa.Select[Any]) -> dict[str, int]:
    return {owner: number for owner, number in connection.execute(query)}


def pass_turn(connection: Connection, limits: OwnerLimits, owner: str, time: int) -> None:
    """Makes the oldest pending job of an owner due at once, if the owner has a limit of running jobs.

    It belongs in each transaction after which one of the owner's jobs no longer runs. A job that another
    transaction is changing is skipped: it is being announced already.
    """
    state = sa.select(OWNER_STATE.c.max_running).where(OWNER_STATE.c.owner == owner)
    limit = connection.execute(state).scalar_one_or_none()
    if not (limits.max_running if limit is None else limit):
        return
    oldest = _oldest_of(owner, time).with_for_update(skip_locked=True)
    job_id = connection.execute(oldest).scalar_one_or_none()
    due = sa.update(JOB).where(JOB.c.job_id == job_id, JOB.c.announce_after > time)
    if job_id is not None:
        connection.execute(due.values(announce_after=time))


def _max_running(limits: OwnerLimits) -> sa.ColumnElement[int]:
    return sa.func.coalesce(OWNER_STATE.c.max_running, limits.max_running)


def _oldest_of(owner: str, time: int) -> sa.Select[uuid.UUID]:
    ready = _pending(JOB.c.job_id).where(JOB.c.owner == owner, JOB.c.run_after <= time)
    return ready.order_by(JOB.c.created_at, JOB.c.job_id).limit(1)


def _pending(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(*columns).select_from(JOB).where(sa.text("job.status = 'pending'"))


def _running(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(*columns).select_from(JOB).where(sa.text("job.status = 'running'"))
