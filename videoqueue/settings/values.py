"""How the text of a variable becomes a value; ValueError says what the setting takes instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any

Parser = Callable[[str], Any]


def setting(name: str, parse: Parser, default: Any, unit: str, help: str) -> Any:
    """A field of settings: its variable, how that is read, and what the documentation says of it."""
    return field(default=default, metadata={"name": name, "parse": parse, "unit": unit, "help": help})


def text(value: str) -> str:
    return value


def choice(*words: str) -> Parser:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"takes {' or '.join(words)}")
        return value

    return parse


def whole(minimum: int) -> Parser:
    def parse(value: str) -> int:
        number = int(value) if value.strip().lstrip("-").isdigit() else None
        if number is None or number < minimum:
            raise ValueError(f"takes a whole number of at least {minimum}")
        return number

    return parse


def switch(value: str) -> bool:
    if value.lower() not in ("on", "off"):
        raise ValueError("takes on or off")
    return value.lower() == "on"


def share(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError("takes a number from 0 to 1")
    return number


def seconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise ValueError("takes a number of seconds above 0")
    return number


def port(value: str) -> int:
    if not (value.isdigit() and 0 < int(value) < 65536):
        raise ValueError("takes a port from 1 to 65535")
    return int(value)


def existing_file(value: str) -> str:
    if not Path(value).is_file():
        raise ValueError("takes the path of a file that exists")
    return str(Path(value).absolute())


def existing_folder(value: str) -> str:
    if not Path(value).is_dir():
        raise ValueError("takes the path of a folder that exists")
    return str(Path(value).absolute())
