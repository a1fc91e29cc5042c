"""What the container says of a video's colours, where the coded video does not say it.

The decoders of HEVC, and of H.264 and VP9 in part, put only what the coded video says on a picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from videoqueue.mp4 import UNSPECIFIED, ColourTags, VideoTrack

if TYPE_CHECKING:
    import av

# Values of AVColorRange.
_LIMITED, _FULL = 1, 2


def colour_tags(context: av.VideoCodecContext, track: VideoTrack | None) -> ColourTags:
    """Returns the container's tags: those of the box `colr`, and for VP9 also those of the box `vpcC`.

    Args:
        context: the stream's, before its first packet is decoded. It has what FFmpeg found in the boxes.
        track: None when only FFmpeg has read the boxes.
    """
    said = (track and track.colours) or ColourTags()
    # FFmpeg also takes tags from a `colr` that is too short, so it is asked only where it is needed.
    found = _tags_of(context) if track is None or track.codec == "vp9" else ColourTags()
    return ColourTags(
        primaries=_first(said.primaries, found.primaries),
        transfer=_first(said.transfer, found.transfer),
        matrix=_first(said.matrix, found.matrix),
        full_range=found.full_range if said.full_range is None else said.full_range,
    )


def fill_in(picture: av.VideoFrame, tags: ColourTags) -> None:
    """Sets each of the tags that the picture itself does not have."""
    own = _tags_of(picture)
    picture.color_primaries = _first(own.primaries, tags.primaries)
    picture.color_trc = _first(own.transfer, tags.transfer)
    picture.colorspace = _first(own.matrix, tags.matrix)
    if own.full_range is None and tags.full_range is not None:
        picture.color_range = _FULL if tags.full_range else _LIMITED


def _tags_of(source: av.VideoCodecContext | av.VideoFrame) -> ColourTags:
    ranges = {_LIMITED: False, _FULL: True}
    return ColourTags(
        int(source.color_primaries),
        int(source.color_trc),
        int(source.colorspace),
        ranges.get(int(source.color_range)),
    )


def _first(own: int, other: int) -> int:
    return other if own == UNSPECIFIED else own
