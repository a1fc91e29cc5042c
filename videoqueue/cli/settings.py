"""settings: prints all settings with their current values, or the reference table."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

import click

from videoqueue.settings import Settings, load_settings, shown
from videoqueue.settings.values import SECRET


@click.command()
@click.option("--markdown", is_flag=True, help="Print the reference table of the documentation instead.")
def settings(markdown: bool) -> None:
    """Print all settings with their current values. Each is an environment variable."""
    if markdown:
        click.echo(table())
        return
    values = load_settings()
    width = max(len(entry.metadata["name"]) for entry in fields(Settings))
    for entry in fields(Settings):
        value = _text(entry, getattr(values, entry.name))
        if value and entry.metadata["unit"] == SECRET:
            value = "..."
        click.echo(f"{entry.metadata['name']:{width}}  {shown(value) or '-'}")
        click.echo(f"{'':{width}}  {entry.metadata['help']}\n")


def table() -> str:
    """Returns the settings as a Markdown table."""
    lines = ["| setting | default | unit | what it does |", "|---|---|---|---|"]
    for entry in fields(Settings):
        given = _text(entry, entry.default)
        default = f"`{given}`" if given else ""
        about = entry.metadata
        lines.append(f"| `{about['name']}` | {default} | {about['unit']} | {about['help']} |")
    return "\n".join(lines)


def _text(entry: Field[Any], value: object) -> str:
    """Returns the text of the variable; empty for a value that is not set, or is derived at the start."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value)
    if value == 0 and not _takes_zero(entry):
        return ""
    return "" if value is None else str(value)


def _takes_zero(entry: Field[Any]) -> bool:
    try:
        entry.metadata["parse"]("0")
    except ValueError:
        return False
    return True
