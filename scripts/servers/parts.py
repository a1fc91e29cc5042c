"""What the parts of the check have in common."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

#: Where Debian installs servers; only root has these folders in PATH.
SERVER_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


class NotInstalled(Exception):  # noqa: N818 - it is no error of the service
    """A server is not installed; the text says how to install it."""


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


def program(name: str, package: str) -> str:
    """Returns the path of a server's program.

    Args:
        name: the name of the program.
        package: the Debian package that contains it.

    Raises:
        NotInstalled: it is neither in PATH nor in `SERVER_FOLDERS`.
    """
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SERVER_FOLDERS}")
    if path is None:
        raise NotInstalled(f"{name} is not installed. Install it: apt install {package}")
    return path
