"""Runs a Python module as a process of the service.

    python -m videoqueue.launch [--readable] MODULE ARGUMENT...

The process imports nothing from the working directory (`videoqueue.search_path`) and is private
(`videoqueue.hardening`). It finds `videoqueue` beside this file, installed or not. `--readable` leaves out
the hardening, for a child that sets its own limits. The service starts `command(MODULE, ...)` instead of
`python -m MODULE`.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = os.path.abspath(__file__)
_READABLE = "--readable"
#: Variables that a child inherits: enough to start Python, no key of database, queue or storage.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


def command(module: str, *arguments: str, readable: bool = False) -> list[str]:
    """Returns the command line that runs `python -m module` through this file."""
    return [sys.executable, "-P", _FILE, *([_READABLE] if readable else []), module, *arguments]


def child_environment(environ: "Mapping[str, str]") -> dict[str, str]:
    """Returns the environment of a child. It finds packages where the worker found them."""
    kept = {name: environ[name] for name in _ENVIRONMENT if name in environ}
    return kept | {
        "PYTHONPATH": environ.get("PYTHONPATH", ""),
        # Each video has its own threads. Without this limit each would keep memory that it has freed.
        "MALLOC_ARENA_MAX": "2",
        # At import, NumPy's OpenBLAS starts a thread per core: 2.6 GB of the limit on 64 cores.
        "OPENBLAS_NUM_THREADS": "1",
        # At the file limit Python would write a truncated .pyc, which no process could import.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def main() -> None:
    """Runs the module that the command line names."""
    if not sys.flags.safe_path:
        # `python -m` has put the working directory on the search path: start again without it.
        os.execv(sys.executable, [sys.executable, "-P", _FILE, *sys.argv[1:]])  # noqa: S606
    if "videoqueue" not in sys.modules:
        _load_package()
    from videoqueue.hardening import harden

    arguments = sys.argv[1:]
    if arguments[:1] == [_READABLE]:
        del arguments[0]
    else:
        harden()
    if not arguments:
        sys.exit("usage: python -m videoqueue.launch MODULE ARGUMENT...")
    import runpy

    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _load_package() -> None:
    """Loads the package from the folder of this file, which may not be on the search path."""
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.dirname(_FILE)
    start = os.path.join(folder, "__init__.py")
    spec = spec_from_file_location("videoqueue", start, submodule_search_locations=[folder])
    assert spec
    assert spec.loader
    package = sys.modules["videoqueue"] = module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    main()
