"""Runs the migrations through the application's own engine: `flask --app videoqueue.app db upgrade`."""

from alembic import context
from flask import current_app

from videoqueue.causes import cause_of
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.database import migrating

database = current_app.extensions["migrate"].db
options = current_app.extensions["migrate"].configure_args


def run_offline() -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    context.configure(url=url, target_metadata=database.metadata, literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    with migrating(database.engine) as connection:
        context.configure(connection=connection, target_metadata=database.metadata, **options)
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    try:
        run_online()
    except DatabaseUnavailableError as error:
        raise SystemExit(f"videoqueue: {error} The cause: {cause_of(error)}") from None
