"""demo: submits the sample video to a real service, waits for it, and prints its segments."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from videoqueue.cli.option_types import Text
from videoqueue.cli.options import checked_url
from videoqueue.cli.segments import lines_of
from videoqueue.cli.wording import counted

if TYPE_CHECKING:
    from videoqueue.client import Client

SAMPLE = Path(__file__).with_name("sample.mp4")


@click.command()
@click.option(
    "--url",
    type=Text(),
    callback=checked_url,
    help="Use a running service. [default: start one in a temporary folder, and stop it afterwards]",
)
@click.option("--verbose", is_flag=True, help="Show the log of the processes.")
def demo(url: str | None, verbose: bool) -> None:
    """Submit the sample video to a real service, wait, and print the objects and the text in it."""
    from videoqueue.cli.client import connected

    if url:
        with connected(url) as client:
            job_id = _show(client)
        click.echo(f"\nThe page shows it in a browser: {url.rstrip('/')}/#job={job_id}")
        return
    click.echo("Starting web, worker and queue in a temporary folder ...", err=True)
    key = secrets.token_urlsafe(32)
    with _service(verbose, key) as own_url, connected(own_url, key) as client:
        _show(client)
    click.echo("\nThe page shows it in a browser: run `videoqueue up`, and open http://127.0.0.1:8000/")


@contextmanager
def _service(verbose: bool, key: str) -> Iterator[str]:
    """Runs a service of its own, and yields its URL. Whatever the environment says, it takes this key."""
    from videoqueue.errors import VideoqueueError
    from videoqueue.supervisor.data_folder import DataFolder
    from videoqueue.supervisor.ports import free_port
    from videoqueue.supervisor.stack import prepare_stack
    from videoqueue.supervisor.supervisor import Supervisor

    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        if verbose:
            click.echo(line, err=True)

    host = "127.0.0.1"
    with tempfile.TemporaryDirectory(prefix="videoqueue-demo-") as folder, DataFolder(Path(folder)) as data:
        stack = prepare_stack(data, host, free_port(host), {"VIDEOQUEUE_ADMIN_KEY": key})
        try:
            with Supervisor(stack.programs, log).running():
                yield stack.url
        except VideoqueueError:
            if not verbose:
                click.echo("\n".join(lines), err=True)
            raise


def _show(client: Client) -> str:
    """Prints what becomes of the sample video. Returns the id of its job."""
    from videoqueue.cli.client import upload, wait_for

    click.echo(f"POST {client.url}/video/submit  ({SAMPLE.name}, {SAMPLE.stat().st_size // 1000} kB)")
    job_id = upload(client, SAMPLE, {})
    click.echo(f"  202, job_id {job_id}\nGET  {client.url}/video/status/{job_id}")
    wait_for(client, job_id)
    click.echo(f"  completed\nGET  {client.url}/video/results/{job_id}")
    items = client.results(job_id)["results"]
    click.echo(f"  {counted(len(items), 'frame')}\nGET  {client.url}/jobs/{job_id}/segments")
    click.echo("  Texts and [objects] by time:\n")
    for line in lines_of(client.segments(job_id)):
        click.echo(f"  {line}")
    return job_id
