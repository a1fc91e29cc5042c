"""PostgreSQL, Redis and S3 whose certificates an authority of the operator's own has issued."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from servers.authority import Authority, Pair
from servers.buckets import bucket
from servers.clusters import Cluster, binary
from servers.parts import Check, Options, at_most, contains, program
from servers.queues import redis_server
from servers.service import Deployment, deployed
from tests.support.stack import free_port
from tests.support.tcp_proxy import TcpProxy

_DATABASE = "videoqueue"


def checks(options: Options) -> Iterator[Check]:
    """Starts the three servers and the service, and yields what was found.

    Raises:
        NotInstalled: one of the servers is missing.
    """
    binary("postgres")
    program("redis-server", "redis-server")
    with tempfile.TemporaryDirectory(prefix="check-tls-") as name, ExitStack() as close:
        folder = Path(name)
        folder.chmod(0o755)
        own, other = (Authority(folder / name, name) for name in ("own", "other"))
        addresses = _servers(folder, own.issue("server"), close)
        good = _settings(addresses, own.certificate, own.certificate, own.certificate)
        yield from _all_three(folder / "good", options, good)
        for number, wrong in enumerate(("database", "queue", "storage")):
            files = [other.certificate if number == at else own.certificate for at in range(3)]
            yield from _refused(folder / wrong, options, _settings(addresses, *files), wrong)
        lenient = _settings(addresses, own.certificate, other.certificate, own.certificate)
        yield from _without_verification(folder / "lenient", options, lenient)


def _servers(folder: Path, pair: Pair, close: ExitStack) -> dict[str, str]:
    """Starts the servers; returns the address of each."""
    lines = f"ssl = on\nssl_cert_file = '{pair.certificate}'\nssl_key_file = '{pair.key}'\n"
    cluster = close.enter_context(Cluster(folder / "postgres", lines).started())
    hba = (cluster.data / "pg_hba.conf").read_text()
    (cluster.data / "pg_hba.conf").write_text(hba.replace("\nhost ", "\nhostssl "))
    cluster.ask(f"CREATE DATABASE {_DATABASE}", "SELECT pg_reload_conf()")
    files = {"tls_cert_file": str(pair.certificate), "tls_key_file": str(pair.key)}
    queue = close.enter_context(
        redis_server(folder / "redis", port="0", tls_port=str(free_port()), tls_auth_clients="no", **files)
    )
    stored = close.enter_context(bucket(folder / "s3"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    proxy = close.enter_context(TcpProxy(("127.0.0.1", int(stored.url.rpartition(":")[2])), context))
    return {
        "DATABASE_URL": cluster.url(_DATABASE, "?sslmode=verify-full&sslrootcert="),
        "REDIS_URL": f"rediss://127.0.0.1:{queue.port}/0?ssl_ca_certs=",
    } | stored.environ(f"https://127.0.0.1:{proxy.port}")


def _settings(addresses: dict[str, str], database: Path, queue: Path, storage: Path) -> dict[str, str]:
    """Returns the settings with the authority that is trusted for each of the servers."""
    return addresses | {
        "DATABASE_URL": f"{addresses['DATABASE_URL']}{database}",
        "REDIS_URL": f"{addresses['REDIS_URL']}{queue}",
        "AWS_CA_BUNDLE": str(storage),
    }


def _all_three(folder: Path, options: Options, settings: dict[str, str]) -> Iterator[Check]:
    with deployed(folder, options, settings) as service:
        told = service.until_says("ready")
        yield at_most("with the own authority for all three the service is ready, after seconds", 60, told)
        yield Check("... and a job completes", "completed", service.outcome(service.submit()))
        yield Check("the log names no bug", [], service.bugs()[:3])


def _refused(folder: Path, options: Options, settings: dict[str, str], which: str) -> Iterator[Check]:
    """Only the web process runs: without the database no schema can be made."""
    folder.mkdir()
    deployment = Deployment(folder, options, settings)
    deployment.process.folder.mkdir()
    deployment.process.start_process("web")
    try:
        told = deployment.until_says(f"{which}_unavailable" if which != "queue" else "unavailable")
        yield at_most(f"with a foreign authority for the {which} /readyz says so, after seconds", 60, told)
        log = deployment.process.log("web")
        yield contains(f"... and the log names the certificate ({which})", "certificate verify failed", log)
    finally:
        deployment.process.stop()


def _without_verification(folder: Path, options: Options, settings: dict[str, str]) -> Iterator[Check]:
    settings = settings | {"VIDEOQUEUE_REDIS_TLS": "no-verify"}
    with deployed(folder, options, settings) as service:
        told = service.until_says("ready")
        yield at_most("VIDEOQUEUE_REDIS_TLS=no-verify accepts a foreign authority, after seconds", 60, told)
        yield Check("... and a job completes", "completed", service.outcome(service.submit()))
