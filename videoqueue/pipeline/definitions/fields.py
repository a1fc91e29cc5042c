"""Reads the fields of a pipeline file out of parsed JSON, and keeps what is wrong with them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from videoqueue.pipeline.definitions.faults import Fault, shown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME_RULE = "it takes 1 to 64 letters, digits, '_' and '-', not '_' or '-' first."


class FieldReader:
    """Reads values and goes on where one is wrong; `faults` has all that were met, in reading order.

    `what` names the value in a fault's text. A value that cannot be used is read as None; so is that of a
    missing field, without a fault, as `fields` has told of it.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.faults: list[Fault] = []

    def document(self, content: bytes) -> Any:
        """The JSON document. A field given twice in one object is a fault: JSON would take the last.

        Raises:
            ValueError, RecursionError: it is no JSON.
        """

        def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            for name in repeated(name for name, _ in pairs):
                self.report(f"the field {shown(name)} appears twice in one object. Keep one.")
            return dict(pairs)

        return json.loads(content.decode(), object_pairs_hook=keep)

    def fields(self, entry: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
        """Those of the named fields that are there; anything missing or beyond them is a fault."""
        if not isinstance(entry, dict):
            self.report(f"{what} must be a JSON object with {', '.join(names)}, not {shown(entry)}.")
            return {}
        for name in names:
            if name not in entry:
                self.report(f"{what} has no {name!r}. Add it.")
        for name in entry:
            if name not in names:
                self.report(f"{what} has an unknown field {shown(name)}. It takes {', '.join(names)}.")
        return {name: entry[name] for name in names if name in entry}

    def entries(self, given: Mapping[str, Any], field: str) -> list[Any] | None:
        """A list of anything."""
        if field not in given:
            return None
        if not isinstance(given[field], list):
            self.report(f"{field} must be a list, not {shown(given[field])}.")
            return None
        return list(given[field])

    def text(self, given: Mapping[str, Any], field: str, what: str) -> str | None:
        if field not in given:
            return None
        value = given[field]
        if not isinstance(value, str):
            self.report(f"{what} must be a text, not {shown(value)}.")
            return None
        return value

    def name(self, given: Mapping[str, Any], field: str, what: str) -> str | None:
        """A text that may serve as an id."""
        value = self.text(given, field, what)
        if value is not None and not NAME.fullmatch(value):
            self.report(f"{what} is {shown(value)}: {NAME_RULE}")
            return None
        return value

    def texts(self, given: Mapping[str, Any], field: str) -> tuple[str, ...] | None:
        """A list of texts; None if one of them is none."""
        entries = self.entries(given, field)
        if entries is None:
            return None
        read = [self.text({field: entry}, field, f"a name in {field}") for entry in entries]
        texts = tuple(text for text in read if text is not None)
        return texts if len(texts) == len(read) else None

    def report(self, what: str) -> None:
        self.faults.append(Fault(self.where, what))


def at_node(where: str, node: str) -> str:
    """Where a fault of one node is; an empty text is an id that could not be read."""
    return f"{where}, node {node!r}" if node else where


def repeated(names: Iterable[str]) -> list[str]:
    """Names that appear more than once, each once."""
    return [name for name, count in Counter(names).items() if count > 1]
