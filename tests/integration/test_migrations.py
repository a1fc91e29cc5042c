"""The migrations make exactly the tables that the models describe, and take them away again."""

from __future__ import annotations

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask

from videoqueue.app import create_app, migrations_folder
from videoqueue.jobs.models import Base
from videoqueue.services import services_of
from videoqueue.settings import load_settings


@pytest.fixture
def fresh_app(database_url: str, tmp_path, redis_url: str) -> Flask:
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_DATA_DIR": str(tmp_path),
        "VIDEOQUEUE_STORAGE_URL": f"file://{tmp_path}/objects",
    }
    return create_app(load_settings(environ))


def test_up_gives_the_models_tables_and_down_gives_nothing(fresh_app: Flask) -> None:
    engine = services_of(fresh_app).store.engine
    with fresh_app.app_context():
        flask_migrate.upgrade()
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
            assert constraints(connection) == CONSTRAINTS
        flask_migrate.downgrade(revision="base")
        assert sa.inspect(engine).get_table_names() == ["alembic_version"]
        flask_migrate.upgrade()
        assert set(sa.inspect(engine).get_table_names()) == {"alembic_version", "job", "result_chunk"}
    engine.dispose()


CONSTRAINTS = {
    constraint.name
    for table in Base.metadata.tables.values()
    for constraint in table.constraints
    if isinstance(constraint, sa.CheckConstraint)
}


def constraints(connection: sa.Connection) -> set[str | None]:
    inspector = sa.inspect(connection)
    return {
        check["name"] for table in Base.metadata.tables for check in inspector.get_check_constraints(table)
    }


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory(str(migrations_folder())).get_heads()) == 1
