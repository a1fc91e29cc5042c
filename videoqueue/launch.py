"""Runs a Python program as one of the service's own: `python -m videoqueue.launch MODULE ARGUMENT...`.

The program imports nothing from the working directory (`videoqueue.search_path`) and is private
(`videoqueue.hardening`); `videoqueue` is found wherever this file lies, installed or not. The first option
`--readable` leaves the process as it is: for a child that sets limits of its own.

Where others would write `python -m MODULE`, the service starts `command(MODULE, ...)`.
"""

import os
import sys

_FILE = os.path.abspath(__file__)
_READABLE = "--readable"


def command(module: str, *arguments: str, readable: bool = False) -> list[str]:
    """Returns the command line that runs `python -m module` through this file."""
    return [sys.executable, "-P", _FILE, *([_READABLE] if readable else []), module, *arguments]


def main() -> None:
    if not sys.flags.safe_path:
        # `python -m` has the working directory on its search path: start again without.

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
    """Makes `import videoqueue` mean the folder of this file, without a search path that leads to it."""
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
