"""segments: the time ranges of labels and texts of a job."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from videoqueue.cli.option_types import Number, Text
from videoqueue.cli.options import service_option
from videoqueue.logs import escape


@click.command()
@click.argument("job_id", type=Text())
@click.option(
    "--min-confidence",
    type=Number(0, 1),
    help="Show only ranges whose confidence is at least this. [default: all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@service_option
def segments(job_id: str, min_confidence: float | None, as_json: bool, url: str | None) -> None:
    """Print when each text and each [object] is seen in the completed job JOB_ID.

    \b
    videoqueue segments 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8
    videoqueue segments 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8 --json | jq -r '.texts[].text'
    """
    from videoqueue.cli.client import connected

    with connected(url) as client:
        found = client.segments(job_id, min_confidence=min_confidence)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for line in lines_of(found):
        click.echo(line)
    if found["truncated"]:
        click.echo("There are more ranges than the service lists.", err=True)


def lines_of(segments: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each range, by start: texts, and labels in brackets with their number."""
    rows = [(found["start"], found["end"], escape(found["text"])) for found in segments["texts"]]
    for found in segments["labels"]:
        number = f" x{found['peak_count']}" if found["peak_count"] > 1 else ""
        rows.append((found["start"], found["end"], f"[{escape(found['label'])}{number}]"))
    for start, end, what in sorted(rows):
        yield f"{start:8.2f} s - {end:7.2f} s   {what}"
