"""Checks the service together with servers that are installed on this machine, configured as the
documentation says. Without a name, all parts are checked:

    nginx    the example of docs/deploying.md, in which users of nginx are owners of jobs

Exit code 0 if all checks pass, 1 if one fails, 2 if a server is not installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping

from servers import nginx
from servers.parts import Check, NotInstalled

PARTS: Mapping[str, Callable[[], Iterator[Check]]] = {"nginx": nginx.checks}


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each check. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="check_servers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", help="what to check; all if none is named")
    parts = parser.parse_args(arguments).part or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    return max([_run(part) for part in parts])


def _run(part: str) -> int:
    failed = 0
    try:
        for check in PARTS[part]():
            failed += check.found != check.expected
            print(f"{part}: {check.line()}", flush=True)
    except NotInstalled as error:
        print(f"check_servers: {error}", file=sys.stderr)
        return 2
    print(f"{part}: {failed} checks failed" if failed else f"{part}: all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
