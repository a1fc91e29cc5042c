"""HDR is shown as SDR: unchanged up to white, rolled off above, and the same on every processor."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

import videoqueue
from tests.support.small_videos import Picture, flat
from videoqueue.pipeline.decode import hdr
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.service import build_service

SAMPLE = Path(videoqueue.__file__).parent / "cli" / "sample.mp4"
# Linear BT.709 to BT.2020 (ITU-R BT.2087), red, green, blue.
TO_2020 = np.array(
    [[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]]
)
Signal = npt.NDArray[np.float64]
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


def images(file: Path) -> list[Picture]:
    with open_video(file) as video:
        return [frame.image() for frame in video.frames()]


def patches() -> Picture:
    """Greys and colours of SDR, none nearer to white than the knee of the roll-off."""
    levels = [(level, level, level) for level in range(5, 216, 15)]
    colours = [(200, 60, 40), (40, 200, 60), (60, 40, 200), (30, 120, 210), (90, 90, 200), (150, 180, 120)]
    row = np.array(levels + colours, np.uint8)[None].repeat(8, 1)
    return row.repeat(32, 0)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("transfer", "signal_of"), [(PQ, pq), (HLG, hlg)])
def test_colours_below_white_are_unchanged(tmp_path: Path, transfer: int, signal_of: Any, full: bool) -> None:
    picture = patches()
    signal = signal_of(light_of(picture) @ TO_2020.T)

    (image,) = images(write(tmp_path / "a.mp4", [signal], transfer, full=full))

    assert np.abs(image.astype(int) - picture).max() <= 3


@pytest.mark.parametrize(
    ("primaries", "matrix"), [(UNSPECIFIED, BT2020), (BT2020, UNSPECIFIED), (UNSPECIFIED, UNSPECIFIED)]
)
@pytest.mark.parametrize(("transfer", "signal_of"), [(PQ, pq), (HLG, hlg)])
def test_what_the_file_does_not_say_is_that_of_bt_2020(
    tmp_path: Path, transfer: int, signal_of: Any, primaries: int, matrix: int
) -> None:
    picture = patches()
    signal = signal_of(light_of(picture) @ TO_2020.T)

    (image,) = images(write(tmp_path / "a.mp4", [signal], transfer, primaries, matrix))

    assert np.abs(image.astype(int) - picture).max() <= 3


def test_hdr_with_the_primaries_of_bt_709_keeps_them(tmp_path: Path) -> None:
    picture = patches()

    (image,) = images(write(tmp_path / "a.mp4", [pq(light_of(picture))], PQ, primaries=BT709))

    assert np.abs(image.astype(int) - picture).max() <= 3


@pytest.mark.parametrize("transfer", [BT2020_10, BT709, UNSPECIFIED])
def test_sdr_in_bt_2020_becomes_bt_709(tmp_path: Path, transfer: int) -> None:
    picture = patches()
    signal = (light_of(picture) @ TO_2020.T) ** (1 / 2.4)

    (image,) = images(write(tmp_path / "a.mp4", [signal], transfer))

    assert np.abs(image.astype(int) - picture).max() <= 3


def test_white_of_sdr_in_bt_2020_stays_white(tmp_path: Path) -> None:
    (image,) = images(write(tmp_path / "a.mp4", [np.ones((48, 64, 3))], BT2020_10))

    assert image.min() >= 254


@pytest.mark.parametrize(("transfer", "signal_of"), [(PQ, pq), (HLG, hlg)])
def test_light_above_the_knee_rolls_off(tmp_path: Path, transfer: int, signal_of: Any) -> None:
    """White is a little below the whitest that is left for what is brighter; brighter is never darker."""
    lights = [0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.03, 4.0]
    signal = np.repeat(np.array(lights), 8)[None, :, None].repeat(16, 0).repeat(3, 2)

    (image,) = images(write(tmp_path / "a.mp4", [signal_of(signal)], transfer))

    levels = [int(image[8, 8 * number + 4, 1]) for number in range(len(lights))]
    assert levels == sorted(levels)
    assert levels[0] == pytest.approx(255 * 0.7 ** (1 / 2.4), abs=2)
    assert 242 <= levels[3] <= 246
    assert levels[-2:] == [255, 255]


def test_sdr_of_ten_bits_is_converted_as_ever(tmp_path: Path) -> None:
    signal = patches()[:, :, ::-1] / 255
    file = write(tmp_path / "a.mp4", [signal], BT709, BT709, BT709)

    (image,) = images(file)

    with av.open(str(file)) as container:
        frame = next(container.decode(video=0))
        interpolation = av.video.reformatter.Interpolation
        exact = interpolation.BILINEAR | interpolation.ACCURATE_RND | interpolation.BITEXACT
        assert (image == frame.to_ndarray(format="bgr24", interpolation=exact, threads=1)).all()


def test_the_tables_are_the_same_everywhere() -> None:
    tables = [hdr._linear_light(transfer) for transfer in (BT709, PQ, HLG)] + [hdr._display_codes()]

    sums = [hashlib.sha256(table.tobytes()).hexdigest()[:16] for table in tables]

    assert sums == [
        "8c1f8e982fa299dd",
        "b10b24371a93b5e7",
        "9bd061495de39340",
        "06409e636ba0573f",
    ]


def test_any_number_of_threads_gives_the_same_pixels(tmp_path: Path) -> None:
    signal = pq(light_of(np.random.default_rng(3).integers(0, 255, (144, 256, 3), dtype=np.uint8)))
    file = write(tmp_path / "a.mp4", [signal], PQ)
    found = []
    for threads in (1, 2, 5):
        with open_video(file, threads=threads) as video:
            found.append(next(video.frames()).image())

    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def slides() -> list[Picture]:
    with open_video(SAMPLE) as video:
        return [frame.image() for frame in video.frames() if frame.index % 10 == 5]


@pytest.mark.parametrize(("transfer", "signal_of"), [(PQ, pq), (HLG, hlg)])
def test_the_sample_in_hdr_is_read_as_in_sdr(tmp_path: Path, transfer: int, signal_of: Any) -> None:
    pictures = slides()
    file = write(
        tmp_path / "a.mp4", [signal_of(light_of(picture) @ TO_2020.T) for picture in pictures], transfer
    )

    for image, picture in zip(images(file), pictures, strict=True):
        assert image.mean() == pytest.approx(picture.mean(), rel=0.1)
    items = build_service().run_on_file(file, "yolo_ocr")
    plain = build_service().run_on_file(SAMPLE, "yolo_ocr", frame_stride=5)[1::2]
    assert [item["result"]["text"] for item in items] == [item["result"]["text"] for item in plain]
    persons = [
        [
            max(
                (found["confidence"] for found in item["result"]["detections"] if found["label"] == "person"),
                default=0,
            )
            for item in run
        ]
        for run in (items, plain)
    ]
    assert max(persons[1]) > 0.6
    assert persons[0] == pytest.approx(persons[1], abs=0.05)


def test_an_sdr_picture_has_no_colours_to_convert() -> None:
    grey = av.VideoFrame.from_ndarray(flat(64, 48, 100), format="bgr24").reformat(format="yuv420p")

    assert hdr.colours_of(grey) is None
