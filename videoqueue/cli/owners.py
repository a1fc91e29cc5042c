"""owners: list owners, set their limits, and give them the jobs of before, directly in the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from videoqueue.cli.database import opened_database
from videoqueue.cli.option_types import OwnerName
from videoqueue.cli.wording import counted
from videoqueue.errors import VideoqueueError
from videoqueue.settings import load_settings

if TYPE_CHECKING:
    from videoqueue.jobs.owners import Limit

_COLUMNS: Final = (
    "owner",
    "keys",
    "jobs",
    "pending",
    "running",
    "stored_bytes",
    "max_pending",
    "max_running",
    "max_stored_bytes",
)


@click.group()
def owners() -> None:
    """List owners, set their limits, give them the jobs made before keys.

    The commands use DATABASE_URL or VIDEOQUEUE_DATA_DIR. Set them as for the web process.
    """


@owners.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_owners(as_json: bool) -> None:
    """List everyone who has a key, a job or a limit. The owner without a name is nobody.

    A limit of - is that of the settings; 0 is none.
    """
    from videoqueue.cli.job_view import table
    from videoqueue.jobs.owners import OwnerStore

    with opened_database(load_settings()) as engine:
        rows = [dict(vars(owner)) for owner in OwnerStore(engine).all()]
    click.echo(json.dumps(rows, indent=2) if as_json else table(rows, _COLUMNS))


class _LimitType(click.ParamType[int | None]):
    """A whole number that fits into an integer of so many bits, or `default`."""

    name = "limit"

    def __init__(self, bits: int) -> None:
        self._maximum = 2 ** (bits - 1) - 1

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> int | None:
        text = str(value)
        if text == "default":
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 100 and int(text) <= self._maximum):
            self.fail(f"it takes `default` or 0 to {self._maximum}; 0 is no limit.", parameter, context)
        return int(text)


@owners.command("set")
@click.argument("name", type=OwnerName())
@click.option("--max-pending", type=_LimitType(32), help="Maximum number of pending jobs.")
@click.option("--max-running", type=_LimitType(32), help="Maximum number of running jobs.")
@click.option("--max-stored-bytes", type=_LimitType(64), help="Maximum size of all videos together.")
@click.pass_context
def set_limits(context: click.Context, /, name: str, **limits: int | None) -> None:
    """Set limits of the owner NAME instead of those of the settings. 0 is no limit.

    \b
    videoqueue owners set anna --max-pending 1000 --max-running 0
    videoqueue owners set anna --max-pending default
    """
    from videoqueue.jobs.owners import OwnerStore

    given: dict[Limit, int | None] = {
        limit: limits[limit]
        for limit in ("max_pending", "max_running", "max_stored_bytes")
        if context.get_parameter_source(limit) is click.core.ParameterSource.COMMANDLINE
    }
    if not given:
        raise VideoqueueError("No limit was given. `videoqueue owners set --help` lists them.")
    with opened_database(load_settings()) as engine:
        owners = OwnerStore(engine)
        is_new = not owners.is_known(name)
        owners.set_limits(name, given)
    limits_text = ", ".join(f"{limit} {_limit_text(value)}" for limit, value in given.items())
    click.echo(f"Limits of {name} set: {limits_text}.")
    if is_new:
        click.echo(_new(name), err=True)


def _limit_text(value: int | None) -> str:
    return "default" if value is None else f"{value} (no limit)" if value == 0 else str(value)


def _new(name: str) -> str:
    return f"Warning: {name} had no key, job or limit before. Check the name."


@owners.command()
@click.argument("name", type=OwnerName())
def adopt(name: str) -> None:
    """Give the jobs that were made without a key to the owner NAME.

    From then on, only keys of NAME and those with the scope admin can read them.
    """
    from videoqueue.jobs.keys import KeyStore
    from videoqueue.jobs.owners import OwnerStore

    settings = load_settings()
    with opened_database(settings) as engine:
        owners = OwnerStore(engine)
        is_new = not owners.is_known(name)
        count = owners.adopt(name)
        is_open = not (settings.owner_header or settings.admin_key or KeyStore(engine).any_made())
    click.echo(f"{name} adopted {counted(count, 'job')}.")
    if is_new:
        click.echo(_new(name), err=True)
    if is_open and count:
        click.echo(
            "Warning: there is no key yet, so nobody can read the adopted jobs: without a key they are 404. "
            f"Create a key with `videoqueue keys create --owner {name}`.",
            err=True,
        )
