"""The bytes of a file that are replaced so that FFmpeg reads the file as players do."""

from __future__ import annotations

from pathlib import Path

from videoqueue.mp4 import VideoTrack
from videoqueue.pipeline.decode.edits import Edits

_HEADERS = (8, 16)  # bytes of a box's header; the longer one has a size of 64 bits
_SKIPPED = b"free"


def patches_for_ffmpeg(file: Path, track: VideoTrack | None, edits: Edits | None) -> dict[int, bytes]:
    """Returns the bytes to replace, by position in the file.

    FFmpeg then follows the edit list, and skips top-level boxes whose types belong inside another box.

    Raises:
        InvalidVideoError: the fields of the file cannot hold the new numbers.
        OSError: the file cannot be read.
    """
    if track is None:
        return {}
    patches = dict.fromkeys(track.misplaced, _SKIPPED)
    if track.edits is None or edits is None:
        return patches
    if (entries := edits.rewritten()) is not None:
        patches[track.edits.table.position] = entries
    with file.open("rb") as stream:
        for position in track.untimed:
            for header in _HEADERS:
                stream.seek(position - header + 4)
                if stream.read(4) == b"trak":
                    patches[position - header + 4] = _SKIPPED
                    break
    return patches
