"""Merges the output of several programs into one log, as text or JSON."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TextIO

from videoqueue.logs import utc_time

Log = TextIO | Callable[[str], object]

# Lines kept for a log that is slower than the programs; further ones are dropped and counted.
_LINES_WAITING = 5000
# Bytes, more than a JSON line of `videoqueue.logs` has; a longer line is split.
_LONGEST_LINE = 16384


class Output:
    """Writes the lines of all programs to one log, and never makes a program wait for that log.

    Text lines get the program's name in front: `web | line`. With `is_json`, a line that is a JSON object
    gets the field `process` unless it has one; any other line becomes an object with `time`, `level`,
    `process` and `message`.
    """

    def __init__(
        self, name: str, names: list[str], log: Log, log_file: TextIO | None, is_json: bool = False
    ) -> None:
        self._is_json = is_json
        self._name, self._width = name, max(map(len, [name, *names]))
        self._log = log
        self._streams = [stream for stream in (log, log_file) if stream and not callable(stream)]
        self._lines: queue.Queue[str | None] = queue.Queue(_LINES_WAITING)
        self._left_out = 0
        # A daemon, because a log that accepts nothing more must not keep the process from ending.
        self._writer = threading.Thread(target=self._write_all, name="log", daemon=True)

    def open(self) -> None:
        """Starts to write."""
        self._writer.start()

    def close(self) -> None:
        """Writes what is left, for at most three seconds."""
        with suppress(queue.Full):
            self._lines.put(None, timeout=1)
        if self._writer.is_alive():
            self._writer.join(2)

    def note(self, line: str) -> None:
        """Adds a line of the supervisor itself."""
        self._add(self._name, line)

    def _add(self, name: str, line: str) -> None:
        try:
            self._lines.put_nowait(self._labelled(name, line))
        except queue.Full:
            self._left_out += 1

    def _labelled(self, name: str, line: str) -> str:
        if not self._is_json:
            return f"{name:<{self._width}} | {line}"
        with suppress(ValueError, RecursionError):
            fields = json.loads(line)
            if isinstance(fields, dict):
                return line if "process" in fields else json.dumps({"process": name, **fields})
        return json.dumps({"time": utc_time(time.time()), "level": "INFO", "process": name, "message": line})

    def follow(self, name: str, pipe: IO[bytes]) -> threading.Thread:
        """Starts a thread that adds every line of a program's pipe. Returns the thread."""
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
                    self._add(name, line.decode(errors="replace").rstrip("\r"))
        if rest:
            self._add(name, rest.decode(errors="replace"))

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)
            if self._lines.empty():
                self._catch_up()
        self._catch_up()

    def _catch_up(self) -> None:
        if self._left_out:
            self._left_out, count = 0, self._left_out
            # A text line of no program.
            name = self._name if self._is_json else ""
            self._write(self._labelled(name, f"({count} lines left out: the log was too slow for them)"))
        for stream in self._streams:
            with suppress(OSError, ValueError):
                stream.flush()

    def _write(self, line: str) -> None:
        if callable(self._log):
            self._log(line)
        for stream in self._streams:
            encoding = stream.encoding or "utf-8"
            text = line.encode(encoding, "replace").decode(encoding)
            with suppress(OSError, ValueError):  # after a closed terminal or a full disk, the programs go on
                stream.write(text + "\n")
