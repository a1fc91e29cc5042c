"""Importing this module removes the working directory from Python's search path. It must be imported first.

`python -m`, gunicorn, Dramatiq and Flask put the working directory in front of the standard library on
`sys.path`, so that a file `redis.py` there is imported instead of the package. `videoqueue` itself may be in
the working directory: a loaded package finds its modules without `sys.path`. All other packages must be
installed, or be in a folder that PYTHONPATH names by its absolute path.

Only `os` and `sys` are imported here: Python has loaded both before it searches the working directory.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsIndex


class _SearchPath(list[str]):
    """A `sys.path` that ignores later insertions of the working directory; gunicorn makes two."""

    def insert(self, index: "SupportsIndex", entry: str, /) -> None:
        if not _is_working_directory(entry):
            super().insert(index, entry)


def _is_working_directory(entry: str) -> bool:
    return entry in ("", ".") or os.path.realpath(entry) == _HERE


def _without_relative(paths: str) -> str:
    """Returns a path list without its relative entries; an empty entry is the working directory."""
    return os.pathsep.join(filter(os.path.isabs, paths.split(os.pathsep)))


def _search_path() -> _SearchPath:
    """Returns the new search path. Entries after the standard library are installed packages and stay."""
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
# For processes started from here. LD_LIBRARY_PATH is the search path of native libraries.
for _name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
    if _name in os.environ:
        os.environ[_name] = _without_relative(os.environ[_name])
