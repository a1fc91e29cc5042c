"""The keys with which owners use the API: all reads and writes of the table `api_key`.

Of the secret of a key only the SHA-256 is stored (`api_key`). Times are microseconds since 1970.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from videoqueue import audit
from videoqueue.errors import VideoqueueError
from videoqueue.jobs.api_key import (
    NO_KEY,
    ApiKey,
    Checked,
    Scope,
    hashed,
    joined,
    key_of,
    new_token,
    split_token,
)
from videoqueue.jobs.database import busy_timeout, microseconds, now, reading, writing
from videoqueue.jobs.tables import API_KEY, MAX_OWNER

#: Printable ASCII without the space and the comma, which separates repeated headers.
_OWNER: Final = re.compile(rf"[!-+\--~]{{1,{MAX_OWNER}}}")
UNKNOWN_KEY: Final = "There is no key with this id. `videoqueue keys list` shows all keys."
#: Seconds between two writes of `last_used_at`.
_USED_SECONDS: Final = 60


def require_owner(name: str) -> str:
    """Returns the name of an owner if it can be used.

    Raises:
        VideoqueueError: it cannot; the message says what it takes.
    """
    if not _OWNER.fullmatch(name):
        raise VideoqueueError(
            f"This name of an owner cannot be used: it takes 1 to {MAX_OWNER} ASCII characters without "
            "spaces and commas."
        )
    return name


class KeyStore:
    """Creates, checks and revokes keys.

    Each method is one short transaction. All raise DatabaseUnavailableError when the database cannot be used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        owner: str,
        scopes: frozenset[Scope],
        expires_seconds: float | None = None,
        *,
        token: str | None = None,
    ) -> tuple[ApiKey, str]:
        """Creates a key.

        Args:
            owner: the owner of the jobs that are submitted with it.
            scopes: what it may do.
            expires_seconds: seconds until it expires; None for never.
            token: the text of the key, by `new_token`; a new one by default.

        Returns:
            The key, and its text with the secret, which cannot be read again.
        """
        with writing(self._engine) as connection:
            key, token = _insert(connection, require_owner(owner), scopes, expires_seconds, token)
        audit.record("key_created", key_id=key.key_id, owner=owner, scopes=joined(scopes))
        return key, token

    def all(self) -> Sequence[ApiKey]:
        """Returns all keys, also revoked and expired ones, the oldest first."""
        query = _SELECT.order_by(API_KEY.c.created_at, API_KEY.c.key_id)
        with reading(self._engine) as connection:
            return [key_of(row) for row in connection.execute(query)]

    def any_made(self) -> bool:
        """Returns whether a key was ever created. Revoked and expired ones count."""
        with reading(self._engine) as connection:
            return bool(connection.execute(sa.select(sa.exists(sa.select(API_KEY.c.key_id)))).scalar_one())

    def revoke(self, key_id: str) -> Literal["revoked", "already_revoked"] | None:
        """Revokes a key. A process that has just checked it accepts it for some more seconds.

        Returns:
            Whether this call revoked it or an earlier one; None if there is no key with this id.
        """
        of_key = API_KEY.c.key_id == key_id
        with writing(self._engine) as connection:
            valid = sa.update(API_KEY).where(of_key, API_KEY.c.revoked_at.is_(None))
            revoked = valid.values(revoked_at=now(connection)).returning(API_KEY.c.owner)
            owner = connection.execute(revoked).scalar_one_or_none()
            if owner is None:
                known = connection.execute(sa.select(API_KEY.c.key_id).where(of_key)).one_or_none()
                return None if known is None else "already_revoked"
        audit.record("key_revoked", key_id=key_id, owner=owner)
        return "revoked"

    def rotatable(self, key_id: str) -> ApiKey:
        """Returns a key that can be rotated.

        Raises:
            VideoqueueError: as `rotate`.
        """
        with reading(self._engine) as connection:
            return _rotatable(connection, _SELECT.where(API_KEY.c.key_id == key_id))

    def rotate(self, key_id: str, overlap_seconds: float, *, token: str | None = None) -> tuple[ApiKey, str]:
        """Creates a key like another one, which expires after an overlap.

        A key that expires is replaced by one with the same lifetime. A key is rotated at most once: it would
        hand on the end of its overlap as its lifetime.

        Args:
            key_id: the key to replace.
            overlap_seconds: how long it remains valid, if it does not expire earlier.
            token: the text of the new key, by `new_token`; a new one by default.

        Returns:
            The new key, and its text with the secret, which cannot be read again.

        Raises:
            VideoqueueError: there is no such key, it is no longer valid, or it was rotated before.
        """
        of_key = API_KEY.c.key_id == key_id
        with writing(self._engine) as connection:
            old = _rotatable(connection, _SELECT.where(of_key).with_for_update())
            time = now(connection)
            lifetime = None if old.expires_at is None else (old.expires_at - old.created_at) / 1_000_000
            ends = end_of_overlap(old, time, overlap_seconds)
            key, token = _insert(connection, old.owner, old.scopes, lifetime, token)
            replaced = sa.update(API_KEY).where(of_key)
            connection.execute(replaced.values(expires_at=ends, replaced_by=key.key_id))
        audit.record("key_rotated", key_id=key.key_id, owner=key.owner, replaces=key_id)
        return key, token

    def check(self, token: str) -> Checked | None:
        """Returns the key that the text belongs to, or None if there is none or its secret differs.

        The key may be expired or revoked.
        """
        parts = split_token(token)
        if parts is None:
            return None
        key_id, secret = parts
        query = sa.select(API_KEY).where(API_KEY.c.key_id == key_id)
        with reading(self._engine) as connection:
            time = now(connection)
            row = connection.execute(query).one_or_none()
        expected = NO_KEY if row is None else row.secret_sha256
        if not hmac.compare_digest(hashed(secret), expected) or row is None:
            return None
        return Checked(key_of(row), time)

    def note_use(self, checked: Checked) -> None:
        """Writes the time of the last use, at most once a minute. Waits for no other writer of the key.

        Raises:
            DatabaseUnavailableError: it cannot be written now, which does no harm.
        """
        last = checked.key.last_used_at
        before = checked.time - microseconds(_USED_SECONDS)
        if last is not None and last > before:
            return
        stale = sa.or_(API_KEY.c.last_used_at.is_(None), API_KEY.c.last_used_at <= before)
        free = sa.select(API_KEY.c.key_id).where(API_KEY.c.key_id == checked.key.key_id, stale)
        used = sa.update(API_KEY).where(API_KEY.c.key_id.in_(free.with_for_update(skip_locked=True)))
        with writing(self._engine) as connection:
            if connection.dialect.name != "sqlite":
                connection.execute(used.values(last_used_at=checked.time))
                return
            with busy_timeout(connection, 0):
                connection.execute(used.values(last_used_at=checked.time))


