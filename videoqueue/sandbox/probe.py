"""Finds out what confines a child on this machine, by confining a process that does nothing else.

    python -m videoqueue.launch --readable videoqueue.sandbox.probe MODE

It prints the `Walls` as JSON, or the reason why a required part is missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import cast, get_args

from videoqueue import launch
from videoqueue.errors import SettingsError
from videoqueue.launch import child_environment
from videoqueue.sandbox.access import NO_WALLS, Access, Cell, Mode, Walls
from videoqueue.sandbox.hardening import enter


def walls_of(access: Access) -> Walls:
    """Returns what confines the children of a sandbox. It takes about a tenth of a second.

    Raises:
        SettingsError: Landlock and seccomp are required, and one of them is not available.
    """
    if access.mode == "off":
        return NO_WALLS
    done = subprocess.run(
        launch.command(__name__, access.mode, readable=True),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=child_environment(os.environ),
    )
    if done.returncode:
        raise SettingsError(done.stderr.strip().rpartition("\n")[2] or "The sandbox cannot be tried.")
    found = json.loads(done.stdout)
    return Walls(**found | {name: tuple(found[name]) for name in ("namespaces", "missing")})


def main(mode: str) -> None:
    """Prints the walls; or the reason on stderr, with exit code 1."""
    assert mode in get_args(Mode)
    try:
        walls = enter(Cell(mode=cast(Mode, mode)))
    except SettingsError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(asdict(walls)))


if __name__ == "__main__":
    main(sys.argv[1])
