"""Checks an MP4 or QuickTime file while it is uploaded, before FFmpeg sees it.

The check is pure Python and bounded: it holds a few KiB of the file at a time, skips media data, and refuses
tables that would cost the decoder too much time or memory. What a box means is taken from
ISO/IEC 14496-12 (boxes), 14496-14 (`esds`), 23001-7 (`sinf`) and the QuickTime File Format Specification;
which sample entries lead to which codec was read off FFmpeg 8.1 by opening one file per fourcc.

    check = Mp4Check(CheckLimits(pixels=8192 * 4320, tracks=64, samples=10_000_000, steps=7_000_000))
    for piece in upload:
        check.feed(piece)
    info = check.finish()

    check.py      the boxes of a file in their order, and the verdict on the whole
    beginning.py  what a file begins with
    from_file.py  the check of a file on disk
    choice.py     which track is the video
    square.py     how large a picture is in square pixels
    track.py      what is known of one track
    tracks.py     the boxes of a track: its header, edits and tables of samples
    edits.py      where the edit list of a track lies
    entries.py    the sample entries of a track: its codec, the size, shape and colours of its pictures
    colours.py    the `colr` box of a sample entry
    fragments.py  the same accounting for fragments
    fragment_sums.py  its sums
    stencils.py   fragments that look like an earlier one, which are most of them
    tables.py     sums over tables
    codecs.py     which codec a sample entry leads to
    walk.py       how bytes are pulled out of pieces of any size
    limits.py     how much of a file is read
    misplaced.py  top-level boxes that FFmpeg must not read
    refusals.py   how a refusal is worded
"""

from __future__ import annotations

from videoqueue.mp4.check import Mp4Check, Mp4Info
from videoqueue.mp4.choice import HIDDEN, NoReadableTrackError, VideoTrack
from videoqueue.mp4.codecs import CODECS
from videoqueue.mp4.colours import UNSPECIFIED, ColourTags
from videoqueue.mp4.edits import EMPTY, EditList, TableAt
from videoqueue.mp4.from_file import video_track
from videoqueue.mp4.limits import CheckLimits
from videoqueue.mp4.refusals import LimitExceededError
from videoqueue.mp4.square import square_size

__all__ = [
    "CODECS",
    "EMPTY",
    "HIDDEN",
    "UNSPECIFIED",
    "CheckLimits",
    "ColourTags",
    "EditList",
    "LimitExceededError",
    "Mp4Check",
    "Mp4Info",
    "NoReadableTrackError",
    "TableAt",
    "VideoTrack",
    "square_size",
    "video_track",
]
