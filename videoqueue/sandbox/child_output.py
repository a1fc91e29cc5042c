"""What a child prints: split into lines, escaped and bounded for the worker's log, and its end kept.

A child that wrote to the log itself could forge lines of the worker, fill the disk, or reach its file limit.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from videoqueue.sandbox.untrusted import escape

logger = logging.getLogger(__name__)

#: Bytes of a line that are shown; a traceback's lines are far shorter.
LINE_BYTES = 2000
#: Of a child that prints too much, the last lines are shown too: the reason of a failure comes last.
_LAST_LINES = 100
_LAST_WORDS_BYTES = 4096
_PIECE_BYTES = 64 * 1024
#: One look at the pipe takes at most what it can hold, so that a flood does not hold up the worker.
_MOST_PIECES = 16


class Lines:
    """Splits bytes that arrive in any pieces into printable lines, in bounded memory."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._more = 0

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that are complete; a carriage return ends a line too."""
        *complete, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for part in complete:
            self._add(part)
            yield from self.flush()
        self._add(rest)

    def flush(self) -> Iterator[str]:
        """The line that has no end yet, if it holds anything."""
        if self._line:
            more = f" ... ({self._more} more bytes)" if self._more else ""
            yield escape(self._line.decode(errors="backslashreplace")) + more
        self._line.clear()
        self._more = 0

    def _add(self, part: bytes) -> None:
        room = LINE_BYTES - len(self._line)
        self._line += part[:room]
        self._more += max(0, len(part) - room)


class ChildOutput:
    """The reading end of a child's stdout and stderr.

    Args:
        fd: the pipe; closed by `close`.
        pid: of the child, named in every line.
        most_lines: of one job that are shown as they come. Of the lines after them, the last are shown when
            the job ends, with the number of those left out.
    """

    def __init__(self, fd: int, pid: int, most_lines: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._pid = pid
        self._most_lines = most_lines
        self._lines = Lines()
        self._last_words = b""
        self._label = ""
        self._shown = 0
        self._held: deque[str] = deque(maxlen=_LAST_LINES)
        self._left_out = 0
        self.ended = False

    def fileno(self) -> int:
        return self._fd

    def begin(self, label: str) -> None:
        """From here on lines belong to the job that `label` names."""
        self.end_job()
        self._label = label
        self._last_words = b""

    def end_job(self) -> None:
        """Logs what is left of this job's output. Everything printed before is in the pipe already."""
        self.read()
        for line in self._lines.flush():
            self._show(line)
        if self._left_out:
            limit = f"{self._most_lines} (VIDEOQUEUE_SANDBOX_LOG_LINES)"
            self._log(f"{self._left_out} lines left out: more than {limit}.")
        for line in self._held:
            self._log(line)
        self._held.clear()
        self._shown = self._left_out = 0

    def read(self) -> None:
        """Logs the lines that the pipe holds; does not wait for more."""
        for _ in range(_MOST_PIECES):
            if self.ended:
                return
            try:
                piece = os.read(self._fd, _PIECE_BYTES)
            except BlockingIOError:
                return
            self.ended = not piece
            self._last_words = (self._last_words + piece)[-_LAST_WORDS_BYTES:]
            for line in self._lines.feed(piece):
                self._show(line)

    @property
    def last_words(self) -> str:
        """The end of what the child has printed during this job."""
        return self._last_words.decode(errors="replace")

    def close(self) -> None:
        self.end_job()
        with suppress(OSError):
            os.close(self._fd)

    def _show(self, line: str) -> None:
        if self._shown < self._most_lines:
            self._shown += 1
            self._log(line)
            return
        if len(self._held) == _LAST_LINES:
            self._left_out += 1
        self._held.append(line)

    def _log(self, line: str) -> None:
        logger.info("%s child=%d | %s", self._label, self._pid, line)
