"""What FFmpeg says in values that PyAV or FFmpeg's own scaler do not know ends no child."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from tests.support.small_videos import MakeVideo, flat
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.frame import Frame, Look

ONE = 1 << 16


def test_side_data_of_a_type_that_pyav_does_not_know_does_no_harm(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older PyAV than the FFmpeg beside it is what one gets by taking a type away that x264 writes."""
    matrix = [0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30]  # a quarter turn, mirrored
    picture = flat(64, 32, 20)
    picture[:8, -8:] = 230
    file = make_video([picture], matrix=matrix)
    with av.open(str(file)) as container:
        frame = next(container.decode(video=0))
        side_data: Any = frame.side_data
        assert Type.SEI_UNREGISTERED in [data.type for data in side_data]
    monkeypatch.delitem(Type._value2member_map_, Type.SEI_UNREGISTERED.value)

    with open_video(file) as video:
        image = next(video.frames()).image()

    assert image.shape == (64, 32, 3)
    assert image[-6:, :6].mean() > 200


# Matrices that FFmpeg's scaler fails at; numbers of ISO/IEC 23091-2.
@pytest.mark.parametrize("colours", ["YCgCo", "bt2020c", "smpte2085", "chroma-derived-c", "ICtCp"])
def test_a_matrix_of_colours_that_cannot_be_converted_is_taken_for_a_common_one(
    make_video: MakeVideo, colours: str
) -> None:
    options = {"preset": "ultrafast", "x264-params": f"colormatrix={colours}"}
    file = make_video([flat(64, 48, 120)], encoding=options)
    with av.open(str(file)) as container:
        assert next(container.decode(video=0)).colorspace not in (0, 1, 2, 4, 5, 6, 7, 9)

    with open_video(file) as video:
        image = next(video.frames()).image()

    assert float(image.mean()) == pytest.approx(120, abs=6)


@pytest.mark.parametrize("name", ["colorspace", "color_range", "color_trc", "color_primaries"])
@pytest.mark.parametrize("value", [3, 8, 10, 17, 22, 63, 255])
def test_a_description_of_colours_that_nobody_knows_yet_is_no_error(name: str, value: int) -> None:
    grey = av.VideoFrame.from_ndarray(np.full((48, 64), 120, np.uint8), format="gray")
    picture = grey.reformat(format="yuv420p")
    setattr(picture, name, value)

    image = Frame(0, 0.0, picture, Look(), 1).image()

    assert image.shape == (48, 64, 3)
