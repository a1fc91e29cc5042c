"""COCO: frames as images and detections as annotations (https://cocodataset.org/#format-data).

An image has the frame index as its id. Annotations and categories are numbered from 1, as tools expect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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
    yield from _joined({"id": number, "name": label} for label, number in categories.items())
    yield b"]}\n"


def _images(items: Items, video: VideoInfo) -> Iterator[dict[str, object]]:
    for item in items():
        yield {
            "id": item["frame_index"],
            "width": video.width,
            "height": video.height,
            "file_name": f"{item['frame_index']:08}.png",
            "timestamp": timestamp_of(item["result"]),
        }


def _annotations(items: Items, categories: dict[str, int]) -> Iterator[dict[str, object]]:
    number = 0
    for item in items():
        for found in detections_of(item["result"]):
            number += 1
            x1, y1, x2, y2 = found["box"]
            yield {
                "id": number,
                "image_id": item["frame_index"],
                "category_id": categories.setdefault(found["label"], len(categories) + 1),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "score": found["confidence"],
            }


def _joined(objects: Iterable[dict[str, object]]) -> Iterator[bytes]:
    separator, gathered = "", []
    for found in objects:
        gathered.append(_encode(found))
        if len(gathered) == _BATCH:
            yield (separator + ",".join(gathered)).encode()
            separator, gathered = ",", []
    if gathered:
        yield (separator + ",".join(gathered)).encode()
