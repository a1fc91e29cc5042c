"""The `videoqueue` command. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import sys

import click

from videoqueue.cli.client import results, status, submit
from videoqueue.cli.demo import demo
from videoqueue.cli.jobs import jobs
from videoqueue.cli.process import process
from videoqueue.cli.settings import settings
from videoqueue.cli.up import up
from videoqueue.cli.validate import validate
from videoqueue.errors import VideoqueueError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="videoqueue")
def cli() -> None:
    """Reads videos frame by frame, in the background.

    \b
    Try it:            videoqueue demo
    Run the service:   videoqueue up
    Without a server:  videoqueue process FILE
    """


for command in (up, demo, submit, status, results, jobs, process, validate, settings):
    cli.add_command(command)


def main() -> None:
    """Runs the command line; an expected error is one line on stderr and exit code 1."""
    try:
        cli()
    except VideoqueueError as error:
        print(f"videoqueue: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
