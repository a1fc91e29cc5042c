"""How clients reach the service, and how the service reaches its servers: through proxies that can fail."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.servers import PgBouncer, Postgres, Valkey
from tests.support.faulty_queue import Certificate
from tests.support.stack import free_port
from tests.support.tcp_proxy import TcpProxy


@dataclass(frozen=True)
class Ways:
    """What is between the service and its servers, apart from a proxy."""

    #: Postgres is behind PgBouncer in transaction mode.
    pgbouncer: bool = False
    #: The queue speaks TLS, with a certificate of its own authority.
    tls: bool = False


class Routes:
    """The proxies `web`, `queue` and `database` (None before SQLite); `port` is that of the web process."""

    def __init__(
        self, folder: Path, valkey: Valkey, postgres: Postgres | None, ways: Ways, close: ExitStack
    ) -> None:
        self.port = free_port()
        self.web = close.enter_context(TcpProxy(("127.0.0.1", self.port)))
        self._certificate = Certificate(folder) if ways.tls else None
        context = self._certificate.context if self._certificate else None
        self.queue = close.enter_context(TcpProxy(("127.0.0.1", valkey.port), context))
        self.pgbouncer = PgBouncer(folder / "pool", postgres) if postgres and ways.pgbouncer else None
        self.database: TcpProxy | None = None
        if postgres:
            behind = ("127.0.0.1", self.pgbouncer.port) if self.pgbouncer else postgres.socket
            self.database = close.enter_context(TcpProxy(behind))

    @property
    def environ(self) -> dict[str, str]:
        """The settings of the service."""
        url = f"postgresql://postgres@127.0.0.1:{self.database.port}/postgres" if self.database else ""
        return {"PORT": str(self.port), "DATABASE_URL": url, "REDIS_URL": self._queue_url()}

    @property
    def programs(self) -> dict[str, str]:
        """The command line of each program that the service needs on these ways."""
        return {"pgbouncer": self.pgbouncer.command} if self.pgbouncer else {}

    def _queue_url(self) -> str:
        address = f"127.0.0.1:{self.queue.port}/0"
        trusted = self._certificate
        return f"rediss://{address}?ssl_ca_certs={trusted.file}" if trusted else f"redis://{address}"
