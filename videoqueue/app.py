"""The web application: Flask with its extensions and blueprints over `services.build`."""

from __future__ import annotations

import videoqueue.search_path  # first: it removes the working directory from the search path

# isort: split

import logging
from collections.abc import Mapping
from pathlib import Path

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine import Engine
from werkzeug.middleware.proxy_fix import ProxyFix

import videoqueue
from videoqueue.api import (
    auth,
    docs,
    export,
    extension,
    health,
    jobs,
    metrics,
    problems,
    results_by_time,
    segments,
    video,
    video_file,
)
from videoqueue.api.middleware import Middleware
from videoqueue.errors import SettingsError
from videoqueue.jobs.deadline import set_deadline
from videoqueue.jobs.tables import Base
from videoqueue.services import Services, build_process
from videoqueue.settings import Settings, load_settings
from videoqueue.web import login, page

logger = logging.getLogger(__name__)


class Database(SQLAlchemy):
    """Flask-SQLAlchemy on the engine of the services.

    `init_app` also makes an engine from the URL. It is never used, so it opens no connection.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(metadata=Base.metadata, disable_autonaming=True)
        self._engine = engine

    @property
    def engines(self) -> Mapping[str | None, Engine]:
        """Returns the one engine, under the key of the default database."""
        return {None: self._engine}


def create_app(settings: Settings | None = None) -> Flask:
    """Makes the application for the web process and for migrations. Connects to nothing.

    Args:
        settings: the settings; those of the environment by default.

    Returns:
        The application; `videoqueue.api.extension.services_of` returns its parts.

    Raises:
        SystemExit: a setting is missing or wrong, or a file or folder cannot be used; one line says which.
    """
    try:
        settings = settings or load_settings()
        services = build_process(settings)
    except SettingsError as error:
        raise SystemExit(f"videoqueue: {error}") from None
    app = Flask("videoqueue", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _install_database(app, services)
    _install_api(app, services)
    for shortage in services.reserve.shortages():
        logger.warning("%s", shortage)
    return app


def _install_database(app: Flask, services: Services) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = services.settings.database_url
    database = Database(services.engine)
    database.init_app(app)
    Migrate(app, database, directory=str(migrations_folder()))


def _install_api(app: Flask, services: Services) -> None:
    settings = services.settings
    extension.install(app, services)
    app.before_request(lambda: set_deadline(settings.backend_timeout_seconds))
    auth.install(app, services)
    app.teardown_request(lambda _: set_deadline(None))  # the thread serves other requests afterwards
    app.register_blueprint(video.blueprint)
    app.register_blueprint(jobs.blueprint)
    app.register_blueprint(segments.blueprint)
    app.register_blueprint(results_by_time.blueprint)
    app.register_blueprint(export.blueprint)
    app.register_blueprint(video_file.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(metrics.blueprint)
    if settings.page:
        app.register_blueprint(page.blueprint)
        app.register_blueprint(login.blueprint)
    app.register_blueprint(docs.blueprint)
    problems.register(app, settings)
    if proxies := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies
        )
    app.wsgi_app = Middleware(app.wsgi_app)  # type: ignore[method-assign]


def migrations_folder() -> Path:
    """Returns the folder of the Alembic scripts: in an installed package, or beside it in a checkout."""
    package = Path(videoqueue.__path__[0])
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parent / "migrations"
