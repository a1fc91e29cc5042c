"""The service of a checkout, started by the lines of its Procfile, with pipelines that take little time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from servers.parts import Options
from tests.chaos.catalogue import make_moving_video
from tests.chaos.workplace import Workplace
from tests.support.stack import Service, eventually

#: What a log says of an error that the service does not expect; a traceback comes with the line above it.
BUG = re.compile(
    rb"[^\n]*(?:met a bug|failed unexpectedly|Outcome not recorded\.)[^\n]*|[^\n]*\n *Traceback[^\n]*"
)
#: A pipeline without models; `slow` takes 0.1 s for each frame.
QUICK, SLOW = "quick", "slow"
SAMPLE = Path(__file__).resolve().parents[2] / "videoqueue" / "cli" / "sample.mp4"
_READY_SECONDS = 90.0
_START_SECONDS = 180.0


class Deployment:
    """Commands, processes and addresses of one service. Its log files are in `folder`/data."""

    def __init__(
        self, folder: Path, options: Options, settings: Mapping[str, str], prelude: str = ""
    ) -> None:
        libraries = list(options.code.glob(".venv/lib/python3.*/site-packages"))
        self.workplace = Workplace(folder / "venv", options.code, libraries[0] if libraries else None)
        objects = f"file://{folder / 'objects'}"
        given = {"VIDEOQUEUE_STORAGE_URL": objects} | self.workplace.environ | dict(settings)
        self.objects = folder / "objects"
        self.process = Service(folder / "data", given, options.code, prelude, options.code)
        self.url = self.process.url
        self.video = make_moving_video(folder / "video.mp4", seed=1, frames=5).read_bytes()

    def submit(
        self, pipeline: str = QUICK, key: str = "", video: bytes = b"", **parameters: str
    ) -> requests.Response:
        """Submits a video. `key` is the Idempotency-Key."""
        return requests.post(
            f"{self.url}/video/submit",
            params={"pipeline_id": pipeline} | parameters,
            data=video or self.video,
            headers={"Content-Type": "video/mp4"} | ({"Idempotency-Key": key} if key else {}),
            timeout=120,
        )

    def state(self, job_id: str) -> dict[str, Any]:
        """Returns the status of a job, once the service tells it."""
        return self._get(f"/video/status/{job_id}", (503,))

    def ended(self, job_id: str, seconds: float = 180.0) -> dict[str, Any]:
        """Returns the last status of a job: when it has ended, or when the time is over."""
        deadline = time.monotonic() + seconds
        while (state := self.state(job_id))["status"] not in ("completed", "failed"):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return state

    def outcome(self, answer: requests.Response, seconds: float = 180.0) -> str:
        """Returns what became of a submission: the last status of its job, or the code of the refusal."""
        if answer.status_code != 202:
            return f"{answer.status_code} {answer.text[:200]}"
        state = self.ended(answer.json()["job_id"], seconds)
        return " ".join(filter(None, (state["status"], state.get("error_message") or "")))

    def says(self) -> str:
        """Returns what /readyz says: `ready`, the names in `degraded`, or the code of a refusal."""
        try:
            answer = requests.get(f"{self.url}/readyz", timeout=20).json()
        except (requests.RequestException, ValueError):
            return "nothing"
        return ",".join(answer.get("degraded", [])) or str(answer.get("code") or answer["status"])

    def until_says(self, wanted: str, seconds: float = _READY_SECONDS) -> float | None:
        """Returns after how many seconds /readyz says it; None if it does not in time."""
        began = time.monotonic()
        while wanted not in self.says():
            if time.monotonic() - began > seconds:
                return None
            time.sleep(0.1)
        return time.monotonic() - began

    def videos(self) -> int:
        """Returns the number of files in the folder that is the storage unless a setting names another."""
        return sum(path.is_file() for path in self.objects.rglob("*"))

    def log(self) -> bytes:
        """Returns all that web and worker have logged."""
        return b"".join(path.read_bytes() for path in sorted(self.process.folder.glob("*.log")))

    def bugs(self) -> list[str]:
        """Returns the lines of the log that say that the service met an error of its own."""
        return [line.decode(errors="replace")[:300] for line in BUG.findall(self.log())]

    def _get(self, path: str, again: tuple[int, ...] = ()) -> dict[str, Any]:
        while True:
            answer = requests.get(self.url + path, timeout=60)
            if answer.status_code not in again:
                body: dict[str, Any] = answer.json()
                return body if answer.ok else body | {"status": f"{answer.status_code} {body.get('code')}"}
            time.sleep(0.5)


@contextmanager
def deployed(
    folder: Path, options: Options, settings: Mapping[str, str], prelude: str = ""
) -> Iterator[Deployment]:
    """Releases and starts the service, and waits for the web process; ends both afterwards."""
    folder.mkdir(exist_ok=True)
    deployment = Deployment(folder, options, settings, prelude)
    stack = deployment.process
    stack.release()
    try:
        for name in ("web", "worker"):
            stack.start_process(name)
        eventually(stack.answers, "web answers", _START_SECONDS)
        yield deployment
    finally:
        stack.stop()


def released_with(folder: Path, options: Options, settings: Mapping[str, str]) -> str:
    """Runs the release command. Returns `done`, or the last line that it writes."""
    folder.mkdir()
    process = Deployment(folder, options, settings).process
    done = process.run(["bash", "-c", process.commands["release"]])
    return "done" if done.returncode == 0 else " ".join(done.stderr.strip().splitlines()[-1:])[:300]
