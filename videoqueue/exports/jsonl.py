"""JSON lines: an item of the results on each line, with the bytes of the `results` array."""

from __future__ import annotations

import json
from collections.abc import Iterator

from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.segments.build import Items


def write(items: Items, _video: VideoInfo) -> Iterator[bytes]:
    """Yields one line after the other."""
    for item in items():
        text = json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        yield text.encode() + b"\n"
