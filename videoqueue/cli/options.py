"""Options that several commands share. They have the names of the form fields of POST /video/submit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from videoqueue.cli.option_types import Text, Whole

Command = TypeVar("Command", bound=Callable[..., object])


def submission_options(command: Command) -> Command:
    """Returns the command with the options --pipeline-id, --frame-stride and --max-frames added."""
    at_least_one = Whole(1)
    for option in (
        click.option("--max-frames", type=at_least_one, help="Stop after this many processed frames."),
        click.option(
            "--frame-stride",
            type=at_least_one,
            default=1,
            show_default=True,
            help="Process every n-th frame: 0, n, 2n ...",
        ),
        click.option("--pipeline-id", type=Text(), help="Pipeline to run. [default: the service's]"),
    ):
        command = option(command)
    return command


def output_option(command: Command) -> Command:
    """Returns the command with the option --output added; its value is a binary file."""
    return click.option(
        "-o",
        "--output",
        type=click.File("wb", lazy=True),
        default="-",
        help="Write to this file. [default: stdout]",
    )(command)


def format_option(*, required: bool = False) -> Callable[[Command], Command]:
    """Returns a decorator that adds the option --format; its value is the parameter `format_name`."""

    def add(command: Command) -> Command:
        from videoqueue.exports.formats import FORMATS

        default = "" if required else " [default: JSON with all results]"
        option = click.option(
            "--format",
            "format_name",
            type=click.Choice(list(FORMATS)),
            required=required,
            help=f"Format of the output.{default}",
        )
        return option(command)

    return add


def checked_url(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Returns the value of an option if it is the URL of a service."""
    from videoqueue.settings.urls import http_url

    try:
        return None if value is None else http_url(value)
    except ValueError as error:
        raise click.BadParameter(f"it {error}.") from None


def service_option(command: Command) -> Command:
    """Returns the command with the option --url added."""
    return click.option(
        "--url",
        type=Text(),
        callback=checked_url,
        help="Address of the service. [default: VIDEOQUEUE_URL, or http://127.0.0.1:8000]",
    )(command)
