"""What a Heroku-style platform does: it installs requirements.txt only, sets URLs, and has small plans."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from servers.clusters import Cluster, binary
from servers.parts import Check, Options, at_most, contains
from servers.queues import any_queue
from servers.service import SAMPLE, deployed
from tests.support.stack import Service, environment, free_port, procfile

_DATABASE = "videoqueue"
#: What small plans of Postgres allow, less what an administrator and the release command need.
_PLAN_CONNECTIONS = 20 - 3
_WEB_PROCESSES = 3
#: Routers keep idle connections for 90 seconds.
_IDLE_SECONDS = 92.0
_SECRET = "secret-part"
_POSTGRES = "postgresql://u:p@127.0.0.1"
#: URLs that cannot be used, with what is said about them.
_WRONG_URLS = {
    "a port that is no number": f"{_POSTGRES}:543x/d",
    "a port that is too high": f"{_POSTGRES}:70000/d",
    "an @ in the password": f"postgresql://u:p@{_SECRET}@127.0.0.1/d",
    "a / in the password": f"postgresql://u:{_SECRET}/x@127.0.0.1/d",
}


def checks(options: Options) -> Iterator[Check]:
    """Installs requirements.txt, starts PostgreSQL and the service, and yields what was found.

    Raises:
        NotInstalled: there is no PostgreSQL.
    """
    binary("postgres")
    with tempfile.TemporaryDirectory(prefix="check-platform-") as name, ExitStack() as close:
        folder = Path(name)
        folder.chmod(0o755)
        cluster = close.enter_context(Cluster(folder / "postgres").started())
        queue = close.enter_context(any_queue(folder / "queue"))
        settings = {"REDIS_URL": queue, "VIDEOQUEUE_STORAGE_URL": f"file://{folder}/objects"}
        yield from _wrong_urls(options, settings)
        yield from _two_releases(options, cluster, settings)
        yield from _connections(folder / "service", options, cluster, settings)
        yield from _installed(folder, options, cluster, settings)
        yield from _data_folder(folder / "beforehand", options)


def _run(options: Options, settings: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the checkout's own environment in its folder."""
    path = f"{options.code / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environ = environment(settings) | {"PATH": path}
    return subprocess.run(words, env=environ, cwd=options.code, capture_output=True, text=True, check=False)


def _wrong_urls(options: Options, settings: dict[str, str]) -> Iterator[Check]:
    release = procfile(options.code)["release"]
    for what, url in _WRONG_URLS.items():
        done = _run(options, settings | {"DATABASE_URL": url}, "bash", "-c", release)
        lines = done.stderr.strip().splitlines()
        said = "a traceback" if "Traceback" in done.stderr else f"{len(lines)} line"
        yield Check(f"{what} in DATABASE_URL ends the command with", "1 line", said)
        yield Check(f"... it names the setting ({what})", True, "DATABASE_URL" in "".join(lines[-1:]))
        yield Check(f"... and no part of the password ({what})", False, _SECRET in done.stderr + done.stdout)


def _two_releases(options: Options, cluster: Cluster, settings: dict[str, str]) -> Iterator[Check]:
    """Two at once on an empty database, as when a platform retries its release phase."""
    release = procfile(options.code)["release"]
    codes = []
    for number in range(2):
        cluster.ask(f"CREATE DATABASE release{number}")
        given = settings | {"DATABASE_URL": cluster.url(f"release{number}")}
        with ThreadPoolExecutor(2) as pool:
            done = list(
                pool.map(lambda _, given=given: _run(options, given, "bash", "-c", release), range(2))
            )
        codes += [one.returncode for one in done]
    yield Check("two release commands at once on an empty database, twice", [0] * 4, codes)


def _connections(
    folder: Path, options: Options, cluster: Cluster, settings: dict[str, str]
) -> Iterator[Check]:
    """Counts connections under load, and keeps an idle one of a client open meanwhile."""
    cluster.ask(f"CREATE DATABASE {_DATABASE}")
    given = settings | {"DATABASE_URL": cluster.url(_DATABASE), "WEB_CONCURRENCY": str(_WEB_PROCESSES)}
    with deployed(folder, options, given) as service, ExitStack() as close:
        port = int(service.url.rpartition(":")[2])
        idle = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        close.callback(idle.close)
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        began, kept = time.monotonic(), idle.sock
        service.until_says("ready")
        most, statuses = _under_load(lambda _: service.submit().status_code, cluster)
        yield Check("120 submissions from 40 clients get 202, or 503 if the machine is slow", set(), statuses)
        what = f"connections of {_WEB_PROCESSES} web processes and a worker to the database"
        yield at_most(what, _PLAN_CONNECTIONS, most)
        time.sleep(max(0.0, began + _IDLE_SECONDS - time.monotonic()))
        idle.auto_open = 0
        try:
            idle.request("GET", "/healthz")
            found = str(idle.getresponse().status)
        except (http.client.HTTPException, OSError) as error:
            found = type(error).__name__
        yield Check(f"a connection that was idle for {_IDLE_SECONDS:g} s is open", "200", found)
        del kept


