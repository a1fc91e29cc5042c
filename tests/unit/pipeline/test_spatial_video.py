"""Of spatial video (MV-HEVC) the base view is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from tests.support.mp4_boxes import check
from tests.support.small_videos import flat
from tests.support.spatial_videos import write_spatial
from videoqueue.pipeline.decode.decoder import open_video

LEFT = [flat(128, 96, 40 + 20 * number) for number in range(8)]
RIGHT = [flat(128, 96, 230)] * 8
# AV_FRAME_DATA_VIEW_ID of FFmpeg, which PyAV 18 does not list.
VIEW_ID = 29


def test_the_file_has_two_views_and_side_data_that_names_them(tmp_path: Path) -> None:
    """That of this test's files, by FFmpeg itself."""
    file = write_spatial(tmp_path / "a.mp4", LEFT, RIGHT)
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"view_ids": "-1"}
        pictures = [picture for packet in container.demux(stream) for picture in packet.decode()]

    levels = [float(picture.to_ndarray(format="bgr24").mean()) for picture in pictures]
    assert levels[::2] == pytest.approx([40 + 20 * number for number in range(8)], abs=6)
    assert levels[1::2] == pytest.approx([230] * 8, abs=6)
    side_data: Any = pictures[0].side_data
    assert VIEW_ID in [data.type.value for data in side_data]


@pytest.mark.parametrize("described", [True, False])
def test_every_frame_of_the_base_view_is_read(tmp_path: Path, described: bool) -> None:
    file = write_spatial(tmp_path / "a.mp4", LEFT, RIGHT, described)

    with open_video(file) as video:
        frames = [(frame.index, frame.timestamp, float(frame.image().mean())) for frame in video.frames()]
        damaged = video.damaged_frames

    assert [(index, time) for index, time, _ in frames] == [(n, round(n / 25, 6)) for n in range(8)]
    assert [level for *_, level in frames] == pytest.approx([40 + 20 * n for n in range(8)], abs=6)
    assert damaged == 0


def test_it_is_accepted_at_submission(tmp_path: Path) -> None:
    video = check(write_spatial(tmp_path / "a.mp4", LEFT, RIGHT).read_bytes()).video

    assert (video.codec, video.width, video.height, video.samples) == ("hevc", 128, 96, 8)
