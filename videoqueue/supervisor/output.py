"""Brings what several programs print into one log."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TextIO

Log = TextIO | Callable[[str], object]

_LINES_WAITING = 5000  # lines kept for a log that is slower than the programs; more are left out and counted
_LONGEST_LINE = 16384  # bytes; a longer one is cut into several


class Output:
    """Brings the lines of all programs into one log, without ever making a program wait for that log."""

    def __init__(self, name: str, names: list[str], log: Log, log_file: TextIO | None) -> None:
        self._name, self._width = name, max(map(len, [name, *names]))
        self._log = log
        self._streams = [stream for stream in (log, log_file) if stream and not callable(stream)]
        self._lines: queue.Queue[str | None] = queue.Queue(_LINES_WAITING)
        self._left_out = 0
        # A daemon: a log that takes nothing more must not keep the process from ending.
        self._writer = threading.Thread(target=self._write_all, name="log", daemon=True)

    def open(self) -> None:
        self._writer.start()

    def close(self) -> None:
        with suppress(queue.Full):
            self._lines.put(None, timeout=1)
        if self._writer.is_alive():
            self._writer.join(2)

    def note(self, line: str) -> None:
        """Adds a line of the supervisor itself."""
        self.say(self._name, line)

    def say(self, name: str, line: str) -> None:
        try:
            self._lines.put_nowait(f"{name:<{self._width}} | {line}")
        except queue.Full:
            self._left_out += 1

    def follow(self, name: str, pipe: IO[bytes]) -> threading.Thread:
        reader = threading.Thread(target=self._read, args=(name, pipe), name=f"log of {name}", daemon=True)
        reader.start()
        return reader

    def _read(self, name: str, pipe: IO[bytes]) -> None:
        rest = b""
        with pipe:
            while chunk := pipe.read(_LONGEST_LINE):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) >= _LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self.say(name, line.decode(errors="replace").rstrip("\r"))
        if rest:
            self.say(name, rest.decode(errors="replace"))

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)
            if self._lines.empty():
                self._catch_up()
        self._catch_up()

    def _catch_up(self) -> None:
        if self._left_out:
            self._left_out, count = 0, self._left_out
            self._write(f"{'':<{self._width}} | ({count} lines left out: the log was too slow for them)")
        for stream in self._streams:
            with suppress(OSError, ValueError):
                stream.flush()

    def _write(self, line: str) -> None:
        if callable(self._log):
            self._log(line)
        for stream in self._streams:
            encoding = stream.encoding or "utf-8"
            text = line.encode(encoding, "replace").decode(encoding)
            with suppress(OSError, ValueError):  # a closed terminal, a full disk: the programs go on
                stream.write(text + "\n")
