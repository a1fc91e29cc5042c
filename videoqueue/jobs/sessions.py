"""The sessions of browsers that have logged in with a key: all reads and writes of the table `session`.

Of the token in the cookie only the SHA-256 is stored. A session is valid no longer than its key.
"""

from __future__ import annotations

import secrets
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.jobs.api_key import ApiKey, hashed, key_of
from videoqueue.jobs.database import microseconds, now, reading, writing
from videoqueue.jobs.tables import API_KEY, SESSION

#: How long a session lasts; seconds.
SESSION_SECONDS: Final = 12 * 60 * 60
#: The `key_id` of a session of VIDEOQUEUE_ADMIN_KEY, which has no row in `api_key`.
ADMIN_SESSION: Final = "admin"
_TOKEN_BYTES: Final = 32
#: The longest token that is looked up.
_LONGEST: Final = 100


class SessionStore:
    """Creates, finds and ends sessions.

    Each method is one short transaction. All raise DatabaseUnavailableError when the database cannot be used.
    """

    def __init__(self, engine: Engine, admin_secret: str = "") -> None:
        """Connects to nothing yet.

        Args:
            engine: the database.
            admin_secret: a text that changes with VIDEOQUEUE_ADMIN_KEY. The sessions of that key are stored
                together with it, so they end when the key changes. Empty without such a key.
        """
        self._engine = engine
        self._admin_secret = admin_secret

    def create(self, key_id: str) -> str:
        """Creates a session of a key.

        Args:
            key_id: the public part of the key, or `ADMIN_SESSION`.

        Returns:
            The token for the cookie, which cannot be read again.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        stored = self._admin_hash(token) if key_id == ADMIN_SESSION else hashed(token)
        with writing(self._engine) as connection:
            ends = now(connection) + microseconds(SESSION_SECONDS)
            row = {"token_sha256": stored, "key_id": key_id, "expires_at": ends}
            connection.execute(sa.insert(SESSION).values(row))
        return token

    def find(self, token: str) -> ApiKey | str | None:
        """Returns the key of a session, or `ADMIN_SESSION`.

        Returns:
            None if there is no such session, or if it or its key is no longer valid.
        """
        if len(token) > _LONGEST:
            return None
        with reading(self._engine) as connection:
            time = now(connection)
            is_current = SESSION.c.expires_at > time
            if self._admin_secret:
                by_admin = sa.and_(
                    SESSION.c.token_sha256 == self._admin_hash(token), SESSION.c.key_id == ADMIN_SESSION
                )
                if connection.execute(sa.select(SESSION.c.key_id).where(by_admin, is_current)).first():
                    return ADMIN_SESSION
            joined = sa.join(SESSION, API_KEY, SESSION.c.key_id == API_KEY.c.key_id)
            query = sa.select(API_KEY).select_from(joined)
            row = connection.execute(query.where(SESSION.c.token_sha256 == hashed(token), is_current)).first()
        if row is None:
            return None
        key = key_of(row)
        return key if key.state(time) == "valid" else None

    def end(self, token: str) -> None:
        """Ends a session. Nothing happens if there is none."""
        stored = [hashed(token), self._admin_hash(token)]
        with writing(self._engine) as connection:
            connection.execute(sa.delete(SESSION).where(SESSION.c.token_sha256.in_(stored)))

    def _admin_hash(self, token: str) -> str:
        return hashed(f"{self._admin_secret}.{token}")


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
