"""Files that harm whoever trusts them, made from small good ones; none may be read as a video."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.support.video_stream import add_video_stream

LAYOUTS = {
    "header first": {"movflags": "faststart"},
    "header last": {},
    "fragmented": {"movflags": "frag_every_frame+empty_moov+default_base_moof"},
}
#: Boxes whose size is a lie that nothing can be read past.
_STRUCTURE = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
#: Boxes without which no frame can be found.
_REQUIRED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz", b"stco", b"stsd", b"hdlr")


@dataclass(frozen=True)
class Hostile:
    name: str
    content: bytes
    reason: str = "."  # a pattern of the refusal or the error message
    follows: bool = False  # it names other files or addresses


def encode(
    path: Path,
    sizes: list[tuple[int, int]],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> bytes:
    """A video whose frames have these sizes, one after the other, with a header that knows the first only."""
    settings = {"preset": "ultrafast", "x264-params": "repeat-headers=1"} if codec == "libx264" else {}
    noise = np.random.default_rng(7)
    with av.open(str(path), "w", format="mp4", options=options or {}) as output:
        width, height = sizes[0]
        stream = add_video_stream(
            output, codec, rate=25, width=width, height=height, pix_fmt=pixels, options=settings
        )
        number = 0
        for width, height in dict.fromkeys(sizes):
            encoder = stream.codec_context
            if (width, height) != sizes[0]:
                created = av.CodecContext.create(codec, "w")
                assert isinstance(created, av.VideoCodecContext)
                encoder = created
                encoder.width, encoder.height, encoder.pix_fmt = width, height, pixels
                encoder.time_base, encoder.options = Fraction(1, 25), settings
            pictures = [
                av.VideoFrame.from_ndarray(
                    np.kron(
                        noise.integers(0, 255, (height // 8, width // 8, 3), np.uint8), np.ones((8, 8, 1))
                    ).astype(np.uint8),
                    format="bgr24",
                )
                for _ in range(sizes.count((width, height)))
            ]
            packets = [packet for picture in [*pictures, None] for packet in encoder.encode(picture)]
            for packet in packets:
                packet.stream, packet.pts, packet.dts = stream, number, number
                packet.time_base = Fraction(1, 25)
                number += 1
                output.mux(packet)
    return path.read_bytes()


def hostile_files(folder: Path, url: str, secret: Path, most_frames: int) -> list[Hostile]:
    """About a hundred. `url` and `secret` are what playlists name; a video may have `most_frames`."""
    good = {
        name: encode(folder / "good.mp4", [(64, 48)] * 12, options=layout) for name, layout in LAYOUTS.items()
    }
    return [
        *_truncated(good),
        *_tables(good["header first"]),
        *_large(folder, good["header last"]),
        Hostile(
            "too many frames",
            encode(folder / "x.mp4", [(16, 16)] * (most_frames + 1)),
            "VIDEOQUEUE_MAX_FRAMES",
        ),
        *_playlists(url, secret),
        *_foreign(folder),
        *_broken_boxes(good["header last"]),
    ]


def _truncated(good: dict[str, bytes]) -> Iterator[Hostile]:
    for layout, content in good.items():
        for eighth in range(1, 8):
            yield Hostile(
                f"{layout}, {eighth}/8", content[: len(content) * eighth // 8], "cut off|missing|declares"
            )
        # An index of the fragments may follow, which nobody needs.
        end = content.rfind(b"mfra") - 4 if b"mfra" in content else len(content)
        yield Hostile(f"{layout}, one byte short", content[: end - 1], "cut off|declares")


def _tables(content: bytes) -> Iterator[Hostile]:
    bombs: dict[str, list[tuple[bytes, int, tuple[int, ...]]]] = {
        "sizes": [(b"stsz", 8, (1, 60_000_000))],
        "sizes, durations and chunks": [
            (b"stsz", 8, (1, 20_000_000)),
            (b"stts", 8, (1, 20_000_000, 1)),
            (b"stsc", 8, (1, 1, 20_000_000, 1)),
        ],
        "durations": [(b"stts", 12, (0xFFFFFFFF,))],
        "count of sizes": [(b"stsz", 12, (0x7FFFFFFF,))],
        "count of chunks": [(b"stco", 8, (0x10000000,))],
        "chunk far away": [(b"stco", 12, (0x7FFFFFFF,))],
    }
    for name, patches in bombs.items():
        yield Hostile(f"table bomb: {name}", patched(content, *patches))


def _large(folder: Path, content: bytes) -> Iterator[Hostile]:
    """Pixels: by the header, by the stream behind a header that lies, and in the middle of the stream."""
    huge = struct.pack(">HH", 16000, 16000)
    at = content.index(b"avc1", content.index(b"stsd")) + 28
    yield Hostile("header of 16000x16000", content[:at] + huge + content[at + 4 :], "pixels")
    large = encode(folder / "large.mp4", [(1280, 960)] * 2)
    at = large.index(b"avc1", large.index(b"stsd")) + 28
    small = struct.pack(">HH", 64, 48)
    lying = large[:at] + small + large[at + 4 :]
    at = lying.index(b"tkhd") + 80
    lying = lying[:at] + struct.pack(">II", 64 << 16, 48 << 16) + lying[at + 8 :]
    yield Hostile("header that lies", lying, "VIDEOQUEUE_MAX_PIXELS")
    for codec in ("libx264", "mpeg2video", "mpeg4"):
        for factor, kind in ((10, "a little"), (40, "much")):
            grown = encode(folder / "x.mp4", [(64, 48)] * 2 + [(64 * factor, 48 * factor)] * 2, codec)
            yield Hostile(f"{codec} that grows {kind}", grown, "VIDEOQUEUE_MAX_PIXELS")


def _playlists(url: str, secret: Path) -> Iterator[Hostile]:
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}/a.ts\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    brand = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"isom")
    texts = {
        "HLS": hls,
        "HLS with a byte range": hls.replace("#EXTINF:1,", "#EXTINF:1,\n#EXT-X-BYTERANGE:9@0", 1),
        "concat of a URL": f"ffconcat version 1.0\nfile '{url}/a.mp4'\n",
        "concat of a file": f"ffconcat version 1.0\nfile '{secret}'\n",
        "concat of a neighbour": f"ffconcat version 1.0\nfile {secret.name}\n",
        "DASH": f'<?xml version="1.0"?><MPD><Period><BaseURL>{url}/</BaseURL></Period></MPD>',
        "SDP": f"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=control:{url}\n",
        "a list of files": f"{url}/a.mp4\n{secret}\n",
    }
    for name, text in texts.items():
        yield Hostile(f"{name}, renamed", text.encode(), follows=True)
        yield Hostile(f"{name}, behind a brand", brand + text.encode(), follows=True)


def _foreign(folder: Path) -> Iterator[Hostile]:
    yield Hostile("empty", b"", "empty")
    yield Hostile("text", b"not a video at all\n" * 50)
    yield Hostile("zip", b"PK\x03\x04" + bytes(200))
    yield Hostile("avi", b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(500), "AVI")
    for seed in range(4):
        yield Hostile(f"random bytes {seed}", random.Random(seed).randbytes(3000))
    yield Hostile("png in mp4", encode(folder / "x.mp4", [(64, 48)] * 2, "png", "rgb24"), "codec")
    protection = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "11" * 16,
        "encryption_kid": "22" * 16,
    }
    encrypted = encode(folder / "x.mp4", [(64, 48)] * 4, options=protection)
    yield Hostile("encrypted", encrypted, "encrypted")
    disguised = encrypted.replace(b"encv", b"avc1").replace(b"sinf", b"free")
    yield Hostile("encrypted, disguised", disguised, "encrypted|damaged")


def _broken_boxes(content: bytes) -> Iterator[Hostile]:
    kinds: list[Callable[[random.Random, bytes], bytes]] = [_wrong_size, _wrong_name, _wrong_samples]
    for seed in range(36):
        kind = kinds[seed % len(kinds)]
        yield Hostile(f"{kind.__name__.strip('_')} {seed}", kind(random.Random(seed), content))


def _wrong_size(dice: random.Random, content: bytes) -> bytes:
    at = content.index(dice.choice(_STRUCTURE)) - 4
    size = dice.choice((dice.randrange(2, 8), dice.randrange(len(content), 1 << 32)))
    return content[:at] + struct.pack(">I", size) + content[at + 4 :]


def _wrong_name(dice: random.Random, content: bytes) -> bytes:
    at = content.index(dice.choice(_REQUIRED))
    return content[:at] + bytes(dice.randrange(65, 91) for _ in range(4)) + content[at + 4 :]


def _wrong_samples(dice: random.Random, content: bytes) -> bytes:
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    return content[:start] + dice.randbytes(end - start) + content[end:]


def patched(content: bytes, *patches: tuple[bytes, int, tuple[int, ...]]) -> bytes:
    """32-bit numbers written so many bytes behind the type of the first box of that kind."""
    data = bytearray(content)
    for kind, offset, values in patches:
        struct.pack_into(f">{len(values)}I", data, data.index(kind) + offset, *values)
    return bytes(data)
