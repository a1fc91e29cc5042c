"""keys: create, list, revoke and rotate API keys, directly in the database. The service need not run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from videoqueue.cli.database import opened_database
from videoqueue.errors import VideoqueueError
from videoqueue.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from videoqueue.jobs.keys import ApiKey, Scope

# As in `videoqueue.jobs.keys.SCOPES`, which is slow to import.
_SCOPES: Final = ("submit", "read", "metrics", "admin")
_COLUMNS: Final = ("key_id", "owner", "scopes", "state", "created_at", "expires_at", "last_used_at")
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3_600


@click.group()
def keys() -> None:
    """Create, list, revoke and rotate API keys.

    The commands use DATABASE_URL or VIDEOQUEUE_DATA_DIR. Set them as for the web process.
    """


@keys.command()
@click.option("--owner", required=True, metavar="NAME", help="Owner of the jobs submitted with the key.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    default=("submit",),
    show_default=True,
    help="What the key may do. Can be repeated.",
)
@click.option("--expires-in", type=click.FloatRange(min=0), metavar="DAYS", help="[default: never]")
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
    from videoqueue.jobs.keys import KeyStore

    settings = load_settings()
    with opened_database(settings) as engine:
        store = KeyStore(engine)
        is_first = not store.any_made()
        seconds = None if expires_in is None else expires_in * _DAY_SECONDS
        key, token = store.create(owner, frozenset(scopes), seconds)
        click.echo(token)
        _explain(key, settings, engine, is_first=is_first)


def _explain(key: ApiKey, settings: Settings, engine: Engine, *, is_first: bool) -> None:
    """Says on stderr what the new key changes."""
    from videoqueue.jobs.owners import OwnerStore

    lines = [f"Key {key.key_id} of {key.owner}. Send it in the header `Authorization: Bearer KEY`."]
    if settings.auth == "off":
        lines.append("VIDEOQUEUE_AUTH=off: the service asks for no key.")
    elif is_first:
        lines.append("From now on every request needs a key.")
        if count := OwnerStore(engine).unowned():
            lines.append(
                f"{count} jobs made before belong to nobody; "
                f"`videoqueue owners adopt {key.owner}` makes them {key.owner}'s."
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
            }
            for key in KeyStore(engine).all()
        ]
    click.echo(json.dumps(rows, indent=2) if as_json else table(rows, _COLUMNS))


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke the key KEY_ID. All processes refuse it within 10 seconds.

    Requests still need a key after the last one is revoked.
    """
    from videoqueue.jobs.keys import KeyStore

    with opened_database(load_settings()) as engine:
        if not KeyStore(engine).revoke(key_id):
            raise VideoqueueError("There is no key with this id. `videoqueue keys list` shows all keys.")
    click.echo(f"Revoked {key_id}.", err=True)


@keys.command()
@click.argument("key_id")
@click.option(
    "--overlap",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="How long the old key remains valid.",
)
def rotate(key_id: str, overlap: float) -> None:
    """Create a key like KEY_ID and print it. The old one expires after an overlap.

    \b
    videoqueue keys rotate abcdefghijkl --overlap 48
    """
    from videoqueue.jobs.keys import KeyStore

    with opened_database(load_settings()) as engine:
        key, token = KeyStore(engine).rotate(key_id, overlap * _HOUR_SECONDS)
    click.echo(token)
    click.echo(f"Key {key.key_id} of {key.owner}. {key_id} expires in {overlap:g} hours.", err=True)
