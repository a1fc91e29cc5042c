"""The operations page names what exists: commands, settings, log lines, fields."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest

from videoqueue.cli import cli
from videoqueue.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
ENDPOINTS = (ROOT / "docs" / "PHASE_16_ENDPOINTS.md").read_text()
CODE = "".join(path.read_text() for path in (ROOT / "videoqueue").rglob("*.py"))
COMMANDS = sorted(set(re.findall(r"videoqueue ((?:jobs|validate) [^`|\n]*)", PAGE)))


def test_commands_are_found() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_shown_would_be_taken(line: str) -> None:
    command: click.Command = cli
    words = shlex.split(line)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context(line, words)


def test_every_jobs_command_is_shown() -> None:
    group = cli.commands["jobs"]
    assert isinstance(group, click.Group)
    assert [name for name in group.commands if f"videoqueue jobs {name}" not in PAGE] == []


def test_every_setting_named_exists() -> None:
    names = {entry.metadata["name"] for entry in fields(Settings)}
    assert set(re.findall(r"VIDEOQUEUE_[A-Z_]+|DATABASE_URL|REDIS_URL", PAGE)) - names == set()


def test_every_log_line_to_watch_is_written_somewhere() -> None:
    (watched,) = re.findall(r"raise an alarm on: (.*?)\n\n", PAGE, re.DOTALL)
    sentences = re.findall(r"`([^`]+)`", watched)
    assert len(sentences) == 4
    assert [sentence for sentence in sentences if sentence not in CODE] == []


def test_every_reason_of_degradation_is_explained() -> None:
    reasons = set(re.findall(r'degraded\.append\("(\w+)"\)', CODE))
    assert reasons == {"storage_full", "queue_unavailable", "no_live_worker"}
    assert all(f"`{reason}`" in PAGE and f"`{reason}`" in ENDPOINTS for reason in reasons)
