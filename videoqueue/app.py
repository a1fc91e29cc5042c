"""The application factory: settings -> extensions -> routes -> error table."""

from __future__ import annotations

import videoqueue.search_path

# isort: split

from pathlib import Path

from flask import Flask
from flask_migrate import Migrate

import videoqueue
from videoqueue import failpoints
from videoqueue.api import edge
from videoqueue.broker import build_broker
from videoqueue.causes import cause_of
from videoqueue.errors import PipelineError, SettingsError
from videoqueue.hardening import make_private_database, make_private_folder
from videoqueue.jobs import deadline
from videoqueue.jobs.database import engine_options, prepare
from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.store import JobStore, LeasePolicy
from videoqueue.jobs.tables import db
from videoqueue.pipeline.definitions.definition import PipelineDefinition, load_definitions
from videoqueue.services import Services
from videoqueue.settings import Settings, load_settings
from videoqueue.storage import open_storage


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask app for web, worker and migrations; connects to nothing yet.

    Raises:
        SystemExit: a setting is missing or wrong, or a file or folder cannot be used; its one line says which
            and what it takes.
    """
    try:
        settings = settings or load_settings()
        settings.require_durable()
        return _build(settings)
    except SettingsError as error:
        raise SystemExit(f"videoqueue: {error}") from None
    except OSError as error:
        raise SystemExit(
            f"videoqueue: A file or folder cannot be used: {cause_of(error)}. "
            "Look at VIDEOQUEUE_DATA_DIR and VIDEOQUEUE_PIPELINES_DIR."
        ) from None


def _build(settings: Settings) -> Flask:
    failpoints.arm(settings.failpoints_dir)
    app = Flask("videoqueue", static_folder=None)
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(
        settings.database_url, settings.database_connections
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    make_private_folder(settings.data_path)
    if settings.sqlite_file:
        make_private_database(settings.sqlite_file)
    db.init_app(app)
    Migrate(app, db, directory=str(migrations_folder()))
    with app.app_context():
        engine = db.engine
    prepare(engine)
    deadline.install(engine)
    pipelines = _pipelines(settings)
    services = Services(
        settings=settings,
        store=JobStore(engine, LeasePolicy.of(settings)),
        results=ResultReader(engine),
        storage=open_storage(settings.storage_url, settings.data_path / "objects"),
        broker=build_broker(settings.redis_url, verify_tls=settings.redis_tls == "verify"),
        pipelines=pipelines,
    )
    services.install(app)
    edge.install(app, services)
    return app


def _pipelines(settings: Settings) -> dict[str, PipelineDefinition]:
    folders = [Path(settings.pipelines_dir)] if settings.pipelines_dir else []
    try:
        pipelines = load_definitions(*folders)
    except PipelineError as error:
        raise SettingsError(str(error)) from None
    if settings.default_pipeline not in pipelines:
        raise SettingsError(
            f"VIDEOQUEUE_DEFAULT_PIPELINE={settings.default_pipeline!r} cannot be used: "
            f"it takes one of {', '.join(sorted(pipelines))}."
        )
    return pipelines


def migrations_folder() -> Path:
    """The Alembic scripts: inside an installed package, else beside it in a checkout."""
    package = Path(videoqueue.__path__[0])
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parent / "migrations"
