"""See scripts/chaos, which calls it."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.chaos.backlog import drain_backlog
from tests.chaos.recovery import measure_recovery
from tests.chaos.routes import Ways
from tests.chaos.run import run_chaos, short_folder
from tests.chaos.settings import QUICK
from tests.chaos.storages import STORAGES

_DESCRIPTION = """\
Runs the real service (gunicorn, two Dramatiq masters, Valkey, a database, a storage) under load and injects
random faults: kills and freezes processes, cuts connections, flushes the queue. Clients of two owners submit,
delete and retry jobs. Then checks that no job was lost, none finished twice, every result equals that of an
uninterrupted run, nothing is left of a deleted job, and nothing else is left over. During the run it checks
that each job has its video and that no owner has more running jobs than allowed. Exit code 0 if all checks
pass.
"""
#: A backlog of so many jobs a second is slow enough for a busy machine with two cores.
_JOBS_A_SECOND = 5


def main() -> int:
    arguments = _arguments()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    with short_folder() as folder:
        broken, report = _run(arguments, seed, folder)
        print("\n".join(report))
        if broken:
            kept = folder.rename(folder.with_name(f"{folder.name}-broken"))
            print(f"BROKEN {len(broken)} promises; logs and database are in {kept}", *broken, sep="\n  ")
            return 1
    print("every promise was kept")
    return 0


def _run(arguments: argparse.Namespace, seed: int, folder: Path) -> tuple[list[str], list[str]]:
    database = arguments.database
    if arguments.measure_recovery:
        return measure_recovery(folder, database, arguments.measure_recovery)
    if arguments.backlog:
        seconds = 120 + arguments.backlog / _JOBS_A_SECOND
        return drain_backlog(folder, database, arguments.backlog, seconds, QUICK)
    storage = arguments.storage
    ways = Ways(arguments.pgbouncer, arguments.tls)
    print(f"seed {seed}, {arguments.seconds:g} seconds, {database}, {storage}, {ways}", flush=True)
    outcome = run_chaos(folder, database, seed, arguments.seconds, storage=storage, ways=ways)
    return outcome.broken, outcome.report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long to inject faults [default: 60]")
    parser.add_argument("--seed", type=int, help="repeat the faults of an earlier run [default: random]")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--storage", choices=STORAGES, default="folder")
    parser.add_argument(
        "--pgbouncer",
        action="store_true",
        help="put PgBouncer in transaction mode in front of Postgres (apt install pgbouncer)",
    )
    parser.add_argument("--tls", action="store_true", help="reach the queue by TLS, with an own authority")
    parser.add_argument(
        "--measure-recovery",
        type=int,
        metavar="N",
        help="instead: kill N workers and N children with the default settings, and time the recovery",
    )
    parser.add_argument(
        "--backlog", type=int, metavar="N", help="instead: let two workers process N pending jobs"
    )
    arguments = parser.parse_args()
    if arguments.pgbouncer and arguments.database != "postgres":
        parser.error("--pgbouncer needs --database postgres")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
