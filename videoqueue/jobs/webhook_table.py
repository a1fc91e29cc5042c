"""The table of webhook events, and its writes in the transactions of jobs.

The row of an event is written in the transaction that ends the job: an end is never missed, and one that was
rolled back is never told. The row has nothing of the job. What is sent is read from the job's row, which does
not change after the end. The row is removed once the receiver has accepted the event, and with the job.
"""

from __future__ import annotations

import uuid
from typing import Final, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapped, mapped_column

from videoqueue.jobs.owner_tables import Base

#: The maximum number of characters of `WebhookEventRow.error`.
MAX_ERROR: Final = 300


class WebhookEventRow(Base):
    """The event of a job that has ended, until its receiver has accepted it."""

    __tablename__ = "webhook_event"

    job_id: Mapped[uuid.UUID] = mapped_column(sa.Uuid, primary_key=True)
    created_at: Mapped[int] = mapped_column(sa.BigInteger)
    #: How often it was taken in order to be sent. The number also says who may store the outcome.
    tries: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    #: When it is sent next; null when it is given up.
    next_at: Mapped[int | None] = mapped_column(sa.BigInteger, index=True)
    #: Why the last try failed, for operators.
    error: Mapped[str | None] = mapped_column(sa.String(MAX_ERROR))


WEBHOOK_EVENT: Final = cast(sa.Table, WebhookEventRow.__table__)


def record_event(connection: Connection, job_id: uuid.UUID, time: int) -> None:
    """Writes the event of a job that this transaction ends."""
    values = {"job_id": job_id, "created_at": time, "tries": 0, "next_at": time}
    connection.execute(sa.insert(WEBHOOK_EVENT).values(values))


def drop_event(connection: Connection, job_id: uuid.UUID) -> None:
    """Removes the event of a job that this transaction deletes, if there is one."""
    connection.execute(sa.delete(WEBHOOK_EVENT).where(WEBHOOK_EVENT.c.job_id == job_id))
