"""The heartbeat rows of worker processes: all reads and writes of the table `worker_heartbeat`.

Every function is one short transaction and raises DatabaseUnavailableError when the database cannot be used.
A worker is named by host and process id, as in the column `worker` of a job.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue.jobs.database import microseconds, now, reading, writing
from videoqueue.jobs.tables import HEARTBEAT


def heartbeat(engine: Engine, worker: str, threads: int, *, starting: bool = False) -> None:
    """Records that a worker is alive.

    Args:
        engine: the database.
        worker: the name of the worker.
        threads: the number of jobs that it processes at once.
        starting: whether this is the first heartbeat of the process; it sets `started_at`.
    """
    with writing(engine) as connection:
        time = now(connection)
        alive = {"seen_at": time, "threads": threads} | ({"started_at": time} if starting else {})
        known = sa.update(HEARTBEAT).where(HEARTBEAT.c.worker == worker).values(alive)
        if connection.execute(known).rowcount == 0:
            row = {"worker": worker, "started_at": time} | alive
            connection.execute(sa.insert(HEARTBEAT).values(row))


def forget(engine: Engine, worker: str) -> None:
    """Removes the row of a worker that has shut down in order."""
    with writing(engine) as connection:
        connection.execute(sa.delete(HEARTBEAT).where(HEARTBEAT.c.worker == worker))


def forget_silent(engine: Engine, seconds: float) -> int:
    """Removes the rows of workers whose last heartbeat is older than `seconds`.

    Returns:
        The number of removed rows.
    """
    with writing(engine) as connection:
        silent = HEARTBEAT.c.seen_at < now(connection) - microseconds(seconds)
        return connection.execute(sa.delete(HEARTBEAT).where(silent)).rowcount


def count_alive(engine: Engine, seconds: float) -> int:
    """Returns the number of workers whose last heartbeat is at most `seconds` old."""
    with reading(engine) as connection:
        return count_alive_at(connection, now(connection), seconds)


def count_alive_at(connection: Connection, time: int, seconds: float) -> int:
    """Returns the same as `count_alive`, within an open transaction whose time is `time`."""
    alive = HEARTBEAT.c.seen_at >= time - microseconds(seconds)
    return connection.execute(sa.select(sa.func.count()).where(alive)).scalar_one()
