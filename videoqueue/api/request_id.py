"""A name for each request: in its answer, in its problem, and in every line that is logged for it."""

from __future__ import annotations

import logging
import re
import uuid
from contextvars import ContextVar
from typing import Final

HEADER: Final = "X-Request-Id"
#: What proxies and platforms send; anything else could forge lines of the log.
_SANE: Final = re.compile(r"[A-Za-z0-9._=+/-]{1,200}")

_current: ContextVar[str] = ContextVar("request_id", default="")


def begin(given: str | None) -> str:
    """Starts a request under the id given, when it is a sane one, else under a new one."""
    name = given if given is not None and _SANE.fullmatch(given) else uuid.uuid4().hex
    _current.set(name)
    return name


def end() -> None:
    _current.set("")


def request_id() -> str:
    """The id of the request this thread serves; '' outside of one."""
    return _current.get()


class RequestIdFilter(logging.Filter):
    """Gives each record the text `request`: the id in brackets, or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        name = request_id()
        record.request = f"[{name}] " if name else ""
        return True
