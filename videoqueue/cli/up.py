"""up: runs the whole service on one machine."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import click

from videoqueue.settings import load_settings
from videoqueue.settings.unknown import log_unknown_variables
from videoqueue.settings.urls import is_loopback


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. [default: PORT, or 8000]")
@click.option("--host", help="Address to listen on. [default: VIDEOQUEUE_HOST, or 127.0.0.1]")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for jobs, results and videos. [default: VIDEOQUEUE_DATA_DIR, or ./var]",
)
def up(port: int | None, host: str | None, data_dir: Path | None) -> None:
    """Run the whole service: database, queue, web and worker.

    Needs no other servers and no configuration. Jobs are stored in SQLite, messages in a Valkey server that
    it starts, and videos in a folder; all are below --data-dir. DATABASE_URL, REDIS_URL and
    VIDEOQUEUE_STORAGE_URL replace them. A process that dies is restarted. Ctrl-C stops everything; running
    jobs continue at the next start.
    """
    from videoqueue import logs
    from videoqueue.hardening import harden
    from videoqueue.supervisor.embedded import DataFolder
    from videoqueue.supervisor.stack import prepare_stack
    from videoqueue.supervisor.supervisor import Supervisor

    harden()
    settings = load_settings()
    is_json = settings.log_format == "json"
    logs.configure("up", settings.log_level, settings.log_format)
    log_unknown_variables(os.environ)
    address = host or settings.host or "127.0.0.1"
    with DataFolder(data_dir or settings.data_path) as folder:
        stack = prepare_stack(folder, address, port or settings.bind[1])
        supervisor = Supervisor(stack.programs, sys.stderr, is_json=is_json)
        say = supervisor.note if is_json else partial(click.echo, err=True)
        if not is_loopback(address):
            say(f"Warning: {stack.url} can be reached from the network, without authentication.")
        ready = f"videoqueue is ready at {stack.url}" if is_json else ready_message(stack.url, folder.path)
        code = supervisor.run(on_ready=lambda: say(ready))
    sys.exit(code)


def ready_message(url: str, data: Path) -> str:
    """Returns the message for a service that has started: its address and the first commands."""
    return f"""
videoqueue is ready at {url}   (data in {data}, Ctrl-C stops it)

  curl -F file=@video.mp4 {url}/video/submit
  curl {url}/video/status/JOB_ID
  curl {url}/video/results/JOB_ID
"""
