"""The tables of owners: their keys, browser sessions, limits and turns; and what all tables have in common.

Times are integers: microseconds since 1970 UTC. `tables` says which module writes which table.
"""

from __future__ import annotations

from typing import Final, cast

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: The maximum length of an owner's name.
MAX_OWNER: Final = 64


class Base(DeclarativeBase):
    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ApiKeyRow(Base):
    """A key with which an owner uses the API. Its secret is not stored."""

    __tablename__ = "api_key"

    #: The public part of the key: 12 characters of base32.
    key_id: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(MAX_OWNER), index=True)
    #: What the key may do: names of scopes, sorted and joined by commas.
    scopes: Mapped[str] = mapped_column(sa.String(100))
    #: SHA-256 of the secret part, in hexadecimal.
    secret_sha256: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[int] = mapped_column(sa.BigInteger)
    #: When the key stops to be valid; null for never.
    expires_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: To the minute; null before the first use.
    last_used_at: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: The key that was created by the rotation of this one; null unless it was rotated.
    replaced_by: Mapped[str | None] = mapped_column(sa.String(16))


class OwnerStateRow(Base):
    """The exceptions of an owner from the limits of the settings, and the turn of its jobs.

    Owners without a row have the limits of the settings, and were never claimed for. In a row, null means the
    setting, and 0 no limit.
    """

    __tablename__ = "owner_state"

    owner: Mapped[str] = mapped_column(sa.String(MAX_OWNER), primary_key=True)
    #: The maximum numbers of pending and of running jobs.
    max_pending: Mapped[int | None] = mapped_column(sa.Integer)
    max_running: Mapped[int | None] = mapped_column(sa.Integer)
    #: The maximum size of the owner's stored videos together.
    max_stored_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)
    #: When a job of the owner was last claimed; 0 for never.
    last_claim: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")

    __table_args__ = (
        sa.CheckConstraint(
            "max_pending >= 0 AND max_running >= 0 AND max_stored_bytes >= 0", name="limits_range"
        ),
    )


class SessionRow(Base):
    """A browser that has logged in with a key."""

    __tablename__ = "session"

    #: SHA-256 of the token in the cookie, in hexadecimal.
    token_sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    #: The key that logged in, `ApiKeyRow.key_id`.
    key_id: Mapped[str] = mapped_column(sa.String(16), index=True)
    expires_at: Mapped[int] = mapped_column(sa.BigInteger, index=True)


API_KEY: Final = cast(sa.Table, ApiKeyRow.__table__)
OWNER_STATE: Final = cast(sa.Table, OwnerStateRow.__table__)
SESSION: Final = cast(sa.Table, SessionRow.__table__)
