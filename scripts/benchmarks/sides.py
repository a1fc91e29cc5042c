"""One side of the comparison, in a process of its own: `python -m benchmarks.sides SIDE FILE WARM THREADS`.

Prints one JSON object: frames, seconds, processor seconds of all threads, peak memory in MB, and the results
of each frame where there are any. Models are loaded and have seen
a frame of the clip WARM, of the same size, before the clock starts.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
YOLO = ROOT / "videoqueue" / "pipeline" / "plugins" / "yolo"


def naive(file: Path, warm: Path, threads: int) -> dict[str, Any]:
    sys.path.append(str(ROOT / "build" / "benchmark-packages"))
    from benchmarks.naive import frames, make_reader

    read = make_reader(YOLO if _pipeline() == "yolo_ocr" else None)
    read(next(frames(warm)))
    start = _now()
    results = [read(frame) for frame in frames(file)]
    return _measured(len(results), start, results)


def ours(file: Path, warm: Path, threads: int) -> dict[str, Any]:
    from videoqueue.pipeline.service import build_service
    from videoqueue.pipeline_options import PipelineOptions

    service = build_service(PipelineOptions(inference_threads=threads))
    service.run_on_file(warm, _pipeline(), max_frames=1)
    start = _now()
    items = service.run_on_file(file, _pipeline())
    return _measured(len(items), start, [item["result"] for item in items])


def decode(file: Path, warm: Path, threads: int) -> dict[str, Any]:
    from videoqueue.pipeline.decode.decoder import open_video

    start = _now()
    with open_video(file) as video:
        count = sum(frame.image() is not None for frame in video.frames())
    return _measured(count, start, None)


def floor(file: Path, warm: Path, threads: int) -> dict[str, Any]:
    """The models alone, each over the tensors it was given in a run of `ours`, as fast as OpenVINO can."""
    import openvino

    from videoqueue.pipeline.service import build_service
    from videoqueue.pipeline_options import PipelineOptions

    service = build_service(PipelineOptions(inference_threads=threads))
    service.run_on_file(warm, _pipeline(), max_frames=1)
    with _recording() as seen:
        frames = len(service.run_on_file(file, _pipeline()))
    queues = [(openvino.AsyncInferQueue(model, threads), tensors) for model, tensors in seen.values()]
    for _ in range(2):  # the first time shapes are met
        start = _now()
        for queue, tensors in queues:
            for tensor in tensors:
                queue.start_async({0: openvino.Tensor(tensor, shared_memory=True)})
            queue.wait_all()
    return _measured(frames, start, None)


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


def _pipeline() -> str:
    has_yolo = (ROOT / "videoqueue" / "pipeline" / "definitions" / "built_in" / "yolo_ocr.json").is_file()
    return "yolo_ocr" if has_yolo else "ocr_only"


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _measured(frames: int, start: tuple[float, float], results: Any) -> dict[str, Any]:
    seconds, processor_seconds = (now - then for now, then in zip(_now(), start, strict=True))
    return {
        "frames": frames,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "results": results,
    }


if __name__ == "__main__":
    side, file, warm, threads = sys.argv[1:]
    json.dump(globals()[side](Path(file), Path(warm), int(threads)), sys.stdout)
