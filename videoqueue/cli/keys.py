"""keys: create, list, revoke and rotate API keys, directly in the database. The service need not run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from videoqueue.cli.database import opened_database
from videoqueue.cli.option_types import KeyId, Number, OwnerName
from videoqueue.cli.output import discard_output
from videoqueue.cli.wording import counted
from videoqueue.errors import VideoqueueError
from videoqueue.settings import Settings, load_settings, shown
from videoqueue.settings.values import MAX_DAYS

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from videoqueue.jobs.api_key import ApiKey, Scope

# As in `videoqueue.jobs.api_key.SCOPES`, which is slow to import.
_SCOPES: Final = ("submit", "read", "metrics", "admin")
_COLUMNS: Final = (
    "key_id",
    "owner",
    "scopes",
    "state",
    "created_at",
    "expires_at",
    "last_used_at",
    "replaced_by",
)
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3_600


@click.group()
def keys() -> None:
    """Create, list, revoke and rotate API keys.

    The commands use DATABASE_URL or VIDEOQUEUE_DATA_DIR. Set them as for the web process.
    """


@keys.command()
@click.option(
    "--owner",
    type=OwnerName(),
    required=True,
    metavar="NAME",
    help="Owner of the jobs submitted with the key.",
)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    default=("submit",),
    show_default=True,
    help="What the key may do. Can be repeated.",
)
@click.option("--expires-in", type=Number(0.001, MAX_DAYS), metavar="DAYS", help="[default: never]")
def create(owner: str, scopes: tuple[Scope, ...], expires_in: float | None) -> None:
    """Create a key and print it. It cannot be printed again.

    \b
    submit   submit jobs of the owner, read, retry and delete them
    read     read the owner's jobs and results
    metrics  read /metrics and the counts in /readyz, no jobs
    admin    everything, for the jobs of all owners

    \b
    videoqueue keys create --owner anna
    videoqueue keys create --owner monitoring --scope metrics --expires-in 365
    """
    from videoqueue.jobs.api_key import new_token
    from videoqueue.jobs.keys import KeyStore

    settings = load_settings()
    with opened_database(settings) as engine:
        store = KeyStore(engine)
        is_first = not store.any_made()
        seconds = None if expires_in is None else expires_in * _DAY_SECONDS
        with _handed_over(new_token()) as token:
            key, _ = store.create(owner, frozenset(scopes), seconds, token=token)
        _explain(key, settings, engine, is_first=is_first)


@contextmanager
def _handed_over(token: str) -> Iterator[str]:
    """Prints the key, and yields it to be stored.

    In this order: a stored key that nobody has would close an open service, and could not be printed again.

    Raises:
        VideoqueueError: it cannot be printed.
    """
    if sys.__stdout__ is None:  # the file descriptor 1 was closed at the start
        raise VideoqueueError("The key cannot be printed: stdout is closed. No key was created.")
    try:
        click.echo(token)
    except OSError as error:
        discard_output()
        raise VideoqueueError(f"The key cannot be printed ({error.strerror}). No key was created.") from None
    try:
        yield token
    except BaseException:
        click.echo("The printed key was not created and is not valid.", err=True)
        raise


def _explain(key: ApiKey, settings: Settings, engine: Engine, *, is_first: bool) -> None:
    """Says on stderr what the new key changes."""
    from videoqueue.cli.job_view import time_text
    from videoqueue.jobs.owners import OwnerStore

    lines = [
        f"Key {key.key_id} of {key.owner}, in the database {shown(settings.database_url)}.",
        "Send it in the header `Authorization: Bearer KEY`.",
    ]
    if key.expires_at is not None:
        lines.append(f"It expires at {time_text(key.expires_at)}.")
    if settings.auth == "off":
        lines.append("VIDEOQUEUE_AUTH=off: the service asks for no key.")
    elif is_first:
        lines.append("From now on every request needs a key.")
        if count := OwnerStore(engine).unowned():
            belong, them = ("belongs", "it") if count == 1 else ("belong", "them")
            lines.append(
                f"{counted(count, 'job')} made before {belong} to nobody; "
                f"`videoqueue owners adopt {key.owner}` makes {them} {key.owner}'s."
            )
    click.echo("\n".join(lines), err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(as_json: bool) -> None:
    """List all keys without their secrets, also expired and revoked ones."""
    from videoqueue.cli.job_view import table, time_text
    from videoqueue.jobs.keys import KeyStore
    from videoqueue.jobs.queries import JobQueries

    with opened_database(load_settings()) as engine:
        now = JobQueries(engine).clock()
        rows: list[dict[str, object]] = [
            {
                "key_id": key.key_id,
                "owner": key.owner,
                "scopes": ",".join(sorted(key.scopes)),
                "state": key.state(now),
                "created_at": time_text(key.created_at),
                "expires_at": time_text(key.expires_at),
                "revoked_at": time_text(key.revoked_at),
                "last_used_at": time_text(key.last_used_at),
                "replaced_by": key.replaced_by,
            }
            for key in KeyStore(engine).all()
        ]
    click.echo(json.dumps(rows, indent=2) if as_json else table(rows, _COLUMNS))


@keys.command()
@click.argument("key_id", type=KeyId())
def revoke(key_id: str) -> None:
    """Revoke the key KEY_ID. All processes refuse it within 10 seconds.

    Requests still need a key after the last one is revoked.
    """
    from videoqueue.jobs.keys import UNKNOWN_KEY, KeyStore

    with opened_database(load_settings()) as engine:
        done = KeyStore(engine).revoke(key_id)
    if done is None:
        raise VideoqueueError(UNKNOWN_KEY)
    click.echo(f"Revoked {key_id}." if done == "revoked" else f"{key_id} was revoked before.")


@keys.command()
@click.argument("key_id", type=KeyId())
@click.option(
    "--overlap",
    type=Number(0, 8760),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="How long the old key remains valid.",
)
def rotate(key_id: str, overlap: float) -> None:
    """Create a key like KEY_ID and print it. The old one expires after an overlap, or earlier if it would.

    A key that expires is replaced by one with the same lifetime. A key can be rotated once.

    \b
    videoqueue keys rotate abcdefghijkl --overlap 48
    """
    from videoqueue.cli.job_view import time_text
    from videoqueue.jobs.api_key import new_token
    from videoqueue.jobs.keys import KeyStore, end_of_overlap

    with opened_database(load_settings()) as engine:
        store = KeyStore(engine)
        old = store.rotatable(key_id)
        with _handed_over(new_token()) as token:
            key, _ = store.rotate(key_id, overlap * _HOUR_SECONDS, token=token)
    end = end_of_overlap(old, key.created_at, overlap * _HOUR_SECONDS)
    hours = round((end - key.created_at) / 1_000_000 / _HOUR_SECONDS, 1)
    also = "" if key.expires_at is None else f" The new key expires at {time_text(key.expires_at)}."
    ends = f"{key_id} expires in {counted(hours, 'hour')}, at {time_text(end)}."
    click.echo(f"Key {key.key_id} of {key.owner}. {ends}{also}", err=True)
