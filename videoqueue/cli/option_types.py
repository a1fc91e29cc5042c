"""The types of all options and arguments of the commands: each has bounds.

A value outside of them is a usage error (exit code 2) that names what is taken, before anything is done.
`click.Path`, `click.Choice` and flags have bounds of their own.
"""

from __future__ import annotations

import math
import re
from typing import Final

import click

#: The maximum length of a text that has no shorter limit of its own, in characters.
_MAX_TEXT: Final = 2000
#: The largest whole number that the database and the service take.
_LARGEST: Final = 2**63 - 1
#: A whole key of `videoqueue.jobs.api_key`, or what is left of one that was cut.
_WHOLE_KEY: Final = re.compile(r"\s*vq_([a-z2-7]{12})(_.*)?", re.DOTALL)
_PRINTABLE: Final = re.compile(r"[ -~]+")


class Whole(click.IntRange):
    """A whole number from `minimum` to `maximum`."""

    def __init__(self, minimum: int, maximum: int = _LARGEST) -> None:
        super().__init__(min=minimum, max=maximum)


class Number(click.FloatRange):
    """A number from `minimum` to `maximum`; neither infinity nor NaN."""

    def __init__(self, minimum: float, maximum: float) -> None:
        super().__init__(min=minimum, max=maximum)

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Returns the number."""
        try:
            number = float(str(value))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"it takes a number from {self.min:g} to {self.max:g}.", parameter, context)
        return super().convert(number, parameter, context)


class Text(click.ParamType[str]):
    """A text in UTF-8 of `minimum` to `maximum` characters."""

    name = "text"

    def __init__(self, maximum: int = _MAX_TEXT, minimum: int = 0) -> None:
        self._maximum = maximum
        self._minimum = minimum

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Returns the text."""
        text = str(value)
        # Bytes of the command line that are not UTF-8 are surrogates (PEP 383), which nothing can store.
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            self.fail("it takes text in UTF-8 without zero bytes.", parameter, context)
        if not self._minimum <= len(text) <= self._maximum:
            least = f"{self._minimum} to" if self._minimum else "at most"
            self.fail(f"it takes {least} {self._maximum} characters.", parameter, context)
        return text


class HeaderText(Text):
    """A text of 1 to `maximum` printable ASCII characters, which a header can carry."""

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Returns the text."""
        text = str(value)
        if not _PRINTABLE.fullmatch(text) or len(text) > self._maximum:
            self.fail(f"it takes 1 to {self._maximum} printable ASCII characters.", parameter, context)
        return text


class OwnerName(Text):
    """The name of an owner; '' is nobody where `allows_nobody`."""

    name = "owner"

    def __init__(self, *, allows_nobody: bool = False) -> None:
        super().__init__()
        self._allows_nobody = allows_nobody

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Returns the name."""
        from videoqueue.errors import VideoqueueError
        from videoqueue.jobs.keys import require_owner

        name = str(value)
        if name == "" and self._allows_nobody:
            return name
        try:
            return require_owner(name)
        except VideoqueueError as error:
            self.fail(str(error), parameter, context)


class KeyId(Text):
    """The public id of a key."""

    name = "key_id"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Returns the id."""
        text = super().convert(value, parameter, context)
        if whole := _WHOLE_KEY.fullmatch(text):
            self.fail(
                f"this is a key. Name only its id, {whole[1]}: a command line is not secret.",
                parameter,
                context,
            )
        return text
