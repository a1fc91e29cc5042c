"""COCO: frames as images and detections as annotations (https://cocodataset.org/#format-data).

An image has the frame index as its id. Annotations and categories are numbered from 1, as tools expect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from math import isfinite
from typing import Final

from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.segments.blocks import detections_of, timestamp_of
from videoqueue.segments.build import Items

#: Objects that are yielded at once.
_BATCH: Final = 500
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def write(items: Items, video: VideoInfo) -> Iterator[bytes]:
    """Yields the bytes of the file. Reads the items twice.

    Raises:
        ValueError: the size of the video is not known.
    """
    if video.width is None or video.height is None:
        raise ValueError("COCO needs the size of the images")
    categories: dict[str, int] = {}
    yield b'{"images":['
    yield from _joined(_images(items, video))
    yield b'],"annotations":['
    yield from _joined(_annotations(items, categories))
    yield b'],"categories":['
    yield from _joined(_encode({"id": number, "name": label}) for label, number in categories.items())
    yield b"]}\n"


def _images(items: Items, video: VideoInfo) -> Iterator[str]:
    size = f'"width":{video.width},"height":{video.height}'
    for item in items():
        index, time = item["frame_index"], _encode(timestamp_of(item["result"]))
        yield f'{{"id":{index},{size},"file_name":"{index:08}.png","timestamp":{time}}}'


def _annotations(items: Items, categories: dict[str, int]) -> Iterator[str]:
    """Yields the annotations and collects the categories. All values are numbers, which JSON writes alike."""
    number = 0
    for item in items():
        index = item["frame_index"]
        for found in detections_of(item["result"]):
            x1, y1, x2, y2 = found["box"]
            width, height = x2 - x1, y2 - y1
            if not isfinite(width * height):  # JSON has no infinity
                continue
            number += 1
            category = categories.setdefault(found["label"], len(categories) + 1)
            yield (
                f'{{"id":{number},"image_id":{index},"category_id":{category},'
                f'"bbox":[{x1},{y1},{width},{height}],"area":{width * height},"iscrowd":0,'
                f'"score":{found["confidence"]}}}'
            )


def _joined(objects: Iterable[str]) -> Iterator[bytes]:
    separator = ""
    remaining = iter(objects)
    while gathered := list(islice(remaining, _BATCH)):
        yield (separator + ",".join(gathered)).encode()
        separator = ","
