"""Runs the probe of the governance rules in forks of one process, which has imported the packages it needs.

Importing them takes longer than the probe itself. Nothing of `videoqueue` is imported before the fork.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import TracebackType

#: What the application imports.
PACKAGES = (
    *("alembic", "apispec.ext.marshmallow", "av", "dramatiq.brokers.redis", "flask_migrate"),
    *(
        "flask_sqlalchemy",
        "marshmallow",
        "numpy",
        "psycopg",
        "sqlalchemy.dialects.sqlite",
        "werkzeug.serving",
    ),
)


class Prober:
    """The process; `probe` takes the place of `governance.tree.run_probe`."""

    def __init__(self, probe: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-B", __file__, str(probe)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # The coverage of copies tells nothing.
            env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        )

    def probe(self, root: Path) -> subprocess.CompletedProcess[str]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{root}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        said = [Path(f"{root}.{name}").read_text() for name in ("out", "err")]
        return subprocess.CompletedProcess([str(root)], code, *said)

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.communicate()


def main(probe: str) -> None:
    """Probes each tree that a line of the input names. Prints the exit code."""
    assert not any(name.startswith("videoqueue") for name in sys.modules)
    for package in PACKAGES:
        import_module(package)
    for line in sys.stdin:
        root = line.strip()
        child = os.fork()
        if child == 0:
            for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
                file = os.open(f"{root}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, stream.fileno())
            sys.argv = [probe, root]
            runpy.run_path(probe, run_name="__main__")
            return
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
