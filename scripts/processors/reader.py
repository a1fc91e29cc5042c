"""Reads pictures and a video in a process of its own: `python -m processors.reader STRIDE VIDEO PICTURE...`.

Prints a JSON array for each picture, and for each STRIDE-th frame of the video: its name, the detections and
the text blocks. Both plugins run with their defaults and one thread.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.plugins import ocr, yolo

Image = npt.NDArray[np.uint8]


def main() -> None:
    stride, video, *pictures = sys.argv[1:]
    options = PluginOptions(inference_threads=1)
    text, objects = ocr.create(options), yolo.create(options)
    for name, image in _images(int(stride), Path(video), pictures):
        found = objects.run_tool("detect", {"image": image})["detections"]
        blocks = text.run_tool("read", {"image": image})["text_blocks"]
        print(json.dumps([name, found, blocks]), flush=True)


def _images(stride: int, video: Path, pictures: list[str]) -> Iterator[tuple[str, Image]]:
    for file in pictures:
        image = cv2.imread(file)
        if image is None:
            raise SystemExit(f"processors.reader: {file} cannot be read")
        yield Path(file).stem, np.asarray(image, np.uint8)
    with open_video(video) as source:
        for frame in source.frames():
            if frame.index % stride == 0:
                yield f"{video.name} {frame.index}", frame.image()


if __name__ == "__main__":
    main()
