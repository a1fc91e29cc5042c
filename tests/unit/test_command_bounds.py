"""Every option and argument of every command has bounds, whatever is typed or read from the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.support.stack import ROOT, environment
from videoqueue.cli import cli
from videoqueue.jobs.types import rfc3339

Settings = Mapping[str, bytes]
NONE: Settings = {}
KEY_OF_BYTES = b"0123456789abcdef0123456789abcdef\xff\xfe"


def parameters(command: click.Command = cli, path: str = "") -> Iterator[tuple[str, click.Parameter]]:
    for parameter in command.params:
        yield f"{path} {parameter.opts[0]}".strip(), parameter
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from parameters(inner, f"{path} {name}".strip())


VALUES = {
    name: parameter
    for name, parameter in parameters()
    if not isinstance(parameter.type, click.Path | click.File | click.Choice | click.types.BoolParamType)
}
NUMBERS = {name: parameter for name, parameter in VALUES.items() if parameter.type.name.endswith("range")}


def refusal(parameter: click.Parameter, value: str) -> str:
    with pytest.raises(click.BadParameter) as refused:
        parameter.type.convert(value, parameter, click.Context(cli))
    return refused.value.format_message()


@pytest.mark.parametrize("name", VALUES)
def test_bytes_that_are_not_utf8_are_refused(name: str) -> None:
    assert refusal(VALUES[name], os.fsdecode(b"a\xff"))


@pytest.mark.parametrize("name", VALUES)
def test_a_huge_value_is_refused(name: str) -> None:
    assert refusal(VALUES[name], "9" * 5000)


@pytest.mark.parametrize(
    "value", ["nan", "-nan", "inf", "-inf", "1e300", "-1", "99999999999999999999", "", "x"]
)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_range_is_refused(name: str, value: str) -> None:
    assert refusal(NUMBERS[name], value)


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_name_has_1_to_255_characters(name: str) -> None:
    assert "it takes 1 to 255 characters." in refusal(VALUES["submit --name"], name)


def test_there_are_numbers_of_both_kinds() -> None:
    assert {"keys create --expires-in", "keys rotate --overlap", "jobs list --limit"} <= set(NUMBERS)


@pytest.mark.parametrize("days", ["0", "36501", "1e7", "nan"])
def test_a_lifetime_names_what_it_takes(days: str) -> None:
    refused = CliRunner().invoke(cli, ["keys", "create", "--owner", "anna", "--expires-in", days])
    assert refused.exit_code == 2
    assert "--expires-in" in refused.stderr
    assert "36500" in refused.stderr


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (2**63 - 1, "9999-12-31T23:59:59.999999Z"),
        (-(2**63), "0001-01-01T00:00:00.000000Z"),
        (253402300799_999999, "9999-12-31T23:59:59.999999Z"),
        (0, "1970-01-01T00:00:00.000000Z"),
    ],
)
def test_every_time_that_a_row_can_hold_is_shown(microseconds: int, text: str) -> None:
    assert rfc3339(microseconds) == text


def run(
    data: Path, *arguments: str | bytes, shell: str = '"$@"', settings: Settings = NONE
) -> tuple[int, str]:
    """Runs a command in a process of its own through a shell that redirects. Returns its code and stderr."""
    data.mkdir(exist_ok=True)
    values: dict[str, str | bytes] = {"PYTHONPATH": str(ROOT), "VIDEOQUEUE_DATA_DIR": str(data)}
    values.update(settings)
    done = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-m", "videoqueue.cli", *arguments],
        env={**environment({}), **values},
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stderr.decode()


def test_a_secret_that_is_not_utf8_is_refused_without_being_shown(tmp_path: Path) -> None:
    code, said = run(tmp_path, "settings", settings={"VIDEOQUEUE_ADMIN_KEY": KEY_OF_BYTES})
    assert code == 1
    start = "videoqueue: VIDEOQUEUE_ADMIN_KEY='...' cannot be used: "
    assert said == f"{start}VIDEOQUEUE_ADMIN_KEY takes text in UTF-8.\n"


@pytest.mark.parametrize(
    "variable", ["DATABASE_URL", "VIDEOQUEUE_URL", "VIDEOQUEUE_DEFAULT_PIPELINE", "VIDEOQUEUE_DATA_DIR"]
)
def test_a_setting_that_is_not_utf8_is_refused(tmp_path: Path, variable: str) -> None:
    code, said = run(tmp_path, "settings", settings={variable: b"http://a\xff"})
    assert (code, said.count("\n")) == (1, 1)
    assert said.endswith(f"{variable} takes text in UTF-8.\n")


def test_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    assert run(tmp_path, "settings", shell='"$@" > /dev/full') == (
        1,
        "videoqueue: No space left on device.\n",
    )
