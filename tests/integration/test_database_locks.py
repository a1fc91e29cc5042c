"""A process that froze in the middle of a transaction does not keep the others waiting for ever.

Nothing that bounds it outlives the transaction: behind a pooler the session goes on to other clients.
"""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs import deadline
from videoqueue.jobs.database import engine_options, now, prepare, reading, writing

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)

SETTINGS = ["lock_timeout", "idle_in_transaction_session_timeout"]


@pytest.mark.parametrize("transaction", [reading, writing])
@pytest.mark.parametrize("setting", SETTINGS)
def test_postgres_bounds_how_long_a_lock_is_held_and_waited_for(
    engine: Engine, transaction: Any, setting: str
) -> None:
    for _ in range(2):
        with transaction(engine) as connection:
            assert connection.exec_driver_sql(f"SHOW {setting}").scalar_one() == "10s"


@pytest.mark.parametrize("transaction", [reading, writing])
def test_the_server_asks_whether_the_machine_of_a_client_is_still_there(
    engine: Engine, transaction: Any
) -> None:
    """Their values are 0 on the unix socket of the tests, which needs no such question."""
    ours = "SELECT name FROM pg_settings WHERE source = 'session' AND name LIKE 'tcp_keepalives_%%'"
    with transaction(engine) as connection:
        found = set(connection.exec_driver_sql(ours).scalars())
    assert found == {"tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"}


def test_a_session_is_left_as_it_was(engine: Engine) -> None:
    ours = "SELECT name, setting FROM pg_settings WHERE source = 'session' ORDER BY name"
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        before = _alone(driver, ours)
        with writing(engine) as other:
            now(other)
        for _ in range(10):  # psycopg prepares what it has sent five times
            connection.execute(sa.text("SELECT :x + 1"), {"x": 1})
            connection.commit()
        assert _alone(driver, ours) == before
        assert _alone(driver, "SELECT name FROM pg_prepared_statements") == []
        assert _alone(driver, "SELECT objid FROM pg_locks WHERE locktype = 'advisory'") == []
        for setting in SETTINGS:
            assert _alone(driver, f"SHOW {setting}") == [("0",)]


def test_a_url_that_asks_for_prepared_statements_gets_none(database_url: str) -> None:
    url = f"{database_url}&prepare_threshold=0"
    engine = sa.create_engine(url, **engine_options(url, 1))
    prepare(engine)
    with reading(engine) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.prepare_threshold is None
    engine.dispose()


def _alone(driver: Any, statement: str) -> list[tuple[str, ...]]:
    """What the next client of the same session sees."""
    driver.autocommit = True
    try:
        rows: list[tuple[str, ...]] = driver.execute(statement).fetchall()
    finally:
        driver.autocommit = False
    return rows


def test_a_statement_whose_reply_never_comes_ends_without_a_deadline_too(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a worker's threads, behind a proxy that has lost the reply and keeps the connection."""
    deadline.install(engine)
    engine.dispose()  # connections from before know no limit
    monkeypatch.setattr(deadline, "HUNG_SECONDS", 0.2)
    with pytest.raises(DatabaseUnavailableError), writing(engine) as connection:
        connection.execute(sa.text("SELECT pg_sleep(60)"))
