"""The memory of the confined child process that a worker runs, with the limits that it has by default.

    python -m benchmarks.child FILE WARM THREADS PIPELINE

It prints one JSON object. WARM is not used: memory counts from the start.
"""

from __future__ import annotations

import json
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.memory import peak_mb

_MB = 1024**2
_LOOK_SECONDS = 0.01


def measure(file: Path, threads: int, pipeline_id: str) -> dict[str, Any]:
    """Runs one job in a child.

    Returns: frames; `peak_mb`, the most that was resident; `data_mb`, the most seen of what its limit counts;
    `limit_mb`, that limit; `fits`, whether the job ended well.
    """
    from videoqueue.errors import OutOfMemoryError
    from videoqueue.pipeline_options import PipelineOptions
    from videoqueue.sandbox.protocol import Seen, Task
    from videoqueue.sandbox.sandbox import Sandbox
    from videoqueue.settings import load_settings
    from videoqueue.settings.capacity import MAX_MEMORY
    from videoqueue.worker.factory import sandbox_limits

    limits = sandbox_limits(load_settings({"VIDEOQUEUE_SANDBOX_MEMORY_BYTES": str(MAX_MEMORY)}))
    task = Task(path=str(file), pipeline_id=pipeline_id, frame_stride=1, max_frames=None, start_after=None)
    frames = 0
    fits = True
    with closing(Sandbox(PipelineOptions(inference_threads=threads), limits)) as sandbox, _Watch() as watch:
        try:
            for report in sandbox.run(task, lambda: False):
                frames += isinstance(report, Seen)
        except OutOfMemoryError:
            fits = False
        watch.look()
    return {
        "frames": frames,
        "peak_mb": watch.peak_mb,
        "data_mb": watch.data_mb,
        "limit_mb": limits.memory_bytes // _MB,
        "fits": fits,
    }


class _Watch:
    """Looks at the child every few milliseconds: the system keeps the most of resident memory only."""

    def __init__(self) -> None:
        self.peak_mb = self.data_mb = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def look(self) -> None:
        from videoqueue.sandbox.limits import data_bytes

        for child in psutil.Process().children():
            with suppress(OSError, StopIteration):  # it has ended
                self.peak_mb = max(self.peak_mb, peak_mb(child.pid))
                self.data_mb = max(self.data_mb, data_bytes(child.pid) // _MB)

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self.look()


if __name__ == "__main__":
    file, _, threads, pipeline = sys.argv[1:]
    json.dump(measure(Path(file), int(threads), pipeline), sys.stdout)
