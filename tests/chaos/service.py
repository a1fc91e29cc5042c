"""The whole service under the harness: web, two Dramatiq masters, Valkey, a database, proxies before each."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType

import psutil
import requests

from tests.chaos.database import ServiceDatabase
from tests.chaos.keeper import Keeper
from tests.chaos.processes import first_below, is_child, running_from
from tests.chaos.receiver import chaos_receiver
from tests.chaos.routes import Routes, Ways
from tests.chaos.servers import Postgres, Valkey
from tests.chaos.settings import ALWAYS, QUICK
from tests.chaos.storages import chaos_storage
from tests.chaos.transitions import TransitionLog
from tests.chaos.workplace import Workplace
from tests.support.records import lease_policy
from tests.support.stack import ROOT, environment, eventually, procfile
from tests.support.tcp_proxy import TcpProxy
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.jobs.webhooks import WebhookEvents
from videoqueue.maintenance.retention import Retention

WORKERS = ("worker-1", "worker-2")
QUEUE = "valkey"
DIRECT = Ways()
#: Seconds after which the harness calls a leftover old.
_MOMENT = 0.001


class ChaosService:
    """Started by `with`; leaving it stops everything and raises when a process does not end in order.

    `database` is "sqlite" or "postgres", `storage` "folder" or "s3". Clients, and the service itself, go
    through the proxies of `routes` and that of the storage (None before a folder), and with `ways` through
    PgBouncer and TLS; the harness looks into database and storage directly.
    """

    def __init__(
        self,
        folder: Path,
        database: str,
        settings: Mapping[str, str] = QUICK,
        storage: str = "folder",
        ways: Ways = DIRECT,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.orders = folder / "failpoints"
        for made in (self.data, self.orders):
            made.mkdir()
        self.workplace = Workplace(folder / "venv")
        self.valkey = Valkey(folder / "valkey")
        self.postgres = Postgres(folder / "postgres") if database == "postgres" else None
        self._close = ExitStack()
        self.storage = chaos_storage(storage, self.data / "objects", self._close)
        self.receiver = self._close.enter_context(chaos_receiver())
        self.told = self._close.enter_context(TcpProxy(("127.0.0.1", self.receiver.port)))
        self.routes = Routes(folder, self.valkey, self.postgres, ways, self._close)
        self.environ = environment(ALWAYS | self.workplace.environ | self._settings() | dict(settings))
        # A process that is killed writes no coverage.
        self.environ.pop("COVERAGE_PROCESS_CONFIG", None)
        self.database = ServiceDatabase(self.postgres, self.data)
        self.log = TransitionLog(self.database.engine)
        self.keeper = Keeper(self._programs(), folder)

    @property
    def proxies(self) -> dict[str, TcpProxy]:
        routes = self.routes
        found = {"web": routes.web, "queue": routes.queue, "database": routes.database}
        found |= {"storage": self.storage.proxy, "receiver": self.told}
        return {name: proxy for name, proxy in found.items() if proxy}

    @property
    def url(self) -> str:
        """Where clients go: through the proxy."""
        return f"http://127.0.0.1:{self.routes.web.port}"

    @property
    def direct_url(self) -> str:
        return f"http://127.0.0.1:{self.routes.port}"

    @property
    def admin_key(self) -> str:
        """The key for the jobs of all owners; empty if the service needs no key."""
        return self.environ.get("VIDEOQUEUE_ADMIN_KEY", "")

    def create_key(self, owner: str) -> str:
        """Returns a new key with which jobs of the owner are submitted."""
        return KeyStore(self.database.engine).create(owner, frozenset({"submit"}))[1]

    def _settings(self) -> dict[str, str]:
        folders = {"VIDEOQUEUE_DATA_DIR": self.data, "VIDEOQUEUE_FAILPOINTS_DIR": self.orders}
        paths = {name: str(folder) for name, folder in folders.items()}
        return self.storage.environ | self.routes.environ | paths | self.receiver.environ(self.told.port)

    def _programs(self) -> dict[str, tuple[str, Mapping[str, str]]]:
        lines = {QUEUE: self.valkey.command} | self.routes.programs | {"web": procfile()["web"]}
        lines |= dict.fromkeys(WORKERS, procfile()["worker"])
        return {name: (line, self.environ) for name, line in lines.items()}

    def __enter__(self) -> ChaosService:
        try:
            # Directly: the keeper has not started PgBouncer yet.
            self.run(f"DATABASE_URL={shlex.quote(self.database.url)} {procfile()['release']}")
            self.log.install()
            self.keeper.start()
            self.await_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as close:
            close.callback(self._close.close)
            close.callback(self.valkey.close)
            if self.postgres:
                close.callback(self.postgres.stop)
            close.callback(self.database.engine.dispose)
            close.callback(self._end_leftovers)
            self.keeper.stop()

    def _end_leftovers(self) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def run(self, command: str) -> str:
        """A command line of the operator, with the service's settings; its output."""
        done = subprocess.run(
            ["bash", "-c", command], env=self.environ, cwd=ROOT, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def collect(self) -> None:
        """Removes what killed uploads and deletions have left, as if it were old."""
        retention = Retention(JobStore(self.database.engine, lease_policy()), self.storage.objects)
        for _ in retention.round(ALL_OWNERS, None, _MOMENT, batch=1000):
            pass

    def await_told(self) -> None:
        """Until every event is accepted, by a receiver that behaves from now on."""
        self.receiver.dice = None
        events = WebhookEvents(self.database.engine)
        events.retry_waiting()  # some wait for minutes, as the schedule says
        eventually(lambda: not events.waiting(1), "all webhooks are accepted")

    def await_ready(self) -> None:
        """Until queue and web answer and each master's worker process listens."""
        eventually(self.valkey.answers, "the queue answers")
        eventually(self.answers, "web answers")
        for name in WORKERS:
            eventually(partial(self._is_ready, name), f"{name} is ready")

    def _is_ready(self, name: str) -> bool:
        alive = self.worker_process(name) is not None
        return alive and "Worker ready." in self.keeper.log(name, since_start=True)

    def kill_queue(self) -> None:
        self.keeper.hold(QUEUE, signal.SIGKILL)

    def start_queue(self) -> None:
        self.keeper.unhold(QUEUE)
        eventually(self.valkey.answers, "the queue answers")

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.direct_url}/healthz", timeout=1).ok
        except requests.RequestException:
            return False

    def processes(self) -> list[psutil.Process]:
        """Every process of the service that runs."""
        return running_from(self.workplace.folder)

    def worker_process(self, name: str) -> psutil.Process | None:
        """The process in which the master's worker threads run."""
        return self._first_below(name, "videoqueue.worker")

    def web_process(self) -> psutil.Process | None:
        return self._first_below("web", "gunicorn")

    def _first_below(self, name: str, command: str) -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):
            return first_below(self.keeper.leader(name), command)
        return None

    def children(self) -> list[psutil.Process]:
        """The processes that read videos."""
        return [process for process in self.processes() if is_child(process)]

    def order(self, step: str, action: str) -> None:
        """Has the next process that passes the step obey."""
        part = self.folder / f"{step}.order"
        part.write_text(action)
        part.rename(self.orders / step)

    def is_obeyed(self, step: str) -> bool:
        return not (self.orders / step).exists()

    def withdraw_orders(self) -> None:
        for order in self.orders.iterdir():
            order.unlink(missing_ok=True)

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """The named programs are stopped, in an orderly way, for the block."""
        for name in names:
            self.keeper.hold(name)
        try:
            yield
        finally:
            for name in names:
                self.keeper.unhold(name)
        for name in names:
            eventually(partial(self._is_ready, name), f"{name} is ready")

    @contextmanager
    def without_queue(self) -> Iterator[None]:
        """Valkey is dead for the block."""
        self.kill_queue()
        try:
            yield
        finally:
            self.start_queue()
