"""Reads clips in a process of its own: `python -m text_evaluation.reader ENGINE OPTIONS FILE...`.

OPTIONS are a JSON object. Prints one JSON array: for each file a list of frames, each with its blocks and the
processor's milliseconds. Decoding is not counted. The first frame of each file is read twice, and the second
time counts: by then models are compiled for its size. Nothing is remembered from the first time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
Block = dict[str, Any]
Read = Callable[[np.ndarray], list[Block]]


def ours(options: dict[str, str]) -> Callable[[], Read]:
    """The plugin of the `videoqueue` that is found first, which may be an older one."""
    from videoqueue.pipeline.plugin import PluginOptions
    from videoqueue.pipeline.plugins.ocr import create

    plugin = create(PluginOptions(inference_threads=1, values=options))
    memory = plugin._engine._recognizer._cache

    def make() -> Read:
        memory.clear()

        def read(frame: np.ndarray) -> list[Block]:
            result: Any = plugin.run_tool("read", {"image": frame})
            return list(result["text_blocks"])

        return read

    return make


def rapidocr(options: dict[str, str]) -> Callable[[], Read]:
    """RapidOCR with its defaults, on ONNX Runtime."""
    sys.path.append(str(ROOT / "build" / "benchmark-packages"))
    from rapidocr import RapidOCR

    engine = RapidOCR(params={"Global.log_level": "error"})

    def read(frame: np.ndarray) -> list[Block]:
        found: Any = engine(frame)
        corners: Any = [] if found.boxes is None else np.asarray(found.boxes)
        boxes = [[*box.min(axis=0).tolist(), *box.max(axis=0).tolist()] for box in corners]
        return [{"text": text, "box": box} for text, box in zip(found.txts or (), boxes, strict=True)]

    return lambda: read


def read_clip(make: Callable[[], Read], file: Path) -> list[dict[str, Any]]:
    results = []
    for number, frame in enumerate(_frames(file)):
        if number == 0:
            make()(frame)
        read = make()
        start = time.process_time()
        blocks = read(frame)
        milliseconds = 1000 * (time.process_time() - start)
        blocks = [{"text": block["text"], "box": list(block["box"])} for block in blocks]
        results.append({"milliseconds": milliseconds, "blocks": blocks})
    return results


def _frames(file: Path) -> Iterator[np.ndarray]:
    with av.open(str(file)) as video:
        for frame in video.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


if __name__ == "__main__":
    # One processor for each side: what a frame costs must not depend on how many there are.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    engine, options, *files = sys.argv[1:]
    made = globals()[engine](json.loads(options))
    json.dump([read_clip(made, Path(file)) for file in files], sys.stdout)
