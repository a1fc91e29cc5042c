"""What `videoqueue doctor` examines: one check on its own, and databases with the schema of a release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import flask_migrate

from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.cli.doctor.command import CHECKS
from videoqueue.cli.doctor.findings import Examination, Finding
from videoqueue.cli.doctor.running import run_checks
from videoqueue.settings import load_settings, load_valid_settings

#: Seconds, for machines that are busy: what is tested is what a check finds, not how quickly.
PATIENCE = 60.0


def findings(name: str, environ: Mapping[str, str], seconds: float = PATIENCE) -> list[Finding]:
    """Runs the check with this name, and those that run with it. Returns what it found."""
    settings, invalid = load_valid_settings(environ)
    group = "database" if name == "connections" else name  # only Postgres has a limit of connections
    check = next(check for check in CHECKS if group in check.names)
    return run_checks([check], Examination(settings, invalid, environ, seconds))


def finding(name: str, environ: Mapping[str, str], seconds: float = PATIENCE) -> Finding:
    """Returns the only finding with this name."""
    (found,) = (one for one in findings(name, environ, seconds) if one.check == name)
    return found


def migrate(environ: Mapping[str, str], revision: str = "head") -> None:
    """Makes the tables of a release in an empty database."""
    app = create_app(load_settings(environ))
    with app.app_context():
        flask_migrate.upgrade(revision=revision)
    services_of(app).engine.dispose()


def files_below(folder: Path) -> dict[str, bytes]:
    """Returns the content of every file below a folder."""
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
