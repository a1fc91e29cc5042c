"""A damaged video through the whole service: killed in the middle and resumed, the results are the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.chaos.processes import is_child
from tests.chaos.workplace import Workplace
from tests.support.damage import garble, zero
from tests.support.stack import Service, eventually, family, submit, wait_for
from tests.support.videos import make_moving_video

FRAMES = 30
# Key frames are 0, 10 and 20.
GARBLED = (4, 10, 23)
ZEROED = (7, 17)
STEP = "worker.chunk_committed"
#: Added to the test plugin: while the gate is there, a child stops after so many frames.
WAIT = """time.sleep(SLOW_SECONDS)
                self.seen = getattr(self, "seen", 0) + 1 if os.path.exists({gate!r}) else 0
                while self.seen > 12 and os.path.exists({gate!r}):
                    time.sleep(0.01)"""


@dataclass(frozen=True)
class Outcome:
    """What a client and an operator see of an ended job."""

    array: bytes
    etag: str
    damaged_frames: int


class Bench:
    """A service whose jobs take a tenth of a second a frame, and whose worker is started by the test."""

    def __init__(self, folder: Path, redis_url: str, workplace: Workplace) -> None:
        self.orders = folder / "failpoints"
        self.orders.mkdir()
        self.gate = folder / "gate"
        workplace.edit_plugin("import time\n", "import os\nimport time\n")
        workplace.edit_plugin("time.sleep(SLOW_SECONDS)", WAIT.format(gate=str(self.gate)))
        settings = {
            "REDIS_URL": redis_url,
            "VIDEOQUEUE_DEFAULT_PIPELINE": "slow",
            "VIDEOQUEUE_FAILPOINTS_DIR": str(self.orders),
            "VIDEOQUEUE_CHECKPOINT_SECONDS": "0.2",
            "VIDEOQUEUE_LEASE_SECONDS": "2",
            "VIDEOQUEUE_RENEW_SECONDS": "0.5",
            "VIDEOQUEUE_SWEEP_SECONDS": "0.5",
        }
        self.service = Service(folder / "service", settings | workplace.environ)
        self.service.make_tables()
        self.service.start_process("web")
        eventually(self.service.answers, "web answers")

    def start_worker(self, threads: int) -> None:
        self.service.start_process("worker", {"VIDEOQUEUE_INFERENCE_THREADS": str(threads)})

    def outcome(self, job_id: str) -> Outcome:
        assert wait_for(self.service.url, job_id, "completed", "failed")["status"] == "completed"
        answer = requests.get(f"{self.service.url}/video/results/{job_id}", timeout=10)
        content = answer.content
        array = content[content.index(b"[") : content.rindex(b"]") + 1]
        (damaged,) = self._row(job_id, "damaged_frames")
        return Outcome(array, answer.headers["ETag"], damaged)

    def attempts(self, job_id: str) -> int:
        (attempts,) = self._row(job_id, "attempt")
        return attempts

    def has_chunk(self, job_id: str) -> bool:
        return self._row(job_id, "(SELECT count(*) FROM result_chunk WHERE job_id = job.job_id)") != (0,)

    def _row(self, job_id: str, columns: str) -> tuple[int, ...]:
        with closing(sqlite3.connect(self.service.folder / "videoqueue.db")) as database:
            query = f"SELECT {columns} FROM job WHERE job_id = ?"
            found: tuple[int, ...] = database.execute(query, (job_id.replace("-", ""),)).fetchone()
        return found


@pytest.fixture
def bench(tmp_path: Path, redis_url: str) -> Iterator[Bench]:
    bench = Bench(tmp_path, redis_url, Workplace(tmp_path / "venv"))
    yield bench
    bench.service.stop()


def kill_the_worker(bench: Bench, video: Path, next_threads: int) -> Outcome:
    """It dies when its second chunk is committed; the next one has another number of threads."""
    (bench.orders / STEP).write_text("kill @2")
    job_id = submit(bench.service.url, video)
    eventually(lambda: not (bench.orders / STEP).exists(), "the worker is killed in the middle")
    bench.service.wait_for_end("worker")
    bench.start_worker(next_threads)
    outcome = bench.outcome(job_id)
    assert bench.attempts(job_id) == 2
    return outcome


def kill_the_child(bench: Bench, video: Path) -> Outcome:
    """It dies in the middle of the video, when a chunk is committed."""
    bench.gate.touch()
    job_id = submit(bench.service.url, video)
    eventually(lambda: bench.has_chunk(job_id), "a chunk is committed")
    (child,) = [process for process in family(bench.service.pid("worker")) if is_child(process)]
    child.kill()
    bench.gate.unlink()
    outcome = bench.outcome(job_id)
    assert bench.attempts(job_id) == 2
    return outcome


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_damaged_video_gives_the_same_whatever_is_killed_and_with_any_number_of_threads(
    bench: Bench, tmp_path: Path, codec: str
) -> None:
    video = zero(garble(make_moving_video(tmp_path / "v.mp4", codec, FRAMES), GARBLED), ZEROED)
    outcomes: dict[str, Outcome] = {}
    bench.start_worker(1)
    for threads, next_threads in ((1, 2), (2, 4), (4, 1)):
        outcomes[f"undisturbed, {threads}"] = bench.outcome(submit(bench.service.url, video))
        outcomes[f"child killed, {threads}"] = kill_the_child(bench, video)
        how = f"worker killed, {threads} and then {next_threads}"
        outcomes[how] = kill_the_worker(bench, video, next_threads)

    first = outcomes["undisturbed, 1"]
    assert {how: outcome for how, outcome in outcomes.items() if outcome != first} == {}
    assert first.damaged_frames > 0
    assert first.array.count(b'"frame_index"') == FRAMES - first.damaged_frames
