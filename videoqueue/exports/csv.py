"""CSV (RFC 4180): a row for each object and for each line of text in each frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem
from videoqueue.segments.blocks import detections_of, text_blocks_of
from videoqueue.segments.build import Items

#: `text` is the label of a detection.
COLUMNS: Final = ("frame_index", "timestamp", "kind", "text", "confidence", "x1", "y1", "x2", "y2")
#: Programs take a cell that begins so for a formula, and execute it (OWASP, "CSV Injection").
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
#: Characters that are yielded at once.
_PIECE: Final = 64 * 1024


def write(items: Items, _video: VideoInfo) -> Iterator[bytes]:
    """Yields the bytes of the file, in UTF-8 and with a header."""
    buffer = io.StringIO(newline="")
    rows = csv.writer(buffer)
    rows.writerow(COLUMNS)
    for item in items():
        rows.writerows(_rows(item))
        if buffer.tell() > _PIECE:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _rows(item: FrameItem) -> Iterator[tuple[object, ...]]:
    result = item["result"]
    index, time = item["frame_index"], result.get("timestamp")
    for found in detections_of(result):
        yield index, time, "detection", _cell(found["label"]), found["confidence"], *found["box"]
    for block in text_blocks_of(result):
        yield index, time, "text", _cell(block["text"]), block["confidence"], *block["box"]


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
