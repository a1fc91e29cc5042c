"""settings: what can be set, and what is set here."""

from __future__ import annotations

from dataclasses import fields

import click

from videoqueue.settings import Settings, load_settings, shown


@click.command()
@click.option("--markdown", is_flag=True, help="Print the reference table of the documentation instead.")
def settings(markdown: bool) -> None:
    """Print every setting with its value here; each is an environment variable of that name."""
    if markdown:
        click.echo(table())
        return
    values = load_settings()
    width = max(len(entry.metadata["name"]) for entry in fields(Settings))
    for entry in fields(Settings):
        value = getattr(values, entry.name)
        click.echo(f"{entry.metadata['name']:{width}}  {shown(str(value)) if value else '-'}")
        click.echo(f"{'':{width}}  {entry.metadata['help']}\n")


def table() -> str:
    """The settings as a Markdown table."""
    lines = ["| setting | default | unit | what it does |", "|---|---|---|---|"]
    for entry in fields(Settings):
        default = f"`{entry.default}`" if entry.default not in ("", 0) else ""
        about = entry.metadata
        lines.append(f"| `{about['name']}` | {default} | {about['unit']} | {about['help']} |")
    return "\n".join(lines)
