"""demo: submits the sample video to a real service, waits for it, and prints a summary of the results."""

from __future__ import annotations

import io
import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from videoqueue.cli.client import Client

SAMPLE = Path(__file__).with_name("sample.mp4")


@click.command()
@click.option(
    "--url", help="Use a running service. [default: start one in a temporary folder, and stop it afterwards]"
)
@click.option("--verbose", is_flag=True, help="Show the log of the processes.")
def demo(url: str | None, verbose: bool) -> None:
    """Submit the sample video to a real service, wait, and print the objects and the text in it."""
    from videoqueue.cli.client import Client

    if url:
        _show(Client(url))
        return
    click.echo("Starting web, worker and queue in a temporary folder ...", err=True)
    key = secrets.token_urlsafe(32)
    with _service(verbose, key) as own_url:
        _show(Client(own_url, key))


@contextmanager
def _service(verbose: bool, key: str) -> Iterator[str]:
    """Runs a service of its own, and yields its URL. Whatever the environment says, it takes this key."""
    from videoqueue.errors import VideoqueueError
    from videoqueue.supervisor.embedded import DataFolder, free_port
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


def _show(client: Client) -> None:
    click.echo(f"POST {client.url}/video/submit  ({SAMPLE.name}, {SAMPLE.stat().st_size // 1000} kB)")
    job_id = client.submit(SAMPLE, {})
    click.echo(f"  202, job_id {job_id}\nGET  {client.url}/video/status/{job_id}")
    client.wait(job_id)
    click.echo(f"  completed\nGET  {client.url}/video/results/{job_id}")
    body = io.BytesIO()
    client.results(job_id, body)
    items = json.loads(body.getvalue())["results"]
    click.echo(f"  {len(items)} frames. Text and [objects] by time:\n")
    for span in spans(items):
        seen = f"   [{', '.join(span.labels)}]" if span.labels else ""
        click.echo(f"  {span.start:5.1f} s - {span.end:4.1f} s   {span.text}{seen}")


@dataclass
class Span:
    """Consecutive frames with the same text: first and last timestamp in seconds, labels of objects."""

    start: float
    end: float
    text: str
    labels: list[str]


def spans(items: list[dict[str, Any]]) -> list[Span]:
    """Returns runs of frames with the same text, without those that show neither text nor objects."""
    found: list[Span] = []
    for item in items:
        result = item["result"]
        text = " / ".join(result.get("text", "").splitlines())
        if not found or found[-1].text != text:
            found.append(Span(result["timestamp"], result["timestamp"], text, []))
        span = found[-1]
        span.end = result["timestamp"]
        labels = [detection["label"] for detection in result.get("detections", [])]
        span.labels += [label for label in dict.fromkeys(labels) if label not in span.labels]
    return [span for span in found if span.text or span.labels]
