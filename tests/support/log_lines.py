"""The log's lines as the service writes them, without time, process, logger and level."""

from __future__ import annotations

import logging
import re

from videoqueue.logs import formatter

_HEAD = re.compile(r"\[\S+Z\] \[(?:test|child) \d+\] \[[^]]+\] \[[A-Z]+\] ")


class LogLines(logging.Handler):
    """Collects the records of this process, formatted, within a block."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(formatter("test"))
        self.written: list[str] = []

    def __enter__(self) -> LogLines:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.written.append(_HEAD.sub("", line, count=1))

    def having(self, text: str) -> list[str]:
        """Returns the lines with this text in them; there is at least one."""
        found = [line for line in self.written if text in line]
        assert found, self.written
        return found