def _under_load(submit: Callable[[int], int], cluster: Cluster) -> tuple[int, set[int]]:
    """Returns the most connections that were open at once, and the unexpected statuses."""
    counted, over = [0], threading.Event()
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{_DATABASE}'"

    def count() -> None:
        while not over.wait(0.05):
            counted.append(cluster.ask(query)[0][0])

    thread = threading.Thread(target=count)
    thread.start()
    try:
        with ThreadPoolExecutor(40) as clients:
            statuses = set(clients.map(submit, range(120)))
    finally:
        over.set()
        thread.join()
    return max(counted), statuses - {202, 503}


def _installed(folder: Path, options: Options, cluster: Cluster, settings: dict[str, str]) -> Iterator[Check]:
    """An environment with requirements.txt and without the package itself."""
    environ = folder / "app"
    subprocess.run([sys.executable, "-m", "venv", environ], check=True)
    pip: list[str | Path] = [
        environ / "bin" / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
    ]
    done = subprocess.run(
        [*pip, "-r", options.code / "requirements.txt"], capture_output=True, text=True, check=False
    )
    found = "done" if done.returncode == 0 else done.stderr.strip()[-300:]
    yield Check("pip installs requirements.txt", "done", found)
    yield Check("... the command videoqueue is not there", False, (environ / "bin" / "videoqueue").exists())
    path = f"{environ / 'bin'}{os.pathsep}{os.environ['PATH']}"
    cluster.ask("CREATE DATABASE app")
    given = settings | {"DATABASE_URL": cluster.url("app"), "PATH": path}
    app = folder / "checkout"
    shutil.copytree(options.code, app, ignore=shutil.ignore_patterns(".venv", ".git", "var", ".*_cache"))
    service = Service(folder / "app-data", given, app, root=app)
    try:
        service.start()
        listed = service.run([str(environ / "bin" / "python"), "-m", "videoqueue", "jobs", "list", "--json"])
        yield Check("... `python -m videoqueue jobs list` runs", 0, listed.returncode)
        yield from _sample(service)
    finally:
        service.stop()


def _sample(service: Service) -> Iterator[Check]:
    from tests.support.stack import submit, wait_for

    job_id = submit(service.url, SAMPLE, max_frames=2)
    state = wait_for(service.url, job_id, "completed", "failed", seconds=300)
    yield Check("... release, web and worker run, and a job completes", "completed", state["status"])


def _data_folder(folder: Path, options: Options) -> Iterator[Check]:
    """`videoqueue up` in a folder that everybody may enter."""
    folder.mkdir(mode=0o755)
    python = str(options.code / ".venv" / "bin" / "python")
    module = "videoqueue" if (options.code / "videoqueue" / "__main__.py").exists() else "videoqueue.cli"
    command = [python, "-m", module, "up", "--port", str(free_port()), "--data-dir", str(folder)]
    with (folder.parent / "up.log").open("wb") as log:
        up = subprocess.Popen(command, cwd=options.code, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while not list(folder.glob("*.db")) and time.monotonic() < deadline and up.poll() is None:
            time.sleep(0.1)
        time.sleep(0.5)
    finally:
        up.terminate()
        up.wait()
    readable = [file.name for file in folder.rglob("*") if file.is_file() and _is_reachable(file, folder)]
    found = " ".join(sorted(readable)) or "none"
    yield Check("files of `up` in a folder with mode 0755 that others can read", "none", found)
    text = (folder.parent / "up.log").read_text()
    yield contains(
        "... it has made a database", ".db", " ".join(path.name for path in folder.iterdir()) or text
    )


def _is_reachable(file: Path, top: Path) -> bool:
    folders = [folder for folder in file.parents if folder.is_relative_to(top)]
    return bool(file.stat().st_mode & 0o044) and all(folder.stat().st_mode & 0o011 for folder in folders)
