"""Parsers: the text of an environment variable becomes a value.

A parser raises ValueError when it cannot use the text. The message is the end of a sentence that begins with
the setting's name, for example "takes on or off".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Final, TypeVar

from videoqueue.logs import LEVELS

T = TypeVar("T")

#: The unit of a setting whose value is never printed.
SECRET: Final = "secret"  # noqa: S105 - not one itself
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]")


def setting(name: str, parse: Callable[[str], T], default: T, unit: str, help: str) -> T:
    """Declares a field of a settings class.

    Args:
        name: the environment variable.
        parse: returns the value for the text of the variable.
        default: the value when the variable is not set.
        unit: the unit of the value, for the documentation.
        help: the description, for the documentation.

    Returns:
        The field for `dataclasses.dataclass`, typed as its value.
    """
    about = {"name": name, "parse": parse, "unit": unit, "help": help}
    return field(default=default, metadata=about, repr=unit != SECRET)


def text(value: str) -> str:
    """Returns any text unchanged."""
    return value


def choice(*words: str) -> Callable[[str], str]:
    """Returns a parser for one of the words."""

    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"takes {' or '.join(words)}")
        return value

    return parse


def secret(minimum: int) -> Callable[[str], str]:
    """Returns a parser for a key of at least `minimum` characters that a header can carry."""

    def parse(value: str) -> str:
        if len(value) < minimum or not all("!" <= character <= "~" for character in value):
            raise ValueError(f"takes at least {minimum} letters, digits or other ASCII characters, no spaces")
        return value

    return parse


def host_names(value: str) -> tuple[str, ...]:
    """Returns host names or addresses, in lower case."""
    names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
    if not all(_HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("takes host names without a port, separated by commas, such as videos.example.com")
    return names


def log_level(value: str) -> str:
    """Returns the level in capitals."""
    if value.upper() not in LEVELS:
        raise ValueError(f"takes {', '.join(LEVELS[:-1])} or {LEVELS[-1]}")
    return value.upper()


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Returns a parser for a whole number of at least `minimum`, and at most `maximum` if there is one."""
    takes = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def parse(value: str) -> int:
        number = int(value) if value.strip().lstrip("-").isdigit() else None
        if number is None or number < minimum or (maximum is not None and number > maximum):
            raise ValueError(f"takes a whole number {takes}")
        return number

    return parse


def switch(value: str) -> bool:
    """Returns True for on and False for off."""
    if value.lower() not in ("on", "off"):
        raise ValueError("takes on or off")
    return value.lower() == "on"


def share(value: str) -> float:
    """Returns a number from 0 to 1."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError("takes a number from 0 to 1")
    return number


def seconds(value: str) -> float:
    """Returns a duration above 0, in seconds."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise ValueError("takes a number of seconds above 0")
    return number


def port(value: str) -> int:
    """Returns the number of a TCP port."""
    if not (value.isdigit() and 0 < int(value) < 65536):
        raise ValueError("takes a port from 1 to 65535")
    return int(value)


def existing_file(value: str) -> str:
    """Returns the absolute path of a file that exists."""
    if not Path(value).is_file():
        raise ValueError("takes the path of a file that exists")
    return str(Path(value).absolute())


def existing_folder(value: str) -> str:
    """Returns the absolute path of a folder that exists."""
    if not Path(value).is_dir():
        raise ValueError("takes the path of a folder that exists")
    return str(Path(value).absolute())


def existing_paths(value: str) -> str:
    """Returns the absolute paths of files and folders that exist, separated by colons as before."""
    paths = [path for path in value.split(os.pathsep) if path]
    if not all(Path(path).exists() for path in paths):
        raise ValueError("takes paths of files and folders that exist, separated by colons")
    return os.pathsep.join(str(Path(path).absolute()) for path in paths)
