"""What the parts of the check have in common."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

#: Where Debian installs servers; only root has these folders in PATH.
SERVER_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


class NotInstalled(Exception):  # noqa: N818 - it is no error of the service
    """A server is not installed; the text says how to install it."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    #: The checkout whose service is checked.
    code: Path
    #: How long each fault of a server lasts; seconds.
    seconds: float = 30.0


@dataclass(frozen=True)
class Check:
    """One fact about the running servers: what it is, what was expected, and what was found."""

    what: str
    expected: object
    found: object

    def line(self) -> str:
        """Returns the result for the terminal."""
        if self.found == self.expected:
            return f"ok      {self.what}"
        return f"FAILED  {self.what}: expected {self.expected}, found {self.found}"


def at_most(what: str, limit: float, found: float | None) -> Check:
    """Returns the check that a number, if there is one, is not above a limit."""
    fits = found is not None and found <= limit
    expected = f"at most {limit:g}"
    return Check(what, expected, expected if fits else "nothing" if found is None else f"{found:.1f}")


def contains(what: str, wanted: str, text: str) -> Check:
    """Returns the check that a text, such as a log, has these words in it. Shows the text's end."""
    return Check(what, wanted, wanted if wanted in text else f"... {text.strip()[-400:]}")


def program(name: str, package: str) -> str:
    """Returns the path of a server's program.

    Args:
        name: the name of the program.
        package: the Debian package that contains it.

    Raises:
        NotInstalled: it is neither in PATH nor in a folder of servers.
    """
    folders = [os.environ.get("PATH", ""), SERVER_FOLDERS]
    path = shutil.which(name, path=":".join(folders))
    if path is None:
        raise NotInstalled(f"{name} is not installed. Install it: apt install {package}")
    return path
