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
from sqlalchemy.engine import Connection

from videoqueue.jobs.tables import JOB, OWNER_STATE
from videoqueue.jobs.types import OwnerLimits

_COUNT: Final = sa.func.count()

#: The turns in order. `ready` has each owner with a job that can be claimed, and when the oldest of these was
#: created: one step in the index of pending jobs for each owner, however many jobs they have.
_TURNS: Final = """
    WITH RECURSIVE ready(owner, created_at) AS (
        SELECT owner, created_at FROM (
            SELECT owner, created_at FROM job {pending} WHERE status = 'pending' AND run_after <= :time
            ORDER BY owner, created_at LIMIT 1
        ) AS first
        UNION ALL
        SELECT next.owner, next.created_at FROM ready {next}
    ), running AS (
        SELECT owner, count(*) AS jobs FROM job {running} WHERE status = 'running' GROUP BY owner
    )
    SELECT ready.owner, coalesce(last_claim, 0) AS last_claim, coalesce(max_running, :limit) AS max_running
    FROM ready
    LEFT JOIN running ON running.owner = ready.owner
    LEFT JOIN owner_state ON owner_state.owner = ready.owner
    WHERE coalesce(max_running, :limit) = 0 OR coalesce(jobs, 0) < coalesce(max_running, :limit)
    ORDER BY coalesce(jobs, 0), coalesce(last_claim, 0), created_at, ready.owner
"""
#: SQLite has no LATERAL. Without statistics it chooses other indexes, so it is told which ones to use.
_SQLITE: Final = {
    "pending": "INDEXED BY ix_job_owner_pending",
    "running": "INDEXED BY ix_job_owner_running",
    "next": """JOIN job AS next ON next.rowid = (
            SELECT rowid FROM job INDEXED BY ix_job_owner_pending
            WHERE status = 'pending' AND run_after <= :time AND owner > ready.owner
            ORDER BY owner, created_at LIMIT 1
        )""",
}
_POSTGRES: Final = {
    "pending": "",
    "running": "",
    "next": """CROSS JOIN LATERAL (
            SELECT owner, created_at FROM job
            WHERE status = 'pending' AND run_after <= :time AND owner > ready.owner
            ORDER BY owner, created_at LIMIT 1
        ) AS next""",
}
#: By dialect. A text is compiled once; an expression would be built again for each claim.
TURNS: Final = {"sqlite": _TURNS.format(**_SQLITE), "postgresql": _TURNS.format(**_POSTGRES)}
_FIRST: Final = {dialect: sa.text(f"{turns} LIMIT 1") for dialect, turns in TURNS.items()}
_NOTE: Final = sa.text("""
    INSERT INTO owner_state (owner, last_claim) VALUES (:owner, :time)
    ON CONFLICT (owner) DO UPDATE SET last_claim = :time WHERE owner_state.last_claim = :seen
    RETURNING owner
""")


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
    query = _FIRST[connection.dialect.name]
    row = connection.execute(query, {"time": time, "limit": limits.max_running}).one_or_none()
    return None if row is None else Turn(*row)


def take_turn(connection: Connection, turn: Turn, time: int) -> bool:
    """Locks the owner's row until the end of the transaction and notes the claim in it.

    Returns:
        False if another worker has claimed a job of the owner since the choice. Then nothing has changed, and
        the choice is to be made again. So the limit of running jobs holds, and the turns are fair, also when
        several workers choose at the same time.
    """
    values = {"owner": turn.owner, "time": time, "seen": turn.last_claim}
    return connection.execute(_NOTE, values).one_or_none() is not None


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


def pass_turn(connection: Connection, limits: OwnerLimits, owner: str, time: int) -> bool:
    """Makes another pending job of an owner due at once, if the owner has a limit of running jobs.

    It belongs in each transaction after which one of the owner's jobs no longer runs. It chooses the oldest
    job that is not yet due; as many as may run at once are enough. A job that another transaction is changing
    is skipped: it is being claimed or announced already.

    Returns:
        True if the owner has a limit. Then the caller announces a job that is due, after the commit.
    """
    state = sa.select(OWNER_STATE.c.max_running).where(OWNER_STATE.c.owner == owner)
    own = connection.execute(state).scalar_one_or_none()
    limit = limits.max_running if own is None else own
    if not limit:
        return False
    next_ones = JOB.c.job_id.in_(_oldest_of(owner, time, limit))
    not_due = sa.select(JOB.c.job_id).where(next_ones, JOB.c.announce_after > time)
    one = not_due.order_by(JOB.c.created_at, JOB.c.job_id).limit(1).with_for_update(skip_locked=True)
    job_id = connection.execute(one).scalar_one_or_none()
    if job_id is not None:
        connection.execute(sa.update(JOB).where(JOB.c.job_id == job_id).values(announce_after=time))
    return True


def _max_running(limits: OwnerLimits) -> sa.ColumnElement[int]:
    return sa.func.coalesce(OWNER_STATE.c.max_running, limits.max_running)


def _oldest_of(owner: str, time: int, count: int = 1) -> sa.Select[uuid.UUID]:
    ready = _pending(JOB.c.job_id).where(JOB.c.owner == owner, JOB.c.run_after <= time)
    return ready.order_by(JOB.c.created_at, JOB.c.job_id).limit(count)


def _pending(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(*columns).select_from(JOB).where(sa.text("job.status = 'pending'"))


def _running(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(*columns).select_from(JOB).where(sa.text("job.status = 'running'"))
