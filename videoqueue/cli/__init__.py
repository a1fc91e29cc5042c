"""The `videoqueue` command. Commands import their modules when they run, so that `--help` is fast."""

import videoqueue.search_path  # noqa: F401 - first: it removes the working directory from the search path

# isort: split
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from videoqueue.cli.client import results, status, submit
from videoqueue.cli.demo import demo
from videoqueue.cli.doctor.command import doctor
from videoqueue.cli.export import export
from videoqueue.cli.jobs import jobs
from videoqueue.cli.keys import keys
from videoqueue.cli.output import discard_output
from videoqueue.cli.owners import owners
from videoqueue.cli.process import process
from videoqueue.cli.segments import segments
from videoqueue.cli.settings import settings
from videoqueue.cli.up import up
from videoqueue.cli.validate import validate
from videoqueue.cli.webhooks import webhooks
from videoqueue.errors import VideoqueueError
from videoqueue.hardening import private_files
from videoqueue.log_setup import configure_command
from videoqueue.logs import escape
from videoqueue.redaction import mask
from videoqueue.settings.unknown import unknown_variables


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"videoqueue, version {version('videoqueue')}")
    except PackageNotFoundError:
        click.echo("videoqueue, not installed: run from a checkout, which has no version")
    context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Process videos frame by frame, in the background.

    \b
    Try it:            videoqueue demo
    Run the service:   videoqueue up
    Without a server:  videoqueue process FILE
    Is it set up well? videoqueue doctor
    """
    if context.invoked_subcommand not in ("up", "doctor"):  # these report them themselves
        _warn_of_unknown_variables()


def _warn_of_unknown_variables() -> None:
    for name, nearest in unknown_variables(os.environ).items():
        hint = f"Did you mean {nearest}?" if nearest else "`videoqueue settings` prints all settings."
        click.echo(f"videoqueue: warning: {escape(name)} is no setting and is ignored. {hint}", err=True)


for command in (
    up,
    demo,
    submit,
    status,
    results,
    segments,
    export,
    jobs,
    keys,
    owners,
    process,
    webhooks,
    validate,
    settings,
    doctor,
):
    cli.add_command(command)


def main() -> None:
    """Runs the command line. An expected error is printed as one line on stderr, with exit code 1.

    So is an error of the system, such as a full disk: also of the one that stdout is redirected to.
    """
    private_files()
    # A program that was started without them has no stdout and stderr: what it prints is discarded.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - open to the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - open to the end
    configure_command()
    try:
        try:
            cli()
        finally:
            sys.stdout.flush()
    except VideoqueueError as error:
        _fail(str(error))
    except OSError as error:
        discard_output()
        file = f"{escape(str(error.filename))}: " if error.filename else ""
        _fail(f"{file}{error.strerror or error}.")


def _fail(message: str) -> NoReturn:
    print(mask(f"videoqueue: {message}"), file=sys.stderr)  # noqa: T201
    sys.exit(1)
