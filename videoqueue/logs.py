"""Logging of every process: what belongs to a line of the log, and which libraries are too talkative."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Final

QUIET: Final = ("alembic.runtime.plugins", "botocore", "boto3", "urllib3", "s3transfer")

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def quieten() -> None:
    """Sets these libraries to WARNING."""
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def request_id() -> str:
    """Returns the id of the request that this thread serves; '' outside of a request."""
    return _request_id.get()


def set_request_id(name: str) -> None:
    """Sets the id of the request that this thread serves; '' at its end."""
    _request_id.set(name)


class RequestIdFilter(logging.Filter):
    """Adds the text `request` to each record: the request id in brackets, or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        name = request_id()
        record.request = f"[{name}] " if name else ""
        return True
