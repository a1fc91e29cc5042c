"""Makes text and values safe that a child process sent or printed: hostile bytes may have taken it over.

message text    one line of at most 1,000 characters, for an API answer, a terminal and a log
log line        the same characters, but control characters are shown as escapes
JSON value      an item's own text is kept as it is; only lone surrogates, which UTF-8 lacks, are replaced
"""

from __future__ import annotations

import math
import re
from typing import Any

from videoqueue.errors import MOST_CHARACTERS
from videoqueue.pipeline.json_values import check_value

REPLACEMENT = "\ufffd"
_SPACES = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
# C0 and C1 controls, line separators, lone surrogates, and the characters that reorder what follows them
# (Trojan Source, CVE-2021-42574). Marks of direction and joiners stay: scripts need them.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean_text(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text as one printable line of at most `most` characters.

    Line breaks and tabs become spaces; other control characters, characters that reorder text and lone
    surrogates become U+FFFD. A text that was cut ends in an ellipsis.
    """
    # Four times as many characters bound the work; runs of line breaks shrink to one space.
    line = _UNSAFE.sub(REPLACEMENT, _SPACES.sub(" ", text[: 4 * most])).strip()
    cut = len(line) > most or len(text) > 4 * most
    return line[: most - 1] + "…" if cut else line


def escape(text: str) -> str:
    """The text with every unsafe character written as a Python escape, such as `\\x1b`."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def clean_value(value: Any) -> Any:
    """A copy of a parsed JSON value that can be stored and served: UTF-8, finite numbers, bounded nesting.

    Raises:
        ValueError: a number is not finite or needs over 64 bits, or the nesting is too deep.
    """
    check_value(value)
    return _cleaned(value)


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return _SURROGATE.sub(REPLACEMENT, value)
        case float():
            if not math.isfinite(value):
                raise ValueError("a number is not finite")
        case dict():
            return {_SURROGATE.sub(REPLACEMENT, name): _cleaned(inner) for name, inner in value.items()}
        case list():
            return [_cleaned(inner) for inner in value]
    return value