_SELECT: Final = sa.select(*(column for column in API_KEY.c if column.name != "secret_sha256"))


def _insert(
    connection: Connection,
    owner: str,
    scopes: frozenset[Scope],
    expires_seconds: float | None,
    token: str | None = None,
) -> tuple[ApiKey, str]:
    token = token or new_token()
    parts = split_token(token)
    assert parts is not None
    key_id, secret = parts
    time = now(connection)
    key = ApiKey(
        key_id=key_id,
        owner=owner,
        scopes=scopes,
        created_at=time,
        expires_at=None if expires_seconds is None else time + microseconds(expires_seconds),
        revoked_at=None,
        last_used_at=None,
        replaced_by=None,
    )
    row = vars(key) | {"scopes": joined(scopes), "secret_sha256": hashed(secret)}
    connection.execute(sa.insert(API_KEY).values(row))
    return key, token


def _rotatable(connection: Connection, query: sa.Select[Any]) -> ApiKey:
    row = connection.execute(query).one_or_none()
    if row is None:
        raise VideoqueueError(UNKNOWN_KEY)
    key = key_of(row)
    if (state := key.state(now(connection))) != "valid":
        raise VideoqueueError(f"This key is {state}, so it cannot be rotated. Create a new one.")
    if key.replaced_by is not None:
        raise VideoqueueError(
            f"This key was rotated before: {key.replaced_by} replaces it. Rotate that one, or create a new "
            "one."
        )
    return key


def end_of_overlap(old: ApiKey, time: int, seconds: float) -> int:
    """Returns when a key that is rotated at that time expires."""
    end = time + microseconds(seconds)
    return end if old.expires_at is None else min(end, old.expires_at)
