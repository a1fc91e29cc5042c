"""PostgreSQL that is read-only, full, without a table, or replaced by its standby."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from servers.clusters import Cluster, binary
from servers.outage import Outage, outage_checks
from servers.parts import Check, Options, at_most
from servers.queues import any_queue
from servers.running import run
from servers.service import Deployment, deployed, released_with
from tests.support.stack import eventually, free_port

_DATABASE = "videoqueue"
#: How long a service may take to use the new primary; seconds.
_FAILOVER_SECONDS = 30.0


def checks(options: Options) -> Iterator[Check]:
    """Starts a primary, a standby and the service, and yields what was found.

    Raises:
        NotInstalled: there is no PostgreSQL.
    """
    binary("postgres")
    with tempfile.TemporaryDirectory(prefix="check-postgres-") as name, ExitStack() as close:
        folder = Path(name)
        folder.chmod(0o755)
        primary = close.enter_context(Cluster(folder / "primary").started())
        primary.ask(f"CREATE DATABASE {_DATABASE}")
        standby = close.enter_context(Cluster(folder / "standby", copy_of=primary).started())
        redis_url = close.enter_context(any_queue(folder / "queue"))
        primary.set("synchronous_standby_names", "'*'")
        settings = {"DATABASE_URL": several(primary, standby), "REDIS_URL": redis_url}
        released = released_with(folder / "release", options, settings)
        yield Check("the release command finds the primary among several hosts", "done", released)
        if released != "done":
            settings["DATABASE_URL"] = primary.url(_DATABASE)
        service = close.enter_context(deployed(folder / "service", options, settings))
        yield Check("a job completes", "completed", _one_job(service))
        yield from _refusals(service, primary)
        primary.set("synchronous_standby_names", "''")
        yield from outage_checks(
            service,
            options,
            Outage(
                "while Postgres is read-only", primary.read_only, "database_unavailable", frozenset({503})
            ),
        )
        yield from _failover(service, primary, standby)


def several(*clusters: Cluster) -> str:
    """Returns a URL of a host that is down, and of the servers; the last one is tried first."""
    address = clusters[0].url(_DATABASE)
    before, _, _ = address.rpartition("@")
    ports = [free_port(), *(cluster.port for cluster in reversed(clusters))]
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"{before}@{hosts}/{_DATABASE}?target_session_attrs=read-write"


def _one_job(service: Deployment) -> str:
    return service.outcome(service.submit())


def _refusals(service: Deployment, primary: Cluster) -> Iterator[Check]:
    broken = {
        "a table is missing": ("ALTER TABLE job RENAME TO j", "ALTER TABLE j RENAME TO job"),
        "a column is missing": (
            "ALTER TABLE job RENAME COLUMN announcements TO w",
            "ALTER TABLE job RENAME COLUMN w TO announcements",
        ),
        "its disk is full": (
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$; "
            "CREATE TRIGGER full_disk BEFORE INSERT ON job EXECUTE FUNCTION full_disk()",
            "DROP TRIGGER full_disk ON job; DROP FUNCTION full_disk",
        ),
    }
    for when, (spoil, mend) in broken.items():
        videos = service.videos()
        primary.ask(spoil, database=_DATABASE)
        answer = service.submit()
        found = answer.status_code, answer.json()["code"], "Retry-After" in answer.headers
        told = service.until_says("database_unavailable", 20)
        primary.ask(mend, database=_DATABASE)
        yield Check(f"a submission when {when}", (503, "database_unavailable", True), found)
        yield at_most(f"/readyz says database_unavailable when {when}, after seconds", 5, told)
        yield Check(f"no video is kept when {when}", videos, service.videos())
        service.until_says("ready")
    yield Check("a job completes after all is mended", "completed", _one_job(service))


def _failover(service: Deployment, primary: Cluster, standby: Cluster) -> Iterator[Check]:
    """The primary is stopped at once, and the standby is made the primary, in the middle of jobs."""
    primary.set("synchronous_standby_names", "'*'")
    answers = [service.submit("slow") for _ in range(10)]
    run([binary("pg_ctl"), "-D", primary.data, "-m", "immediate", "-w", "stop"])
    began = time.monotonic()
    run([binary("pg_ctl"), "-D", standby.data, "-w", "promote"])
    ready = service.until_says("ready", _FAILOVER_SECONDS * 2)
    yield at_most(
        "after a failover to the standby the service is ready without a restart, after seconds",
        _FAILOVER_SECONDS,
        None if ready is None else time.monotonic() - began,
    )
    standby.ask("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
    eventually(lambda: service.process.answers(), "web answers")
    outcomes = {service.outcome(answer) for answer in answers}
    yield Check("jobs that were accepted before the failover complete", {"completed"}, outcomes)
    yield Check("a job that is submitted after the failover completes", "completed", _one_job(service))
    yield Check("the log names no bug", [], service.bugs()[:3])
