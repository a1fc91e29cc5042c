"""The programs of the whole service on one machine: Valkey, then the Procfile's web and worker."""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from types import MappingProxyType

from videoqueue import launch
from videoqueue.settings import Settings, absolute_paths, load_settings
from videoqueue.settings.unknown import unknown_variables
from videoqueue.settings.urls import authority
from videoqueue.supervisor.data_folder import DataFolder
from videoqueue.supervisor.embedded import valkey_program
from videoqueue.supervisor.ports import check_port
from videoqueue.supervisor.program import Program


def web_command() -> list[str]:
    """Returns the Procfile's `web`, run by this interpreter."""
    options = ["--config", "python:videoqueue.server.config"]
    return launch.command("gunicorn", *options, "videoqueue.app:create_app()")


def worker_command() -> list[str]:
    """Returns the Procfile's `worker`, run by this interpreter."""
    return launch.command("videoqueue.worker")


@dataclass(frozen=True)
class Stack:
    """The programs to keep running, the URL of the service, and the settings that the programs have."""

    programs: list[Program]
    url: str
    settings: Settings


def prepare_stack(
    folder: DataFolder, host: str, port: int, settings: Mapping[str, str] = MappingProxyType({})
) -> Stack:
    """Migrates the database. Returns the programs.

    Settings of the environment apply, except those that `settings` replaces.

    Raises:
        VideoqueueError: the port is in use, or a setting is wrong.
    """
    check_port(host, port)
    programs = []
    # `up` has logged the unknown variables; web and worker would log them again.
    unknown = unknown_variables(os.environ)
    known = {name: value for name, value in os.environ.items() if name not in unknown}
    environ = absolute_paths(known | dict(settings)) | {
        "VIDEOQUEUE_DATA_DIR": str(folder.path),
        "VIDEOQUEUE_HOST": host,
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    if not environ.get("REDIS_URL"):
        valkey, environ["REDIS_URL"] = valkey_program(folder)
        programs.append(valkey)
    loaded = load_settings(environ)
    _migrate(loaded)
    url = f"http://{authority(host, port)}"
    programs += [
        Program("web", web_command(), environ, ready=lambda: _answers(host, port)),
        Program("worker", worker_command(), environ),
    ]
    return Stack(programs, url, loaded)


def _migrate(settings: Settings) -> None:
    import flask_migrate

    from videoqueue.app import create_app

    with create_app(settings).app_context():
        flask_migrate.upgrade()


def _answers(host: str, port: int) -> bool:
    with closing(http.client.HTTPConnection(host, port, timeout=1)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
