"""The connection to the database that the commands for operators share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from videoqueue.errors import VideoqueueError
from videoqueue.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


@contextmanager
def opened_database(settings: Settings) -> Iterator[Engine]:
    """Connects to the database, and yields its engine.

    It must exist and have the tables of this version; none are created.

    Raises:
        VideoqueueError: it does not exist, or has other tables.
        DatabaseUnavailableError: it cannot be used.
    """
    import sqlalchemy as sa

    from videoqueue.jobs.database import reading
    from videoqueue.jobs.tables import API_KEY
    from videoqueue.services import build_engine

    engine = build_engine(settings, pool_size=2)
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file is not None and not Path(file).is_file():
        raise VideoqueueError(
            "There is no database yet. Set DATABASE_URL or VIDEOQUEUE_DATA_DIR as for the worker."
        )
    try:
        with reading(engine) as connection:
            if not sa.inspect(connection).has_table(API_KEY.name):
                raise VideoqueueError(
                    "The database does not have the tables of this version. "
                    "Run `flask --app videoqueue.app db upgrade` first, as the Procfile's release does."
                )
        yield engine
    finally:
        engine.dispose()
