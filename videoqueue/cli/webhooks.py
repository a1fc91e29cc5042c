"""webhooks: make a secret, list the events that were not accepted, and send events again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from videoqueue.cli.database import opened_database
from videoqueue.cli.jobs import parsed_id
from videoqueue.cli.option_types import Text, Whole
from videoqueue.cli.wording import counted
from videoqueue.errors import VideoqueueError
from videoqueue.settings import load_settings
from videoqueue.settings.webhooks import new_webhook_secret

if TYPE_CHECKING:
    from videoqueue.jobs.webhooks import Waiting

_COLUMNS: Final = ("job_id", "created_at", "tries", "next_at", "error")


@click.group()
def webhooks() -> None:
    """Make a secret, list webhooks that were not accepted, send webhooks again.

    A webhook tells the receiver at VIDEOQUEUE_WEBHOOK_URL that a job has ended. The commands use DATABASE_URL
    or VIDEOQUEUE_DATA_DIR. Set them as for the worker.
    """


@webhooks.command("secret")
def secret() -> None:
    """Print a new secret for VIDEOQUEUE_WEBHOOK_SECRET and for the receiver. Nothing is stored."""
    click.echo(new_webhook_secret())


@webhooks.command("list")
@click.option(
    "--limit", type=Whole(1, 1_000_000_000), default=20, show_default=True, help="Maximum number of webhooks."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_events(limit: int, as_json: bool) -> None:
    """List webhooks that the receiver has not accepted, the oldest first.

    `next_at` is the time of the next try, or given up. `error` is why the last one failed.
    """
    from videoqueue.cli.job_view import table
    from videoqueue.jobs.webhooks import WebhookEvents

    with opened_database(load_settings()) as engine:
        rows = [_described(event) for event in WebhookEvents(engine).waiting(limit)]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    shown = [row | {"next_at": row["next_at"] or "given up"} for row in rows]
    click.echo(table(shown, _COLUMNS))


@webhooks.command()
@click.argument("job_ids", nargs=-1, type=Text(), metavar="[JOB_ID...]")
@click.option("--all", "everything", is_flag=True, help="All webhooks that were not accepted.")
def retry(job_ids: tuple[str, ...], everything: bool) -> None:
    """Send the webhooks of the jobs JOB_ID at once, also if they were given up or accepted before.

    The worker sends them, with as many tries as new ones. If a job does not exist or has not ended, those of
    the others are sent, and the exit code is 1.

    \b
    videoqueue webhooks retry 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8
    videoqueue webhooks retry --all
    """
    from videoqueue.jobs.webhooks import WebhookEvents

    if everything == bool(job_ids):
        raise click.UsageError("Name jobs, or give --all.")
    wanted = list(dict.fromkeys(map(parsed_id, job_ids)))
    settings = load_settings()
    with opened_database(settings) as engine:
        events = WebhookEvents(engine)
        if everything:
            click.echo(f"{counted(events.retry_waiting(), 'webhook')} to send.")
            return
        missing = [str(job_id) for job_id in wanted if not events.retry(job_id)]
    if sent := len(wanted) - len(missing):
        click.echo(f"{counted(sent, 'webhook')} to send.")
    if missing:
        raise VideoqueueError(f"No job that has ended: {', '.join(missing)}.")


def _described(event: Waiting) -> dict[str, object]:
    from videoqueue.jobs.types import rfc3339

    return {
        "job_id": str(event.job_id),
        "created_at": rfc3339(event.created_at),
        "tries": event.tries,
        "next_at": None if event.next_at is None else rfc3339(event.next_at),
        "error": event.error,
    }
