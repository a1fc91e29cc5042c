"""Counters that survive restarts: rows that are raised in the transaction of what they count.

So a count is exact whatever is killed: it is committed with the change of the job's row, or not at all.

The value of a counter is the sum of its rows, one for each shard, so that transactions rarely wait for each
other. A transaction raises its counters last, all in one statement, and in order of their names and labels.
So two transactions that raise the same counters cannot wait for each other.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapped, mapped_column

from videoqueue.failpoints import failpoint
from videoqueue.jobs.owner_tables import Base

SHARDS: Final = 16

#: The values of a counter's labels, in the order in which `videoqueue.jobs.measures` declares them.
Labels: TypeAlias = tuple[str, ...]


class CounterRow(Base):
    """A part of a counter. No row is ever removed."""

    __tablename__ = "counter"

    shard: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    #: The values of the labels, as a JSON array.
    labels: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    value: Mapped[int] = mapped_column(sa.BigInteger)

    __table_args__ = (
        # The rows of a shard lie together in the index, which in SQLite is the table. Postgres updates a row
        # within its page, for which half of the page is left free.
        {"sqlite_with_rowid": False, "postgresql_with": {"fillfactor": "50"}},
    )


COUNTER: Final = cast(sa.Table, CounterRow.__table__)


class Count(NamedTuple):
    """By how much a counter is raised."""

    name: str
    labels: Labels = ()
    amount: int = 1


def raise_counters(connection: Connection, job_id: uuid.UUID, counts: Iterable[Count]) -> None:
    """Raises counters by what happened to a job. It has to be the last write of the transaction.

    Args:
        connection: the transaction that changes the job.
        job_id: the job; it chooses the shard.
        counts: what happened. Amounts for the same counter are added.
    """
    amounts: dict[tuple[str, str], int] = {}
    for name, labels, amount in counts:
        key = name, json.dumps(labels, ensure_ascii=False, separators=(",", ":"))
        amounts[key] = amounts.get(key, 0) + amount
    if not amounts:
        return
    values: dict[str, object] = {"shard": job_id.int % SHARDS}
    for number, ((name, text), amount) in enumerate(sorted(amounts.items())):
        values |= {f"name{number}": name, f"labels{number}": text, f"amount{number}": amount}
    connection.execute(_raise(len(amounts)), values)
    failpoint("job.counted")


@lru_cache
def _raise(count: int) -> sa.TextClause:
    """Returns the statement for so many counters. A text is compiled once."""
    rows = ", ".join(f"(:shard, :name{n}, :labels{n}, :amount{n})" for n in range(count))
    return sa.text(
        f"INSERT INTO counter (shard, name, labels, value) VALUES {rows} "  # noqa: S608 - names of parameters
        "ON CONFLICT (shard, name, labels) DO UPDATE SET value = counter.value + excluded.value"
    )


def read_counters(connection: Connection) -> dict[str, dict[Labels, int]]:
    """Returns the values of all counters by name and labels, as far as they were ever raised."""
    total = sa.func.sum(COUNTER.c.value)
    query = sa.select(COUNTER.c.name, COUNTER.c.labels, total).group_by(COUNTER.c.name, COUNTER.c.labels)
    found: dict[str, dict[Labels, int]] = {}
    for name, labels, value in connection.execute(query):
        found.setdefault(name, {})[tuple(json.loads(labels))] = int(value)
    return found
