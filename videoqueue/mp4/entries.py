"""Sample entries: what codec a track has, the size, shape and colours of its pictures."""

from __future__ import annotations

from operator import mul
from struct import unpack

from videoqueue.errors import InvalidVideoError
from videoqueue.mp4.colours import COLR_BYTES, read_colr
from videoqueue.mp4.square import square_size
from videoqueue.mp4.track import Track
from videoqueue.mp4.walk import OPENING, Steps, Walk


def read_stsd(walk: Walk, track: Track, end: int) -> Steps[None]:
    """Reads the sample entries of a track into `track`. Yields when it needs more of the file."""
    _, count = unpack(">II", (yield from walk.read(end, 8)))
    while count and end - walk.position >= 8:
        count -= 1
        kind, entry_end = yield from walk.header(end)
        walk.spend(OPENING)
        if track.handler != b"soun":
            yield from _sample_entry(walk, track, kind, entry_end)
        yield from walk.skip_to(entry_end)


def _sample_entry(walk: Walk, track: Track, kind: bytes, end: int) -> Steps[None]:
    codec = track.codec
    first = not codec.fourcc
    if first:
        codec.take_fourcc(kind)
    codec.encrypted = codec.encrypted or kind == b"encv"
    if end - walk.position < 78:
        return
    width, height = unpack(">HH", (yield from walk.take(78))[24:28])
    if first:
        track.width, track.height = width, height
    pixel_aspect = None
    while end - walk.position >= 8:
        try:
            kind, child_end = yield from walk.header(end)
        except InvalidVideoError as fault:
            if fault.code != "not_mp4":  # too much effort stays too much
                raise
            break  # a colour table or padding, which QuickTime may put here
        walk.spend(OPENING)
        if kind == b"pasp" and child_end - walk.position >= 8:
            pixel_aspect = unpack(">II", (yield from walk.take(8)))
        elif kind == b"colr" and first and track.colours is None:
            size = min(COLR_BYTES, child_end - walk.position)
            track.colours = read_colr((yield from walk.take(size)))
        else:
            yield from _codec_box(walk, track, kind, child_end, first)
        yield from walk.skip_to(child_end)
    if first:
        track.pixel_aspect = pixel_aspect
    track.pixels = max(track.pixels, mul(*square_size(width, height, pixel_aspect)))


def _codec_box(walk: Walk, track: Track, kind: bytes, end: int, first: bool) -> Steps[None]:
    if kind == b"sinf":
        track.codec.encrypted = True
    elif kind == b"hvcC":
        track.codec.take_hevc_configuration()
    elif kind == b"esds" and first:
        track.codec.take_esds((yield from walk.read(end, min(64, end - walk.position))))
