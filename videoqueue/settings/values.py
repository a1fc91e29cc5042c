"""Parsers: the text of an environment variable becomes a value.

A parser raises ValueError when it cannot use the text. The message is the end of a sentence that begins with
the setting's name, for example "takes on or off".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Final, TypeVar

from videoqueue.logs import LEVELS

T = TypeVar("T")

#: The unit of a setting whose value is never printed.
SECRET: Final = "secret"  # noqa: S105 - not one itself
#: The largest values of settings: whatever is computed from them fits into 64 bits. 100 years of days, and
#: about 31 years of seconds.
MAX_DAYS: Final = 36_500
_MAX_SECONDS: Final = 1_000_000_000
_LARGEST: Final = 2**63 - 1
#: `int` also takes digits of other scripts, and no text of more than 4300 digits.
_WHOLE: Final = re.compile(r"-?[0-9]{1,4000}")
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


def require_utf8(value: str) -> None:
    """Checks that the bytes of a variable are UTF-8; others are surrogates (PEP 383) and cannot be stored.

    Raises:
        ValueError: they are not.
    """
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("takes text in UTF-8")


def text(value: str) -> str:
    """Returns any text unchanged."""
    return value


def alternatives(words: Sequence[str]) -> str:
    """Returns the words as in a sentence: a, b or c."""
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def choice(*words: str) -> Callable[[str], str]:
    """Returns a parser for one of the words."""

    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"takes {alternatives(words)}")
        return value

    return parse


def secret(minimum: int) -> Callable[[str], str]:
    """Returns a parser for a key of at least `minimum` characters that a header can carry."""

    many = f"at least {minimum} " if minimum > 1 else ""

    def parse(value: str) -> str:
        if len(value) < minimum or not all("!" <= character <= "~" for character in value):
            raise ValueError(f"takes {many}letters, digits or other ASCII characters, no spaces")
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
        raise ValueError(f"takes {alternatives(LEVELS)}")
    return value.upper()


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Returns a parser for a whole number from `minimum` to `maximum`, by default 2^63 - 1."""
    takes = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    largest = _LARGEST if maximum is None else maximum

    def parse(value: str) -> int:
        number = int(value) if _WHOLE.fullmatch(value) else None
        if number is not None and minimum <= number <= largest:
            return number
        is_large = number is not None and number > largest
        raise ValueError(f"takes a whole number {f'from {minimum} to {largest}' if is_large else takes}")

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
    """Returns a duration above 0 and of at most about 31 years, in seconds."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number <= _MAX_SECONDS:
        raise ValueError(f"takes a number of seconds above 0, and at most {_MAX_SECONDS}")
    return number


def port(value: str) -> int:
    """Returns the number of a TCP port."""
    try:
        return whole(1, 65535)(value)
    except ValueError:
        raise ValueError("takes a port from 1 to 65535") from None


def existing_file(value: str) -> str:
    """Returns the absolute path of a file that exists."""
    if not _is(Path.is_file, value):
        raise ValueError("takes the path of a file that exists")
    return str(Path(value).absolute())


def existing_folder(value: str) -> str:
    """Returns the absolute path of a folder that exists."""
    if not _is(Path.is_dir, value):
        raise ValueError("takes the path of a folder that exists")
    return str(Path(value).absolute())


def existing_paths(value: str) -> str:
    """Returns the absolute paths of files and folders that exist, separated by colons as before."""
    paths = [path for path in value.split(os.pathsep) if path]
    if not all(_is(Path.exists, path) for path in paths):
        raise ValueError("takes paths of files and folders that exist, separated by colons")
    return os.pathsep.join(str(Path(path).absolute()) for path in paths)


def _is(test: Callable[[Path], bool], value: str) -> bool:
    try:
        return test(Path(value))
    except OSError:  # for example a path that is too long
        return False
