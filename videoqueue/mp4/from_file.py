"""The same check of a file on disk, whose media data is not read but stepped over."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from videoqueue.mp4.check import Mp4Check
from videoqueue.mp4.choice import VideoTrack
from videoqueue.mp4.limits import CheckLimits

_PIECE: Final = 1 << 16


def video_track(file: Path, limits: CheckLimits, accept_truncated: bool = False) -> VideoTrack:
    """Returns the track that is the file's video, chosen as at submission.

    Raises:
        InvalidVideoError: the file is refused, as it would be at submission.
        OSError: the file is missing or cannot be read.
    """
    check = Mp4Check(limits, accept_truncated)
    with file.open("rb", buffering=0) as stream:
        left = file.stat().st_size
        while piece := stream.read(_PIECE):
            check.feed(piece)
            left -= len(piece)
            if (skipped := min(check.unread, left)) > 0:
                stream.seek(skipped, 1)
                check.leave_out(skipped)
                left -= skipped
    return check.finish().video
