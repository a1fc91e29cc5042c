"""Databases with the tables of this version, copied from one that was migrated once."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import flask_migrate
import psycopg
import sqlalchemy as sa

from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.settings import load_settings

#: The database that Postgres copies, and the empty one.
MIGRATED, EMPTY = "migrated", "template1"


class Databases:
    """The databases of a Postgres server on a unix socket.

    The server does not wait for the disk: the operating system does not crash in a test. With that wait,
    dropping a database takes longer than most tests.
    """

    def __init__(self, server: str) -> None:
        """`server` is the server's URL, with its first database."""
        self.url = sa.make_url(server).set(drivername="postgresql+psycopg")
        self._connection = psycopg.connect(server, autocommit=True)
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            self._connection.execute(f"ALTER SYSTEM SET {name} = off".encode())
        self._connection.execute("SELECT pg_reload_conf()")

    def make_template(self) -> None:
        """Makes the database MIGRATED."""
        self._connection.execute(f"CREATE DATABASE {MIGRATED}".encode())
        migrate(self.url.set(database=MIGRATED))

    @contextmanager
    def new(self, template: str = EMPTY, options: str = "STRATEGY FILE_COPY") -> Iterator[str]:
        """The URL of a new database, which is dropped at the end."""
        name = f"test_{uuid.uuid4().hex}"
        self._connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {options}".encode())
        yield self.url.set(database=name).render_as_string(hide_password=False)
        self._connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def close(self) -> None:
        self._connection.close()


def migrate(url: sa.URL) -> None:
    """Creates the tables with the commands of the Procfile's release, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "VIDEOQUEUE_DATA_DIR": folder,
            "VIDEOQUEUE_STORAGE_URL": f"file://{folder}/objects",
            "REDIS_URL": "redis://127.0.0.1:1/0",  # a migration does not connect to it
        }
        app = create_app(load_settings(settings))
        with app.app_context():
            flask_migrate.upgrade()
        services_of(app).engine.dispose()


@cache
def migrated_file() -> bytes:
    """Returns an SQLite database with the tables, as a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "videoqueue.db"
        migrate(sa.make_url(f"sqlite:///{file}"))
        return file.read_bytes()


def write_tables(file: Path) -> None:
    """Makes an SQLite database with the tables."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(migrated_file())
