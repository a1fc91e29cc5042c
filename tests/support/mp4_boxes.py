"""MP4 boxes built by hand, and small real videos in every layout, for tests of the gate."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import pytest
from av.container import OutputContainer

from tests.support.hevc import x265
from videoqueue.errors import InvalidVideoError
from videoqueue.mp4 import CheckLimits, Mp4Check, Mp4Info
from videoqueue.settings import load_settings


def encode(
    codec: str = "libx264",
    container: str = "mp4",
    frames: int = 5,
    size: tuple[int, int] = (64, 48),
    audio: str | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """A small real video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made"
        with av.open(str(path), "w", format=container, options=options or {}) as output:
            encode_into(output, codec, frames, size, audio)
        return path.read_bytes()


def encode_into(
    output: OutputContainer, codec: str, frames: int, size: tuple[int, int], audio: str | None
) -> None:
    stream: Any = output.add_stream(codec, rate=25, options=x265(frames) if codec == "libx265" else {})
    stream.width, stream.height = size
    stream.pix_fmt = "rgb24" if codec in ("png", "rawvideo") else "yuv420p"
    sound: Any = output.add_stream(audio, rate=48000) if audio else None
    for number in range(frames):
        picture = np.full((size[1], size[0], 3), number * 40 % 256, np.uint8)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    output.mux(stream.encode())
    if sound:
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        silence.sample_rate = 48000
        output.mux(sound.encode(silence))
        output.mux(sound.encode())


@cache
def sample(layout: str) -> bytes:
    container, audio, flags = LAYOUTS[layout]
    data = encode(container=container, audio=audio, options={"movflags": flags} if flags else {})
    return with_long_sizes(data) if layout == "long-sizes" else data


# container, sound, what FFmpeg's muxer is told
LAYOUTS = {
    "moov-last": ("mp4", None, ""),
    "moov-first": ("mp4", "aac", "faststart"),
    "fragmented": ("mp4", None, "frag_every_frame+empty_moov"),
    "fragmented-with-sound": ("mp4", "aac", "frag_every_frame+empty_moov+default_base_moof"),
    "fragmented-by-keyframe": ("mp4", "aac", "frag_keyframe"),
    "dash": ("mp4", None, "dash+frag_keyframe+negative_cts_offsets"),
    "quicktime": ("mov", "pcm_s16le", ""),
    "ismv": ("ismv", "aac", "frag_keyframe"),
    "long-sizes": ("mp4", "aac", "use_metadata_tags"),
}


def with_long_sizes(data: bytes) -> bytes:
    """The same top-level boxes with sizes of 64 bits; offsets into the media data stay as they are."""
    parts, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        parts.append(box(kind, data[at + 8 : at + size], large=kind != b"ftyp"))
        at += size
    return b"".join(parts)


def box(kind: bytes, *content: bytes, large: bool = False) -> bytes:
    body = b"".join(content)
    if large:
        return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *numbers: int, rest: bytes = b"") -> bytes:
    """A box with version and flags 0 in front of 32-bit numbers."""
    return box(kind, struct.pack(f">{1 + len(numbers)}I", 0, *numbers), rest)


FTYP = box(b"ftyp", b"isom\0\0\2\0isom")


def hdlr(handler: bytes, component: bytes = b"\0\0\0\0") -> bytes:
    return box(b"hdlr", bytes(4), component, handler, bytes(12), b"\0")


def tkhd(
    width: int = 64, height: int = 48, track_id: int = 1, version: int = 0, enabled: bool = True
) -> bytes:
    times = struct.pack(">QQIIQ" if version else ">IIIII", 0, 0, track_id, 0, 0)
    return box(
        b"tkhd",
        bytes([version, 0, 0, 6 + enabled]),
        times,
        bytes(52),
        struct.pack(">II", width << 16, height << 16),
    )


def entry(kind: bytes = b"avc1", width: int = 64, height: int = 48, inside: bytes = b"") -> bytes:
    return box(kind, bytes(24), struct.pack(">HH", width, height), bytes(50), inside)


def stsd(*entries: bytes) -> bytes:
    return full(b"stsd", len(entries), rest=b"".join(entries))


def tables(sizes: tuple[int, ...] = (10, 10), offset: int = 0) -> bytes:
    return b"".join(
        (
            full(b"stts", 1, len(sizes), 1000),
            full(b"stsc", 1, 1, len(sizes), 1),
            full(b"stsz", 0, len(sizes), *sizes),
            full(b"stco", 1, offset),
        )
    )


def trak(stbl: bytes, handler: bytes = b"vide", head: bytes | None = None, more: bytes = b"") -> bytes:
    media = box(b"mdia", hdlr(handler), box(b"minf", box(b"stbl", stbl)))
    return box(b"trak", tkhd() if head is None else head, media, more)


def movie(*traks: bytes, data: int = 100) -> bytes:
    return FTYP + box(b"mdat", bytes(data)) + box(b"moov", *traks)


def references(kind: bytes, *track_ids: int) -> bytes:
    return box(b"tref", box(kind, struct.pack(f">{len(track_ids)}I", *track_ids)))


_SETTINGS = load_settings({})
DEFAULTS: Final = CheckLimits(**_SETTINGS.check_limits, setting_names=_SETTINGS.setting_names)
MAX_SAMPLES, MAX_TRACKS = DEFAULTS.samples, DEFAULTS.tracks
BOUNDED: Final = replace(DEFAULTS, pixels=8192 * 4320)


def check(
    data: bytes, piece: int = 1 << 16, accept_truncated: bool = False, limits: CheckLimits = DEFAULTS
) -> Mp4Info:
    walk = Mp4Check(limits, accept_truncated)
    for start in range(0, len(data), piece):
        walk.feed(data[start : start + piece])
    return walk.finish()


def fault(data: bytes, **options: Any) -> tuple[str, str]:
    """Code and text of the refusal."""
    with pytest.raises(InvalidVideoError) as caught:
        check(data, **options)
    return caught.value.code, str(caught.value)


GOOD = trak(stsd(entry()) + tables())


def tfhd(size: int = 1, track_id: int = 1) -> bytes:
    """Samples of so many bytes, which lie at the beginning of the file."""
    return box(b"tfhd", struct.pack(">IIQI", 0x11, track_id, 0, size))


def fragment(flags: int, count: int, rest: bytes = b"", size: int = 1, track_id: int = 1) -> bytes:
    run = box(b"trun", struct.pack(">II", flags, count), rest)
    return box(b"moof", box(b"traf", tfhd(size, track_id), run))


def stream(*fragments: bytes) -> bytes:
    extends = box(b"mvex", full(b"trex", 1, 1, 0, 7, 0))
    return FTYP + box(b"moov", trak(stsd(entry()) + tables(())), extends) + b"".join(fragments)


SAMPLES = tables()
NONE = tables(())


def track(
    kind: bytes = b"avc1",
    samples: bytes = SAMPLES,
    track_id: int = 1,
    enabled: bool = True,
    handler: bytes = b"vide",
    more: bytes = b"",
    inside: bytes = b"",
) -> bytes:
    head = tkhd(track_id=track_id, enabled=enabled)
    return trak(stsd(entry(kind, inside=inside)) + samples, handler, head, more)
