"""The formats that results can be exported in.

A format has `write(items, video) -> Iterator[bytes]`. `items` returns an iterator over the results and may be
called more than once, so that no format needs all of them in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from videoqueue.exports import coco, csv, jsonl, srt, vtt
from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.segments.build import VERSION, Items
from videoqueue.segments.ranges import Segments


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format.

    Attributes:
        version: changes when the same results are written differently.
        media_type: the value of Content-Type.
        extension: of a file's name, without a dot.
        write: yields the bytes of the file.
        write_segments: yields the same bytes, given the segments of the results; None if it needs the frames.
        streams: whether it reads the items once and needs nothing of the video, so that it can be written
            while the video is processed.
        needs_size: whether it needs the width and height of the video.
    """

    version: str
    media_type: str
    extension: str
    write: Callable[[Items, VideoInfo], Iterator[bytes]]
    write_segments: Callable[[Segments], Iterator[bytes]] | None = None
    streams: bool = False
    needs_size: bool = False


FORMATS: Final[Mapping[str, Format]] = {
    "csv": Format(
        version="1", media_type="text/csv; charset=utf-8", extension="csv", write=csv.write, streams=True
    ),
    "jsonl": Format(
        version="1", media_type="application/jsonl", extension="jsonl", write=jsonl.write, streams=True
    ),
    "vtt": Format(
        version=f"1.{VERSION}",
        media_type="text/vtt; charset=utf-8",
        extension="vtt",
        write=vtt.write,
        write_segments=vtt.write_segments,
    ),
    "srt": Format(
        version=f"1.{VERSION}",
        media_type="application/x-subrip; charset=utf-8",
        extension="srt",
        write=srt.write,
        write_segments=srt.write_segments,
    ),
    "coco": Format(
        version="1", media_type="application/json", extension="coco.json", write=coco.write, needs_size=True
    ),
}
