"""Makes a log record of one line that a child process has printed.

The child logs in JSON (`videoqueue.logs`); anything else is text that a plugin or a library has printed.
Hostile bytes may control the child, so it chooses neither the process, the time nor the job of its lines, and
each text is escaped.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from typing import Final

from videoqueue.logs import CONTEXT, LEVELS, MAX_JSON_BYTES, escape

#: The logger of what was printed, not logged; a child cannot log under this name.
OUTPUT: Final = "output"
#: Bytes of a printed line that are shown.
LINE_BYTES: Final = 2000
#: The longest record of a child.
MAX_RECORD_BYTES: Final = MAX_JSON_BYTES

_LOGGER: Final = re.compile(r"[\w.()-]{1,100}", re.ASCII)
_FIELD: Final = re.compile(r"[a-z][a-z_]{0,39}")
#: Fields that the child may set of those that every line can have.
_WHERE: Final = ("node", "plugin", "tool")
#: Names that a record of `logging` or a line has for other things.
_RESERVED: Final = (
    frozenset(vars(logging.makeLogRecord({})))
    | {*CONTEXT, "time", "level", "pid", "logger", "message", "exception", "asctime", "origin", "taskName"}
) - {*_WHERE}
_MAX_FIELDS: Final = 20
_MAX_VALUE: Final = 300


def record_of(line: bytes, more: int, pid: int, job: Mapping[str, object]) -> logging.LogRecord:
    """Returns the record for one line.

    Args:
        line: what the child printed, without the line's end.
        more: bytes of the line that were cut off.
        pid: the child's process id.
        job: the fields of the job, over which the child has no say.
    """
    logged = None if more else _logged(line)
    record = logging.makeLogRecord(logged if logged is not None else _printed(line, more))
    vars(record).update({"origin": "child", "process": pid, **job})
    return record


def may_be_logged(line: bytes) -> bool:
    """Returns False for a line that the child has certainly printed, not logged."""
    return line.startswith(b"{")


def _printed(line: bytes, more: int) -> dict[str, object]:
    more += max(0, len(line) - LINE_BYTES)
    text = escape(line[:LINE_BYTES].decode(errors="backslashreplace"))
    return _attributes(OUTPUT, "INFO", text + (f" ... ({more} more bytes)" if more else ""))


def _logged(line: bytes) -> dict[str, object] | None:
    """Returns the attributes of what the child has logged; None if the line is none of its records."""
    if not may_be_logged(line):
        return None
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match given:
        case {"level": str() as level, "logger": str() as name, "message": str() as message} if (
            level in LEVELS and _LOGGER.fullmatch(name) and name != OUTPUT
        ):
            exception = given.get("exception")
            fields = [pair for pair in given.items() if _is_field(*pair)][:_MAX_FIELDS]
            return {key: _cut(value) for key, value in fields} | _attributes(
                name, level, _lines(message), _lines(exception) if isinstance(exception, str) else None
            )
    return None


def _attributes(name: str, level: str, message: str, exception: str | None = None) -> dict[str, object]:
    number = logging.getLevelNamesMapping()[level]
    return {"name": name, "levelname": level, "levelno": number, "msg": message, "exc_text": exception}


def _is_field(name: str, value: object) -> bool:
    if name in _RESERVED or not _FIELD.fullmatch(name):
        return False
    return (
        value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    )


def _cut(value: object) -> object:
    return escape(value[:_MAX_VALUE]) if isinstance(value, str) else value


def _lines(text: str) -> str:
    return "\n".join(map(escape, text.split("\n")))
