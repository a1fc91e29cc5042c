"""What is left in the buffer of stdout when a command ends."""

from __future__ import annotations

import os
import sys


def discard_output() -> None:
    """Discards what could not be written to stdout, which the interpreter would try again at its end."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
