"""The client's name of a video. It is only shown, never part of a key or a path."""

from __future__ import annotations

import re
from typing import Final

from videoqueue.logs import UNSAFE

#: The maximum number of characters; the size of the column.
MAX_NAME: Final = 255
#: Separators of the systems of clients. Some browsers have sent the whole path.
_SEPARATOR: Final = re.compile(r"[/\\]")


def clean_name(text: str) -> str | None:
    """Returns a name without control characters and surrounding white space; None if nothing is left.

    Line separators, lone surrogates, and characters that reorder text are removed too.
    """
    return UNSAFE.sub("", text).strip() or None


def name_of_file(file_name: str) -> str | None:
    """Returns the name for a video that was sent with this file name; None if nothing is left of it.

    The path is removed. A long name is cut to `MAX_NAME` characters.
    """
    name = clean_name(_SEPARATOR.split(file_name)[-1])
    return None if name is None else name[:MAX_NAME].strip()
