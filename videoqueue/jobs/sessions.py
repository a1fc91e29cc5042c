"""The sessions of browsers: all writes of the table `session`."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.jobs.database import now, writing
from videoqueue.jobs.tables import SESSION


def remove_expired(engine: Engine, limit: int) -> int:
    """Removes at most `limit` sessions that have expired, in one short transaction.

    Returns:
        The number of removed rows.

    Raises:
        DatabaseUnavailableError: the database cannot be used.
    """
    with writing(engine) as connection:
        expired = sa.select(SESSION.c.token_sha256).where(SESSION.c.expires_at <= now(connection))
        some = SESSION.c.token_sha256.in_(expired.limit(limit))
        return connection.execute(sa.delete(SESSION).where(some)).rowcount
