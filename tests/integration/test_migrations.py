"""The migrations make exactly the tables that the models describe, and take them away again."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask

from tests.support.databases import Databases
from tests.support.records import new_job, stored
from tests.support.stack import ROOT, environment, procfile
from videoqueue.api.extension import services_of
from videoqueue.app import create_app, migrations_folder
from videoqueue.jobs.chunk_encoding import encode_chunk
from videoqueue.jobs.results import encode
from videoqueue.jobs.tables import CHUNK, JOB, Base
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.settings import load_settings


@pytest.fixture
def fresh_app(empty_database_url: str, tmp_path: Path, redis_url: str) -> Flask:
    return app_of(empty_database_url, tmp_path, redis_url)


def app_of(database_url: str, folder: Path, redis_url: str) -> Flask:
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_DATA_DIR": str(folder),
        "VIDEOQUEUE_STORAGE_URL": f"file://{folder}/objects",
    }
    return create_app(load_settings(environ))


def test_a_postgres_database_without_an_encoding_takes_any_text(
    databases: Databases, tmp_path: Path, redis_url: str
) -> None:
    with databases.new("template0", "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'") as url:
        app = app_of(url, tmp_path, redis_url)
        with app.app_context():
            flask_migrate.upgrade()
        store = services_of(app).store
        job_id, _ = store.create(new_job(name="Ωμέγα 𝄞"))
        assert stored(store, job_id).name == "Ωμέγα 𝄞"
        services_of(app).engine.dispose()


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
        job = stored(services_of(fresh_app).store, running)
        assert (job.claimed_at, job.worked, job.attempt) == (7, 0, 1)
        flask_migrate.downgrade(revision="0001")
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM job")) == 1
    engine.dispose()


def release(database_url: str, folder: Path, redis_url: str) -> subprocess.Popen[str]:
    """The Procfile's release, as a process of its own."""
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "VIDEOQUEUE_DATA_DIR": str(folder),
        "VIDEOQUEUE_STORAGE_URL": f"file://{folder}/objects",
    }
    return subprocess.Popen(
        ["bash", "-c", procfile()["release"]],
        env=environment(settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_release_commands_at_the_same_time_take_turns(
    fresh_app: Flask, empty_database_url: str, tmp_path: Path, redis_url: str
) -> None:
    engine = services_of(fresh_app).store.engine
    for _ in range(2):
        running = [release(empty_database_url, tmp_path, redis_url) for _ in range(3)]
        said = [process.communicate(timeout=120)[0] for process in running]
        assert [process.returncode for process in running] == [0, 0, 0], said
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        with fresh_app.app_context():
            flask_migrate.downgrade(revision="base")
    engine.dispose()


@pytest.mark.parametrize("empty_database_url", ["postgres"], indirect=True)
def test_a_database_that_cannot_be_migrated_is_said_in_one_line(
    empty_database_url: str, tmp_path: Path, redis_url: str
) -> None:
    url = sa.make_url(empty_database_url)
    missing = url.set(database="nowhere").render_as_string(hide_password=False)
    for bad, why in ((missing, "does not exist"), ("postgresql://u:secret@127.0.0.1:1/d", "refused")):
        process = release(bad, tmp_path, redis_url)
        said, _ = process.communicate(timeout=120)
        lines = [line for line in said.splitlines() if line.startswith("videoqueue: ")]
        assert process.returncode == 1
        assert len(lines) == 1
        assert lines[0].startswith("videoqueue: The database ")
        assert why in lines[0]
        assert "Traceback" not in said
        assert "secret" not in said


def test_the_release_before_works_on_the_new_tables_and_its_results_are_made_anew(fresh_app: Flask) -> None:
    """It knows none of the new columns; what it stored was made by nobody knows which version."""
    store = services_of(fresh_app).store
    job_id = uuid.uuid4()
    with fresh_app.app_context():
        flask_migrate.upgrade()
    with store.engine.begin() as connection:
        row = ROW | {"job_id": job_id, "status": "pending", "updated_at": 7, "progress": 0.5}
        chunk = {"job_id": job_id, "seq": 0, "first_frame": 0, "frame_count": 2, "payload": b"a,b"}
        for table, values in ((JOB, row), (CHUNK, chunk)):
            columns = [sa.column(name, table.c[name].type) for name in values]
            connection.execute(sa.insert(sa.table(table.name, *columns)).values(values))
    claim = store.claim(job_id, "new")
    assert claim is not None
    assert (claim.pipeline_version, claim.start_after, claim.next_seq) == (None, None, 0)
    store.checkpoint(store.begin(claim, "a" * 64), 0, b"A", [0], 0.1)
    assert list(services_of(fresh_app).results.chunks(job_id, ALL_OWNERS)) == [b"A"]
    store.engine.dispose()


def test_chunks_are_json_again_after_a_step_down(fresh_app: Flask) -> None:
    services = services_of(fresh_app)
    store = services.store
    items = [
        [{"frame_index": n, "result": {"timestamp": n / 7, "text": "é"}} for n in range(seq, seq + 9)]
        for seq in range(0, 99, 9)
    ]
    with fresh_app.app_context():
        flask_migrate.upgrade()
        claims = [store.claim(store.create(new_job())[0], "new") for _ in range(2)]
        for claim in claims:
            assert claim is not None
            for seq, some in enumerate(items):
                if seq == 5:  # as the release before wrote it
                    store.checkpoint(claim, seq, encode(some), [0], 0.1)
                    continue
                chunk = encode_chunk(some)
                store.checkpoint(claim, seq, chunk.payload, chunk.frames, 0.1, chunk.form)
        flask_migrate.downgrade(revision="0006")
        with store.engine.connect() as connection:
            query = sa.text("SELECT job_id, payload FROM result_chunk ORDER BY job_id, seq")
            payloads = [bytes(row.payload) for row in connection.execute(query)]
        assert payloads == [encode(some) for some in items] * 2
        flask_migrate.upgrade()
        for claim in claims:
            assert claim is not None
            assert list(services.results.chunks(claim.job_id, ALL_OWNERS)) == payloads[:11]
    store.engine.dispose()


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
