"""The whole service on one machine: the data folder's Valkey, then the Procfile's web and worker."""

from __future__ import annotations

import http.client
import os
from contextlib import closing
from dataclasses import dataclass

from videoqueue import launch
from videoqueue.settings import Settings, absolute_paths, load_settings
from videoqueue.supervisor.embedded import DataFolder, check_port, valkey_program
from videoqueue.supervisor.program import Program


def web_command() -> list[str]:
    """The Procfile's `web`, run by this interpreter."""
    options = ["--config", "python:videoqueue.server.config"]
    return launch.command("gunicorn", *options, "videoqueue.app:create_app()")


def worker_command(settings: Settings) -> list[str]:
    """The Procfile's `worker`, run by this interpreter."""
    counts = ["--processes", str(settings.worker_processes), "--threads", str(settings.worker_threads)]
    # Milliseconds. Jobs are given back within a second; but while the queue is away, Dramatiq would try for
    # ten minutes to acknowledge their messages.
    limit = ["--worker-shutdown-timeout", "10000"]
    # Without a folder to import from; Dramatiq's default is the working directory.
    return launch.command("dramatiq", "videoqueue.worker.entry", "--path", *counts, *limit)


@dataclass(frozen=True)
class Stack:
    """The programs to keep running, and where the service answers."""

    programs: list[Program]
    url: str


def prepare_stack(folder: DataFolder, host: str, port: int) -> Stack:
    """Migrates the database and lists the programs; what the environment already sets is respected.

    Raises:
        VideoqueueError: the port is taken or a setting is wrong.
    """
    check_port(host, port)
    programs = []
    environ = absolute_paths(os.environ) | {
        "VIDEOQUEUE_DATA_DIR": str(folder.path),
        "VIDEOQUEUE_HOST": host,
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    if not environ.get("REDIS_URL"):
        valkey, environ["REDIS_URL"] = valkey_program(folder)
        programs.append(valkey)
    settings = load_settings(environ)
    _migrate(settings)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    programs += [
        Program("web", web_command(), environ, ready=lambda: _answers(host, port)),
        Program("worker", worker_command(settings), environ),
    ]
    return Stack(programs, url)


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
