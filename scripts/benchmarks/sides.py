"""One side of a comparison, in a process of its own.

    python -m benchmarks.sides SIDE FILE WARM THREADS PIPELINE

Prints one JSON object: frames, seconds, processor seconds of all threads, peak memory in MB, the folder of
the package, and the results of each frame where there are any. `stages` prints what its module says. Models
are loaded and have seen a frame of the clip WARM, of the same size, before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.memory import peak_mb

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = ROOT / "videoqueue/pipeline/plugins/yolo/weights/nanodet-g_int8.xml"


def naive(file: Path, warm: Path, threads: int, pipeline: str) -> dict[str, Any]:
    sys.path.append(str(ROOT / "build" / "benchmark-packages"))
    from benchmarks.naive import frames, make_reader

    read = make_reader(DETECTOR if pipeline == "yolo_ocr" else None)
    read(next(frames(warm)))
    start = _now()
    results = [read(frame) for frame in frames(file)]
    return _measured(len(results), start, results)


def ours(file: Path, warm: Path, threads: int, pipeline: str) -> dict[str, Any]:
    service = _service(threads)
    service.run_on_file(warm, pipeline, max_frames=1)
    start = _now()
    items = service.run_on_file(file, pipeline)
    return _measured(len(items), start, [item["result"] for item in items])


def decode(file: Path, warm: Path, threads: int, pipeline: str) -> dict[str, Any]:
    from videoqueue.pipeline.decode.decoder import open_video

    start = _now()
    with open_video(file) as video:
        count = sum(frame.image() is not None for frame in video.frames())
    return _measured(count, start, None)


def floor(file: Path, warm: Path, threads: int, pipeline: str) -> dict[str, Any]:
    """The models alone, each over the tensors it was given in a run of `ours`, as fast as OpenVINO can."""
    import openvino

    service = _service(threads)
    service.run_on_file(warm, pipeline, max_frames=1)
    with _recording() as seen:
        frames = len(service.run_on_file(file, pipeline))
    queues = [(openvino.AsyncInferQueue(model, threads), tensors) for model, tensors in seen.values()]
    for _ in range(2):  # the first time shapes are met
        start = _now()
        for queue, tensors in queues:
            for tensor in tensors:
                queue.start_async({0: openvino.Tensor(tensor, shared_memory=True)})
            queue.wait_all()
    return _measured(frames, start, None)


def stages(file: Path, warm: Path, threads: int, pipeline: str) -> dict[str, Any]:
    from benchmarks.stages import measure

    return measure(file, warm, pipeline)


SIDES = {side.__name__: side for side in (naive, ours, decode, floor, stages)}


@contextmanager
def _recording() -> Iterator[dict[int, tuple[Any, list[np.ndarray]]]]:
    """Keeps a copy of every tensor given to a model, by compiled model."""
    from videoqueue.pipeline.plugins.openvino import CompiledModel

    seen: dict[int, tuple[Any, list[np.ndarray]]] = {}
    run = CompiledModel.run

    def recorded(self: Any, tensor: np.ndarray) -> Any:
        seen.setdefault(id(self._compiled), (self._compiled, []))[1].append(np.array(tensor))
        return run(self, tensor)

    with patch.object(CompiledModel, "run", recorded):
        yield seen


def _service(threads: int) -> Any:
    """Returns the service of the package that is measured, which may be that of an older commit."""
    from videoqueue.pipeline import service

    build: Any = service.build_service
    try:
        from videoqueue.pipeline_options import PipelineOptions
    except ImportError:
        return build(inference_threads=threads)
    return build(PipelineOptions(inference_threads=threads))


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _measured(frames: int, start: tuple[float, float], results: Any) -> dict[str, Any]:
    import videoqueue

    seconds, processor_seconds = (now - then for now, then in zip(_now(), start, strict=True))
    return {
        "frames": frames,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "peak_mb": peak_mb("self"),
        "results": results,
        "package": str(Path(videoqueue.__file__ or "").parent),
    }


if __name__ == "__main__":
    name, file, warm, threads, pipeline = sys.argv[1:]
    json.dump(SIDES[name](Path(file), Path(warm), int(threads), pipeline), sys.stdout)
