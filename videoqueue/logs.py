"""The log of every process of the service: one format, and the fields of the request or job at hand.

A text line has the time, the process, the logger, the level, what the line belongs to, a sentence and its
fields:

    [2026-03-01T09:30:00.125Z] [worker 42] [videoqueue.worker.run_job] [INFO] [job_id=0f0e attempt=1] Job
    completed. seconds=0.41

JSON has the same as one object a line. Further fields of a line are given with `extra=`; those of everything
that a thread logs for a while, with `context`. Secrets are masked in every text (`videoqueue.redaction`).
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from videoqueue.redaction import MASK, is_secret, mask

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS: Final = ("text", "json")
#: How a child process logs: JSON, for the worker to read (`videoqueue.sandbox.child_record`).
PIPE: Final = "pipe"
#: The logger of `videoqueue.audit`. Its lines are JSON in every format, and written at every level.
AUDIT: Final = "videoqueue.audit"
#: What a line belongs to, in the order in which a text line names it.
CONTEXT: Final = ("request_id", "job_id", "attempt", "node", "plugin", "tool")
#: The most bytes of a JSON line, without its end; a longer text or traceback loses its beginning.
MAX_JSON_BYTES: Final = 16_000
#: C0 and C1 controls, line separators, lone surrogates, and the characters that reorder what follows them
#: (Trojan Source, CVE-2021-42574). Marks of direction and joiners stay: scripts need them.
UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "origin"}
_MAX_VALUE: Final = 1000

_fields: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default=MappingProxyType({}))


def formatter(process: str, format: str = "text") -> logging.Formatter:
    """Returns the formatter of that process; `format` is one of `FORMATS`, or `PIPE`."""
    return {"text": _TextFormatter, "json": _JsonFormatter, PIPE: _PipeFormatter}[format](process)


@contextmanager
def context(**fields: object) -> Iterator[None]:
    """Adds fields to every line that this thread logs within the block."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def set_context(**fields: object) -> None:
    """Replaces the fields that every line of this thread has; without arguments there are none."""
    _fields.set(fields)


def request_id() -> str:
    """Returns the id of the request that this thread serves; '' outside of a request."""
    return str(_fields.get().get("request_id", ""))


def set_request_id(name: str) -> None:
    """Sets the id of the request that this thread serves; '' at its end."""
    set_context(**({"request_id": name} if name else {}))


def escape(text: str) -> str:
    """Returns the text with every unsafe character written as a Python escape, such as `\\x1b`."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def json_line(record: Mapping[str, object]) -> str:
    """Returns the object as one line of ASCII that is JSON, of at most `MAX_JSON_BYTES`."""
    fields = dict(record)
    line = json.dumps(fields)
    for name in ("exception", "message"):
        if len(line) > MAX_JSON_BYTES and isinstance(text := fields.get(name), str):
            fields[name] = _end_of(text, MAX_JSON_BYTES - len(line) + len(json.dumps(text)))
            line = json.dumps(fields)
    if len(line) > MAX_JSON_BYTES:  # many fields
        line = json.dumps({name: v[-100:] if isinstance(v, str) else v for name, v in fields.items()})
    return line


def utc_time(seconds: float) -> str:
    """Returns a time, in seconds since 1970, as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Formatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def _origin(self, record: logging.LogRecord) -> str:
        """Returns the process that wrote the line. A worker also writes the lines of its child processes."""
        return str(getattr(record, "origin", self._process))


class _TextFormatter(_Formatter):
    """One line a record. Every further line of it is indented, so that only a record begins with `[`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields_of(record)
        belongs = " ".join(f"{name}={_one_line(fields[name])}" for name in CONTEXT if name in fields)
        words = [_message(record)]
        words += [f"{name}={_one_line(value)}" for name, value in fields.items() if name not in CONTEXT]
        head = f"[{utc_time(record.created)}] [{self._origin(record)} {record.process}] "
        head += f"[{_one_line(record.name)}] [{record.levelname}] " + (f"[{belongs}] " if belongs else "")
        text = "\n".join(filter(None, (" ".join(words), _exception(record))))
        return head + "\n    ".join(map(escape, text.split("\n")))


class _JsonFormatter(_Formatter):
    """One JSON object a line; a traceback is the field `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields_of(record)
        line: dict[str, object] = {
            "time": utc_time(record.created),
            "level": record.levelname,
            "process": self._origin(record),
            "pid": record.process,
            "logger": record.name,
        }
        line |= {name: fields[name] for name in CONTEXT if name in fields}
        line["message"] = _message(record)
        line |= {name: value for name, value in fields.items() if name not in {*line, "exception"}}
        if exception := _exception(record):
            line["exception"] = exception
        return json_line(line)


class _PipeFormatter(_JsonFormatter):
    """JSON on a line of its own, also behind text that was printed without a line's end."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n" + super().format(record)


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Returns the fields of the thread and, over them, those of the record; values that JSON can hold."""
    given = {**_fields.get(), **{name: v for name, v in vars(record).items() if name not in _STANDARD}}
    return {name: MASK if is_secret(name) else _value(value) for name, value in given.items()}


def _value(value: object) -> object:
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    if isinstance(value, float) and abs(value) < 1e15:  # JSON has no NaN and no infinity
        return round(value, 3)
    try:
        return mask(str(value))[:_MAX_VALUE]
    except Exception:  # noqa: BLE001 - an object that cannot be shown must not cost the line
        return f"<{type(value).__name__}>"


def _message(record: logging.LogRecord) -> str:
    try:
        return mask(record.getMessage())
    except Exception:  # noqa: BLE001 - nor must wrong arguments
        return mask(f"{record.msg} <{len(record.args or ())} arguments>")


def _exception(record: logging.LogRecord) -> str:
    text = record.exc_text or ""
    if not text and record.exc_info and record.exc_info[1]:
        text = "".join(traceback.format_exception(record.exc_info[1]))
    if record.stack_info:
        text = f"{text}\n{record.stack_info}"
    return mask(text.strip("\n"))


def _one_line(value: object) -> str:
    return escape(str(value))


def _end_of(text: str, most: int) -> str:
    """Returns the end of the text, of at most `most` bytes of JSON, but at least its last 100 characters."""
    while len(text) > 100 and len(json.dumps(text)) > most:
        text = "..." + text[max(4, len(text) // 8) :]
    return text
