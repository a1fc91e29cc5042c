"""Sets up the log of a process: to stderr, in the format of `videoqueue.logs`."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from types import TracebackType
from typing import Final

from videoqueue.logs import AUDIT, formatter
from videoqueue.redaction import mask, remember

#: Libraries that log their inner workings, and some of them keys; they log warnings and errors only.
_QUIET: Final = ("alembic", "boto3", "botocore", "s3transfer", "urllib3")

logger = logging.getLogger(__name__)


def configure(process: str, level: str | int = "INFO", format: str = "text") -> None:
    """Sets up all logging of this process: to stderr, in one format, also warnings and uncaught exceptions.

    Calling it again replaces what it has set up.

    Args:
        process: the name shown in each line: web, worker, child or up.
        level: one of `videoqueue.logs.LEVELS`; lines below it are dropped.
        format: one of `videoqueue.logs.FORMATS`, or `PIPE`.
    """
    remember(os.environ)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(process, format))
    root = logging.getLogger()
    for old in list(root.handlers):
        if type(old) is logging.StreamHandler:  # ours, or Dramatiq's
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    _configure_audit(process)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def configure_command() -> None:
    """Sets up logging of a command that is not a process of the service.

    Its warnings are plain sentences on stderr, and so are uncaught exceptions. The audit log is as that of
    `configure`.
    """
    remember(os.environ)
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PlainFormatter())
    _configure_audit("command")
    sys.excepthook = _print_uncaught


def print_log_of(name: str) -> None:
    """Makes a command print what the logger says, from INFO on, as sentences on stderr."""
    handler = _Stderr()
    handler.setFormatter(_PlainFormatter())
    shown = logging.getLogger(name)
    shown.handlers = [handler]
    shown.propagate = False
    shown.setLevel(logging.INFO)


def _configure_audit(process: str) -> None:
    handler = _Stderr()
    handler.setFormatter(formatter(process, "json"))
    audit = logging.getLogger(AUDIT)
    audit.handlers = [handler]
    audit.propagate = False
    audit.setLevel(logging.INFO)


class _Stderr(logging.Handler):
    """Writes each line at once to what is stderr at that time."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as every handler of `logging`
            self.handleError(record)


class _PlainFormatter(logging.Formatter):
    """The sentence alone, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.critical("An exception ended the process.", exc_info=(kind, error, trace))


def _print_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(mask(text))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    if error is None or isinstance(error, SystemExit):
        return
    name = arguments.thread.name if arguments.thread else ""
    logger.critical("An exception ended a thread.", exc_info=error, extra={"thread_name": name})
