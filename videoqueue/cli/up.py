"""up: runs the whole service on one machine."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

from videoqueue.cli.option_types import Text, Whole
from videoqueue.settings import Settings, load_settings
from videoqueue.settings.unknown import log_unknown_variables
from videoqueue.settings.urls import is_loopback

#: The owner of the key that `up` creates.
FIRST_OWNER: Final = "first"


@click.command()
@click.option("--port", type=Whole(1, 65535), help="Port to listen on. [default: PORT, or 8000]")
@click.option("--host", type=Text(), help="Address to listen on. [default: VIDEOQUEUE_HOST, or 127.0.0.1]")
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
    from videoqueue import log_setup
    from videoqueue.hardening import harden
    from videoqueue.supervisor.data_folder import DataFolder
    from videoqueue.supervisor.stack import prepare_stack
    from videoqueue.supervisor.supervisor import Supervisor

    harden()
    settings = load_settings()
    is_json = settings.log_format == "json"
    log_setup.configure("up", settings.log_level, settings.log_format)
    log_unknown_variables(os.environ)
    address = host or settings.host or "127.0.0.1"
    with DataFolder(data_dir or settings.data_path) as folder:
        stack = prepare_stack(folder, address, port or settings.bind[1])
        supervisor = Supervisor(stack.programs, sys.stderr, is_json=is_json)
        say = supervisor.note if is_json else partial(click.echo, err=True)
        if not is_loopback(address) and stack.settings.auth == "off":
            say(f"Warning: {stack.url} can be reached from the network, without authentication.")
        access = prepare_access(stack.settings, shows_key=sys.stderr.isatty() and not is_json)
        plain = " ".join([f"videoqueue is ready at {stack.url}.", *access.notes])
        ready = (
            plain if is_json else ready_message(stack.url, folder.path, access, has_page=stack.settings.page)
        )
        code = supervisor.run(on_ready=lambda: say(ready))
    sys.exit(code)


def ready_message(url: str, data: Path, access: Access, *, has_page: bool) -> str:
    """Returns the message for a service that has started: its address, its key and the first commands."""
    curl = "curl -H 'Authorization: Bearer KEY'" if access.needs_key else "curl"
    notes = "".join(f"{note}\n" for note in access.notes)
    page = f"Open {url}/ in a browser, or:\n" if has_page else ""
    return f"""
videoqueue is ready at {url}   (data in {data}, Ctrl-C stops it)
{notes}{page}
  {curl} -F file=@video.mp4 {url}/video/submit
  {curl} {url}/video/status/JOB_ID
  {curl} {url}/video/results/JOB_ID
"""


@dataclass(frozen=True)
class Access:
    """Whether requests need a key, and what to say about it."""

    needs_key: bool
    notes: tuple[str, ...] = ()


def prepare_access(settings: Settings, *, shows_key: bool) -> Access:
    """Creates the first key if requests need one and nobody can have one.

    Args:
        settings: those of the web process.
        shows_key: whether the message may contain the key; it is always written to a file.

    Returns:
        What to say; without the key unless `shows_key`.
    """
    from videoqueue.cli.api_key import write_key
    from videoqueue.cli.database import opened_database
    from videoqueue.jobs.api_key import new_token
    from videoqueue.jobs.keys import KeyStore

    if settings.auth == "off":
        return Access(needs_key=False)
    with opened_database(settings) as engine:
        keys = KeyStore(engine)
        if known := _who_has_access(settings, any_made=keys.any_made()):
            return Access(needs_key=True, notes=known)
        if settings.may_be_open:
            return Access(needs_key=False)
        # The file first: a key in the database that nobody has would close the service for good.
        token = new_token()
        file = write_key(settings.data_path, token)
        keys.create(FIRST_OWNER, frozenset({"submit"}), token=token)
    notes = [f"Every request needs a key. The first one is in {file}."]
    if shows_key:
        notes.append(f"KEY is {token}")
    return Access(needs_key=True, notes=tuple(notes))


def _who_has_access(settings: Settings, *, any_made: bool) -> tuple[str, ...]:
    """Returns what KEY is in a request; nothing if nobody can have a key and no proxy names owners."""
    from videoqueue.cli.api_key import key_file

    if not (any_made or settings.admin_key or settings.owner_header):
        return ()
    name, file = settings.owner_header, key_file(settings.data_path)
    need = f"Requests come through the proxy that names their owner in {name}, or need a key."
    key = "was printed by `videoqueue keys create`"
    if settings.admin_key:
        key = "is the value of VIDEOQUEUE_ADMIN_KEY"
    elif file.is_file():
        key = f"is in {file} unless it was revoked"
    return (
        need if name else "Every request needs a key.",
        *([f"KEY {key}."] if any_made or settings.admin_key else []),
        "`videoqueue keys create --owner NAME` creates another key.",
    )
