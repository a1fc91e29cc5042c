"""HDR pictures coded exactly, with tags in the coded video, in a box, or in neither."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

import videoqueue
from tests.support.hevc import x265
from tests.support.small_videos import Picture
from tests.support.video_stream import add_video_stream
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.results import FrameItem
from videoqueue.pipeline.service import build_service

SAMPLE = Path(videoqueue.__file__).parent / "cli" / "sample.mp4"
Signal = npt.NDArray[np.float64]
# Linear BT.709 to BT.2020 (ITU-R BT.2087), red, green, blue.
TO_2020 = np.array(
    [[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]]
)
BT709, UNSPECIFIED, BT2020, PQ, HLG, BT2020_10 = 1, 2, 9, 16, 18, 14
LIMITED, FULL = 1, 2


def pq(light: Signal) -> Signal:
    """The signal of light relative to 100 nits."""
    power = (np.maximum(light, 0) / 100) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(light: Signal) -> Signal:
    """The signal of light relative to that of 75 %, as a display of gamma 1.2 shows it."""
    scene = np.maximum(light, 0) ** (1 / 1.2) * 0.26496256
    dark = np.sqrt(3 * scene)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, dark, bright)


def light_of(picture: Picture) -> Signal:
    """Linear light of an SDR picture (BGR), red first."""
    return (picture[:, :, ::-1] / 255) ** 2.4


def planes(signal: Signal, full: bool) -> av.VideoFrame:
    """Codes an R'G'B' signal by the matrix of BT.2020, in 10 bits and without subsampling."""
    red, green, blue = np.moveaxis(signal, 2, 0)
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    chroma = [(blue - luma) / 1.8814, (red - luma) / 1.4746]
    scale, offset, chroma_scale = (1023, 0, 1023) if full else (876, 64, 896)
    codes = [luma * scale + offset, *(part * chroma_scale + 512 for part in chroma)]
    frame = av.VideoFrame(signal.shape[1], signal.shape[0], "yuv444p10le")
    for plane, code in zip(frame.planes, codes, strict=True):
        rows = np.zeros((signal.shape[0], plane.line_size // 2), np.uint16)
        rows[:, : signal.shape[1]] = np.clip(np.rint(code), 0, 1023)
        plane.update(rows.tobytes())
    return frame


def write(
    file: Path,
    signals: Sequence[Signal],
    transfer: int,
    primaries: int = BT2020,
    matrix: int = BT2020,
    full: bool = False,
) -> Path:
    """H.264 whose tags are in the coded video."""
    height, width = signals[0].shape[:2]
    options = {"preset": "ultrafast", "qp": "0"}
    with av.open(str(file), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=1, width=width, height=height, options=options)
        context: Any = stream.codec_context
        context.pix_fmt = "yuv444p10le"
        context.color_trc, context.color_primaries, context.colorspace = transfer, primaries, matrix
        context.color_range = FULL if full else LIMITED
        for signal in signals:
            output.mux(stream.encode(planes(signal, full)))
        output.mux(stream.encode())
    with av.open(str(file)) as container:
        frame = next(container.decode(video=0))
        assert (frame.color_trc, frame.color_primaries, frame.colorspace) == (transfer, primaries, matrix)
    return file


#: Encoders without loss, or nearly so, with their format of pixels.
ENCODERS = {
    "libx264": ({"preset": "ultrafast", "qp": "0"}, "yuv444p10le"),
    "libx265": (x265(1, lossless=1), "yuv444p10le"),
    "libvpx-vp9": ({"lossless": "1", "deadline": "realtime", "cpu-used": "8"}, "yuv444p"),
    "libsvtav1": ({"preset": "12", "crf": "1", "svtav1-params": "lp=1"}, "yuv420p10le"),
}


def write_untagged(file: Path, signals: Sequence[Signal], codec: str, full: bool = False) -> Path:
    """A video that says nothing of its colours, neither in the coded video nor in a box."""
    height, width = signals[0].shape[:2]
    options, pixels = ENCODERS[codec]
    with av.open(str(file), "w", format="mp4") as output:
        stream = add_video_stream(output, codec, rate=1, width=width, height=height, options=options)
        stream.pix_fmt = pixels
        for signal in signals:
            output.mux(stream.encode(planes(signal, full).reformat(format=pixels)))
        output.mux(stream.encode())
    return file


def with_explicit_tags(file: Path, filters: str) -> Path:
    """Writes tags into the coded video by a bit stream filter of FFmpeg."""
    tagged = file.with_name(f"tagged {file.name}")
    with av.open(str(file)) as container, av.open(str(tagged), "w", format="mp4") as output:
        track = container.streams.video[0]
        copy = output.add_stream_from_template(track, opaque=True)
        change = av.bitstream.BitStreamFilterContext(filters, track, copy)
        for packet in container.demux(track):
            for changed in change.filter(packet if packet.dts is not None else None):
                changed.stream = copy
                output.mux(changed)
    return tagged


def tags_of_frames(file: Path) -> set[tuple[int, int, int]]:
    """Primaries, transfer and matrix as FFmpeg puts them on frames when no box says any."""
    with av.open(str(file)) as container:
        return {
            (int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace))
            for frame in container.decode(video=0)
        }


def images(file: Path) -> list[Picture]:
    with open_video(file) as video:
        return [frame.image() for frame in video.frames()]


def patches() -> Picture:
    """Greys and colours of SDR, 8 pixels each, none nearer to white than the knee of the roll-off."""
    levels = [(level, level, level) for level in range(5, 216, 15)]
    colours = [(200, 60, 40), (40, 200, 60), (60, 40, 200), (30, 120, 210), (90, 90, 200), (150, 180, 120)]
    row = np.array(levels + colours, np.uint8)[None].repeat(8, 1)
    return row.repeat(32, 0)


@cache
def slides() -> list[Picture]:
    """One picture of each slide of the sample."""
    with open_video(SAMPLE) as video:
        return [frame.image() for frame in video.frames() if frame.index % 10 == 5]


@cache
def read_in_sdr() -> list[FrameItem]:
    """What is found in the slides as they are."""
    return build_service().run_on_file(SAMPLE, "yolo_ocr", frame_stride=5)[1::2]
