"""A process that froze in the middle of a transaction does not keep the others waiting for ever."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import Engine


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("setting", ["lock_timeout", "idle_in_transaction_session_timeout"])
def test_postgres_bounds_how_long_a_lock_is_held_and_waited_for(engine: Engine, setting: str) -> None:
    engine.dispose()  # the next connection is a new one
    with engine.connect() as connection:
        first = connection.exec_driver_sql(f"SHOW {setting}").scalar_one()
        connection.rollback()
        # It must outlive the transaction in which it was set.
        assert (first, connection.exec_driver_sql(f"SHOW {setting}").scalar_one()) == ("10s", "10s")
