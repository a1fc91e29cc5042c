"""Makes texts and values safe that a child process sent: hostile bytes may control it.

message text    one line of at most 1,000 characters and 2,000 bytes, for a response, a terminal and a log
JSON value      an item's own text stays as it is; only lone surrogates, which UTF-8 lacks, are replaced
"""

from __future__ import annotations

import math
import re

from videoqueue.errors import MAX_MESSAGE_CHARACTERS, shortened
from videoqueue.logs import UNSAFE
from videoqueue.pipeline.json_values import check_value

REPLACEMENT = "\ufffd"
_SPACES = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean_text(text: str, most: int = MAX_MESSAGE_CHARACTERS) -> str:
    """Returns the text as one printable line of at most `most` characters and `MAX_MESSAGE_BYTES` bytes.

    Line breaks and tabs become spaces. Other control characters, characters that reorder text, and lone
    surrogates become U+FFFD. A text that was cut ends in an ellipsis.
    """
    # Reading four times as many characters bounds the work; runs of line breaks shrink to one space.
    line = UNSAFE.sub(REPLACEMENT, _SPACES.sub(" ", text[: 4 * most])).strip()
    return shortened(f"{line}…" if len(text) > 4 * most else line, most)


def clean_value(value: object) -> object:
    """Returns a copy of a parsed JSON value that can be stored: UTF-8, finite numbers, bounded nesting.

    Raises:
        ValueError: a number is not finite or needs over 64 bits, or the nesting is too deep.
    """
    check_value(value)
    return _cleaned(value)


def _cleaned(value: object) -> object:
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
