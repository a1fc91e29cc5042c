"""Workers with the memory of small plans: what completes, and what is said."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from servers.groups import Limited, limited
from servers.parts import Check, Options, contains
from servers.queues import any_queue
from servers.service import SAMPLE, Deployment
from tests.support.stack import eventually

_MEBIBYTE = 1024**2
#: Small plans of platforms.
_ENOUGH, _TOO_LITTLE = 1024 * _MEBIBYTE, 560 * _MEBIBYTE
_JOB_SECONDS = 600.0


def checks(options: Options) -> Iterator[Check]:
    """Starts workers in groups of both sizes, and yields what was found."""
    with tempfile.TemporaryDirectory(prefix="check-memory-") as name, ExitStack() as close:
        folder = Path(name)
        queue = close.enter_context(any_queue(folder / "queue"))
        settings = {"REDIS_URL": queue, "VIDEOQUEUE_WEB_THREADS": "4"}
        large = _make_video(folder / "1080p.mp4")
        with limited("videoqueue-1024", _ENOUGH) as limit:
            yield Check("a worker gets 1 GiB", limit.by, limit.by)
            yield from _with_enough(folder / "enough", options, settings, limit, large)
        with limited("videoqueue-560", _TOO_LITTLE) as limit:
            yield from _with_too_little(folder / "little", options, settings, limit)


def _make_video(path: Path) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for index in range(3):
            picture = np.full((1080, 1920, 3), 40 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def _started(folder: Path, options: Options, settings: dict[str, str], limit: Limited) -> Deployment:
    """Starts web outside of the group and the worker in it."""
    folder.mkdir()
    deployment = Deployment(folder, options, settings)
    stack = deployment.process
    stack.release()
    stack.start_process("web")
    stack.prelude = limit.prelude
    stack.start_process("worker")
    eventually(stack.answers, "web answers")
    return deployment


def _with_enough(
    folder: Path, options: Options, settings: dict[str, str], limit: Limited, large: bytes
) -> Iterator[Check]:
    deployment = _started(folder, options, settings, limit)
    try:
        for name, video in (("the sample", SAMPLE.read_bytes()), ("a video of 1080p", large)):
            answer = deployment.submit("yolo_ocr", video=video)
            found = deployment.outcome(answer, _JOB_SECONDS)
            yield Check(f"with 1 GiB {name} completes with yolo_ocr", "completed", found)
        yield Check("the kernel kills no process of the worker with 1 GiB", 0, limit.killed())
        yield Check("the log names no bug with 1 GiB", [], deployment.bugs()[:3])
    finally:
        deployment.process.stop()


def _with_too_little(
    folder: Path, options: Options, settings: dict[str, str], limit: Limited
) -> Iterator[Check]:
    """The worker does not start, and says how much it needs; the job stays for a larger one."""
    deployment = _started(folder, options, settings, limit)
    stack = deployment.process
    try:
        answer = deployment.submit("yolo_ocr", video=SAMPLE.read_bytes())
        deadline = time.monotonic() + 60
        while "VIDEOQUEUE_SANDBOX_MEMORY_BYTES" not in stack.log("worker") and time.monotonic() < deadline:
            time.sleep(0.2)
        yield contains(
            "with 560 MiB the worker says what it needs",
            "VIDEOQUEUE_SANDBOX_MEMORY_BYTES",
            stack.log("worker"),
        )
        state = deployment.state(answer.json()["job_id"])
        found = " ".join(filter(None, (state["status"], state.get("error_message") or "")))
        yield Check("a job is not blamed for it, but waits for a worker", "pending", found)
        yield Check("the kernel kills no process of the worker with 560 MiB", 0, limit.killed())
        # The same job with a worker that has enough.
        stack.stop("worker")
        stack.prelude = ""
        stack.start_process("worker")
        yield Check(
            "... and completes with a larger one", "completed", deployment.outcome(answer, _JOB_SECONDS)
        )
    finally:
        stack.stop()
