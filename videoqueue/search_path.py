"""Importing this takes the working directory off Python's search path. It has to be imported first.

`python -m`, gunicorn, Dramatiq and Flask put the working directory before the standard library on `sys.path`,
so that a file `redis.py` that lies there runs in place of the package. A package that is loaded finds its own
modules without `sys.path`, so `videoqueue` itself may lie in the working directory, where nothing but
requirements.txt is installed. All else has to be installed, or lie in a folder that PYTHONPATH names by its
absolute path.

Only `os` and `sys` are imported here: Python has loaded both before it looks into the working directory.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsIndex


class _SearchPath(list[str]):
    """`sys.path` for programs that insert the working directory later, as gunicorn does twice."""

    def insert(self, index: "SupportsIndex", entry: str, /) -> None:
        if not _is_working_directory(entry):
            super().insert(index, entry)


def _is_working_directory(entry: str) -> bool:
    return entry in ("", ".") or os.path.realpath(entry) == _HERE


def _without_relative(paths: str) -> str:
    """Returns a path list without its relative entries; an empty entry is the working directory."""
    return os.pathsep.join(filter(os.path.isabs, paths.split(os.pathsep)))


def _search_path() -> _SearchPath:
    """Entries behind the standard library come from installed packages and stay."""
    library = os.path.dirname(os.__file__)
    first = sys.path.index(library) if library in sys.path else len(sys.path)
    before = [entry for entry in sys.path[:first] if not _is_working_directory(entry)]
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    last = [entry for entry in dict.fromkeys(named) if os.path.isabs(entry) and _is_working_directory(entry)]
    return _SearchPath([*before, *sys.path[first:], *last])


try:
    _HERE = os.path.realpath(os.getcwd())
except OSError:  # it was removed
    _HERE = ""
sys.path = _search_path()
# For the processes that are started from here; LD_LIBRARY_PATH is the same for native libraries.
for _name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
    if _name in os.environ:
        os.environ[_name] = _without_relative(os.environ[_name])
