"""One run: start the service, let clients and faults loose, wait for rest, ask the oracle."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import report
from tests.chaos.catalogue import Catalogue
from tests.chaos.crew import Crew
from tests.chaos.faults import FaultInjector
from tests.chaos.oracle import Oracle
from tests.chaos.routes import Ways
from tests.chaos.schedule import PAUSE_SECONDS, plan
from tests.chaos.service import DIRECT, ChaosService
from tests.chaos.settings import OWNED, QUICK
from tests.chaos.transitions import DELETED
from tests.chaos.watch import Watch

#: How long after the last fault every job may take to end.
_REST_SECONDS = 180.0


@dataclass(frozen=True)
class Outcome:
    """`broken` is empty when every promise was kept."""

    broken: list[str]
    report: list[str]
    jobs: int
    kills: int
    #: The states of the jobs when they were deleted.
    deleted: list[str]


@contextmanager
def short_folder() -> Iterator[Path]:
    """A short path, because unix sockets allow about a hundred characters; kept when something went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="vq-chaos-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run_chaos(
    folder: Path,
    database: str,
    seed: int,
    seconds: float,
    *,
    storage: str = "folder",
    pause: float = PAUSE_SECONDS,
    settings: Mapping[str, str] = QUICK,
    rest_seconds: float = _REST_SECONDS,
    ways: Ways = DIRECT,
) -> Outcome:
    """Faults planned from the seed hit a service under load for so many seconds."""
    with ChaosService(folder, database, OWNED | dict(settings), storage, ways) as service:
        catalogue = Catalogue(folder, service.workplace.pipelines)
        crew = Crew(service, catalogue, seed)
        injector = FaultInjector(service)
        service.receiver.dice = random.Random(seed)
        with Watch(service) as watch:
            crew.start()
            try:
                injector.run(plan(seed, seconds, database, pause, storage))
            finally:
                injector.mend()
                crew.stop()
            crew.await_ended(rest_seconds)
        oracle = Oracle(service)
        broken = watch.broken + oracle.broken(crew.submitted) + oracle.still_serves(catalogue)
        broken += crew.observed.bugs
        text = report.lines(service, crew.submitted, crew.observed, injector.damage, broken)
        text.append(f"watched      {watch.looks} looks at database and storage during the run")
        deleted = [one.before or "" for one in service.log.transitions() if one.after == DELETED]
    left = [f"process {process.pid} is left" for process in service.processes()]
    left += [
        f"{folder.name} is left in the work folder" for folder in (service.data / "work").glob("worker-*")
    ]
    return Outcome(broken + left, text, len(crew.submitted), len(injector.damage.kills), deleted)
