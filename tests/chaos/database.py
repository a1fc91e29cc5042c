"""The database of the service, as the harness looks into it: directly, past the proxies."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.chaos.servers import Postgres


class ServiceDatabase:
    """Postgres, or without it the SQLite file in the data folder. Connects when it is first used."""

    def __init__(self, postgres: Postgres | None, data: Path) -> None:
        self._file = None if postgres else data / "videoqueue.db"
        self.url = postgres.uri if postgres else f"sqlite:///{self._file}"
        self.engine = sa.create_engine(self.url, pool_pre_ping=True)

    def rows(self, query: str, **values: Any) -> list[sa.Row[*tuple[Any, ...]]]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text(query), values))

    def change(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def is_writable(self) -> bool:
        """Whether the database takes a write soon; SQLite has one lock for all."""
        if self._file is None:
            return True
        with closing(sqlite3.connect(self._file, timeout=3)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.rollback()
        return True

    def jobs_under_way(self) -> list[tuple[uuid.UUID, int]]:
        """The running jobs, each with the process that claimed it."""
        rows = self.rows("SELECT job_id, worker FROM job WHERE status = 'running'")
        return [(uuid.UUID(str(job_id)), int(worker.rsplit(":", 1)[1])) for job_id, worker in rows]
