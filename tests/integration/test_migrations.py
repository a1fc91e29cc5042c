"""The migrations make exactly the tables that the models describe, and take them away again."""

from __future__ import annotations

import uuid

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask

from videoqueue.app import create_app, migrations_folder
from videoqueue.jobs.models import JOB, Base
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
        assert set(sa.inspect(engine).get_table_names()) == {"alembic_version", *Base.metadata.tables}
    engine.dispose()


def test_jobs_live_through_a_step_up_and_down(fresh_app: Flask) -> None:
    engine = services_of(fresh_app).store.engine
    running = uuid.uuid4()
    with fresh_app.app_context():
        flask_migrate.upgrade(revision="0001")
        with engine.begin() as connection:
            row = ROW | {"job_id": running, "status": "running", "lease_until": 9, "updated_at": 7}
            columns = [sa.column(name, JOB.c[name].type) for name in row]
            connection.execute(sa.insert(sa.table("job", *columns)).values(row))
        flask_migrate.upgrade()
        job = services_of(fresh_app).store.get(running)
        assert (job.claimed_at, job.worked, job.attempt) == (7, 0, 1)
        flask_migrate.downgrade(revision="0001")
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM job")) == 1
    engine.dispose()


ROW = {
    "owner": "",
    "pipeline_id": "p",
    "frame_stride": 1,
    "input_key": "k",
    "input_bytes": 1,
    "input_sha256": "0",
    "progress": 0.0,
    "attempt": 1,
    "failures": 0,
    "crashes": 0,
    "run_after": 0,
    "announce_after": 0,
    "announcements": 0,
    "created_at": 0,
}

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
