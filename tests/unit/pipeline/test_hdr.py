"""HDR is shown as SDR: unchanged up to white, rolled off above, and the same on every processor."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.hdr_videos import (
    BT709,
    BT2020,
    BT2020_10,
    HLG,
    PQ,
    TO_2020,
    UNSPECIFIED,
    hlg,
    images,
    light_of,
    patches,
    pq,
    read_in_sdr,
    slides,
    write,
)
from tests.support.small_videos import flat
from videoqueue.pipeline.decode import hdr
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.service import build_service


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


@pytest.mark.parametrize("primaries", [BT709, 4, 5, 6, 7])
def test_hdr_with_the_primaries_of_bt_709_or_nearly_so_keeps_them(tmp_path: Path, primaries: int) -> None:
    picture = patches()

    (image,) = images(write(tmp_path / "a.mp4", [pq(light_of(picture))], PQ, primaries))

    assert np.abs(image.astype(int) - picture).max() <= 3


# Linear BT.709 to P3, red, green, blue (SMPTE EG 432-1; RP 431-2 with its white adapted by Bradford).
TO_P3 = {
    12: np.array(
        [[0.822462, 0.177538, 0], [0.033194, 0.966806, 0], [0.017083, 0.072397, 0.910520]],
    ),
    11: np.array(
        [[0.868580, 0.128919, 0.002501], [0.034540, 0.961811, 0.003648], [0.016771, 0.071040, 0.912189]]
    ),
}


@pytest.mark.parametrize("primaries", TO_P3)
@pytest.mark.parametrize(("transfer", "signal_of"), [(PQ, pq), (HLG, hlg)])
def test_hdr_with_the_primaries_of_p3_becomes_bt_709(
    tmp_path: Path, transfer: int, signal_of: Any, primaries: int
) -> None:
    picture = patches()
    signal = signal_of(light_of(picture) @ TO_P3[primaries].T)

    (image,) = images(write(tmp_path / "a.mp4", [signal], transfer, primaries))

    assert np.abs(image.astype(int) - picture).max() <= 3


@pytest.mark.parametrize("transfer", [BT2020_10, 15, BT709, UNSPECIFIED, 4, 6, 13])
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


@pytest.mark.parametrize(
    ("primaries", "transfer", "matrix"),
    [(BT709, BT709, BT709), (5, 5, 5), (6, 6, 6), (5, 4, 5), (7, 7, 7), (12, BT709, BT709), (2, 2, 2)],
)
def test_sdr_of_other_primaries_than_bt_2020_is_converted_as_ever(
    tmp_path: Path, primaries: int, transfer: int, matrix: int
) -> None:
    signal = patches()[:, :, ::-1] / 255
    file = write(tmp_path / "a.mp4", [signal], transfer, primaries, matrix)

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


@pytest.mark.parametrize(("transfer", "signal_of"), [(PQ, pq), (HLG, hlg)])
def test_the_sample_in_hdr_is_read_as_in_sdr(tmp_path: Path, transfer: int, signal_of: Any) -> None:
    pictures = slides()
    file = write(
        tmp_path / "a.mp4", [signal_of(light_of(picture) @ TO_2020.T) for picture in pictures], transfer
    )

    for image, picture in zip(images(file), pictures, strict=True):
        assert image.mean() == pytest.approx(picture.mean(), rel=0.1)
    items = build_service().run_on_file(file, "yolo_ocr")
    plain = read_in_sdr()
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
