"""export: the results of a job in the format of another program."""

from __future__ import annotations

from typing import IO

import click

from videoqueue.cli.option_types import Number, Text
from videoqueue.cli.options import format_option, output_option, service_option


@click.command()
@click.argument("job_id", type=Text())
@format_option(required=True)
@click.option(
    "--min-confidence",
    type=Number(0, 1),
    help="Leave out what was recognized with a lower confidence. [default: nothing]",
)
@output_option
@service_option
def export(
    job_id: str, format_name: str, min_confidence: float | None, output: IO[bytes], url: str | None
) -> None:
    """Print the results of the completed job JOB_ID in another format.

    \b
    videoqueue export 7c3ea37d-a05f-44ac-9cf1-6e5cee6bfec8 --format csv -o match.csv
    """
    from videoqueue.cli.client import connected

    with connected(url, writes_output=True) as client:
        client.export(job_id, format_name, output, min_confidence=min_confidence)
