"""Turns what a child process prints into records of the worker's log, in bounded number and size.

A child that wrote to the log itself could forge lines of the worker, fill the disk, or reach its file limit.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from videoqueue.sandbox.child_record import LINE_BYTES, MAX_RECORD_BYTES, OUTPUT, may_be_logged, record_of

logger = logging.getLogger(__name__)

#: If a child prints too much, this many of its last lines are shown too: the reason of a failure comes last.
_LAST_LINES = 100
_LAST_WORDS_BYTES = 4096
_PIECE_BYTES = 64 * 1024
#: Pieces that a pipe holds at most, if the child has enlarged it; see pipe(7).
_MAX_PIECES = 16


class Lines:
    """Splits bytes that arrive in pieces of any size into lines, in bounded memory."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._more = 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """Yields each complete line, and how many bytes of it were cut off; a carriage return ends a line."""
        *complete, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for part in complete:
            self._add(part)
            yield from self.flush()
        self._add(rest)

    def flush(self) -> Iterator[tuple[bytes, int]]:
        """Yields the line that has no end yet, unless it is empty."""
        if self._line:
            yield bytes(self._line), self._more
        self._line.clear()
        self._more = 0

    def _add(self, part: bytes) -> None:
        room = MAX_RECORD_BYTES - len(self._line)
        self._line += part[:room]
        self._more += max(0, len(part) - room)


class _Printed(NamedTuple):
    """A line, how many bytes of it were cut off, and when it was read, in seconds since 1970."""

    line: bytes
    more: int
    time: float


class ChildOutput:
    """The reading end of a child's stdout and stderr.

    Args:
        fd: the pipe; closed by `close`.
        pid: the child's process id, part of every line.
        max_lines: lines of one job that are shown as they come. Of the lines after them, the last
            `_LAST_LINES` are shown when the job ends, with the number of those left out. A record as long as
            several lines counts as several.
    """

    def __init__(self, fd: int, pid: int, max_lines: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._pid = pid
        self._max_lines = max_lines
        self._lines = Lines()
        self._last_words = b""
        self._job: dict[str, object] = {}
        self._shown = 0
        self._held: deque[tuple[_Printed | logging.LogRecord, int]] = deque()
        self._held_lines = 0
        self._left_out = 0
        self.ended = False

    def fileno(self) -> int:
        """Returns the file descriptor of the pipe."""
        return self._fd

    def begin(self, job: Mapping[str, object]) -> None:
        """Starts a job: later lines have the fields `job`, whatever the child says."""
        self.end_job()
        self._job = dict(job)
        self._last_words = b""

    def end_job(self) -> None:
        """Logs the rest of this job's output. Everything that was printed before is in the pipe already."""
        self.read()
        for line, more in self._lines.flush():
            self._show(line, more)
        if self._left_out:
            logger.info(
                "%d lines left out: more than %d (VIDEOQUEUE_SANDBOX_LOG_LINES).",
                self._left_out,
                self._max_lines,
                extra=self._job,
            )
        for held, _ in self._held:
            logger.handle(self._record(held) if isinstance(held, _Printed) else held)
        self._held.clear()
        self._shown = self._held_lines = self._left_out = 0

    def read(self, pieces: int = _MAX_PIECES) -> None:
        """Logs the lines that the pipe holds; does not wait for more.

        Args:
            pieces: number of 64 KiB after which to stop, so that a flood does not hold up the worker.
        """
        for _ in range(pieces):
            if self.ended:
                return
            try:
                piece = os.read(self._fd, _PIECE_BYTES)
            except BlockingIOError:
                return
            self.ended = not piece
            self._last_words = (self._last_words + piece)[-_LAST_WORDS_BYTES:]
            for line, more in self._lines.feed(piece):
                self._show(line, more)

    @property
    def last_words(self) -> str:
        """Returns the end of what the child has printed during this job, as it was printed."""
        return self._last_words.decode(errors="replace")

    def close(self) -> None:
        """Logs the rest and closes the pipe."""
        self.end_job()
        with suppress(OSError):
            os.close(self._fd)

    def _show(self, line: bytes, more: int) -> None:
        printed = _Printed(line, more, time.time())
        if self._held and not may_be_logged(line):
            # Most lines of a flood are dropped: no record is made of them.
            if logger.isEnabledFor(logging.INFO):
                self._hold(printed, 1)
            return
        record = self._record(printed)
        if not logger.isEnabledFor(record.levelno):
            return
        lines = 1 if record.name == OUTPUT else _lines_of(record, len(line))
        if not self._held and self._shown + lines <= self._max_lines:
            self._shown += lines
            logger.handle(record)
            return
        self._hold(record, lines)

    def _hold(self, held: _Printed | logging.LogRecord, lines: int) -> None:
        self._held.append((held, lines))
        self._held_lines += lines
        while self._held_lines > _LAST_LINES and len(self._held) > 1:
            _, dropped = self._held.popleft()
            self._held_lines -= dropped
            self._left_out += dropped

    def _record(self, printed: _Printed) -> logging.LogRecord:
        record = record_of(printed.line, printed.more, self._pid, self._job)
        record.created = printed.time
        return record


def _lines_of(record: logging.LogRecord, size: int) -> int:
    """Returns how many lines a record of so many bytes counts as."""
    text = "\n".join(filter(None, (record.getMessage(), record.exc_text)))
    return max(1 + text.count("\n"), math.ceil(size / LINE_BYTES))
