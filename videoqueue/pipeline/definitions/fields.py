"""Reads the fields of a pipeline file from parsed JSON and collects their faults."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from videoqueue.pipeline.definitions.faults import Fault, shown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME_RULE = "it takes 1 to 64 letters, digits, '_' and '-', not '_' or '-' first."


class FieldReader:
    """Reads values and continues after a fault.

    In all methods, `what` names the value in the text of a fault. An invalid value is read as None. So is a
    missing field, but without a fault: `fields` has reported it.

    Attributes:
        where: The file, for the faults.
        faults: The faults so far, in reading order.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.faults: list[Fault] = []

    def document(self, content: bytes) -> object:
        """Parses a JSON document. A field that appears twice in one object is a fault.

        Returns:
            The parsed value. The last of two equal fields counts.

        Raises:
            ValueError: The content is not valid JSON.
            RecursionError: The content is nested too deep to be parsed.
        """

        def keep(pairs: list[tuple[str, object]]) -> dict[str, object]:
            for name in repeated(name for name, _ in pairs):
                self.report(f"the field {shown(name)} appears twice in one object. Keep one.")
            return dict(pairs)

        document: object = json.loads(content.decode(), object_pairs_hook=keep)
        return document

    def fields(self, entry: object, names: tuple[str, ...], what: str) -> dict[str, object]:
        """Returns the named fields that exist. A missing or unknown field is a fault."""
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

    def entries(self, given: Mapping[str, object], field: str) -> list[object] | None:
        """Returns a list of any values."""
        if field not in given:
            return None
        value = given[field]
        if not isinstance(value, list):
            self.report(f"{field} must be a list, not {shown(value)}.")
            return None
        return list(value)

    def text(self, given: Mapping[str, object], field: str, what: str) -> str | None:
        """Returns a text."""
        if field not in given:
            return None
        value = given[field]
        if not isinstance(value, str):
            self.report(f"{what} must be a text, not {shown(value)}.")
            return None
        return value

    def name(self, given: Mapping[str, object], field: str, what: str) -> str | None:
        """Returns a text that is valid as an id."""
        value = self.text(given, field, what)
        if value is not None and not NAME.fullmatch(value):
            self.report(f"{what} is {shown(value)}: {NAME_RULE}")
            return None
        return value

    def texts(self, given: Mapping[str, object], field: str) -> tuple[str, ...] | None:
        """Returns a list of texts; None if an entry is not a text."""
        entries = self.entries(given, field)
        if entries is None:
            return None
        read = [self.text({field: entry}, field, f"a name in {field}") for entry in entries]
        texts = tuple(text for text in read if text is not None)
        return texts if len(texts) == len(read) else None

    def report(self, what: str) -> None:
        """Adds a fault."""
        self.faults.append(Fault(self.where, what))


def at_node(where: str, node: str) -> str:
    """Returns the place of a fault in a node. The id is empty if it could not be read."""
    return f"{where}, node {node!r}" if node else where


def repeated(names: Iterable[str]) -> list[str]:
    """Returns the names that appear more than once, each once."""
    return [name for name, count in Counter(names).items() if count > 1]
