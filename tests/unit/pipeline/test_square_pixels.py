"""Pictures with pixels that are not square are shown as a player shows them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import pytest

import videoqueue
from tests.support.hevc import x265
from tests.support.small_videos import MakeVideo, Picture, flat
from tests.support.video_stream import add_video_stream
from videoqueue.errors import InvalidVideoError
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.decode.limits import DecodeLimits
from videoqueue.pipeline.service import VideoFilePipelineService, build_service

SAMPLE = Path(videoqueue.__file__).parent / "cli" / "sample.mp4"
ONE = 1 << 16
QUARTER_TURN = [0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30]


def write(
    file: Path, pictures: Sequence[Picture], ratio: str, matrix: Sequence[int] | None = None, rate: int = 25
) -> Path:
    """H.264 whose pixels have this ratio, in the coded video and in the box `pasp`."""
    height, width = pictures[0].shape[:2]
    with av.open(str(file), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=rate, width=width, height=height, options={"crf": "14"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(ratio)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        output.mux(stream.encode())
    return file


def set_box(file: Path, width: int, height: int) -> Path:
    content = bytearray(file.read_bytes())
    at = content.index(b"pasp") + 4
    content[at : at + 8] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    file.write_bytes(content)
    return file


def remove_box(file: Path) -> Path:
    file.write_bytes(file.read_bytes().replace(b"pasp", b"free"))
    return file


def size_of(file: Path, bounds: DecodeLimits | None = None) -> tuple[int, int]:
    """Width and height of all images."""
    with open_video(file, bounds) as video:
        sizes = {frame.image().shape[:2] for frame in video.frames()}
        ((height, width),) = sizes
        assert (video.info.width, video.info.height) == (width, height)
    return width, height


@pytest.mark.parametrize(
    ("stored", "ratio", "shown"),
    [
        ((352, 576), "32/11", (1024, 576)),
        ((720, 576), "64/45", (1024, 576)),
        ((720, 480), "8/9", (720, 540)),
        ((64, 48), "4/3", (85, 48)),
        ((64, 48), "2", (128, 48)),
        ((64, 48), "1/3", (64, 144)),
        ((64, 48), "8", (512, 48)),
        ((64, 48), "1/8", (64, 384)),
        ((64, 48), "9", (64, 48)),
        ((64, 48), "1/9", (64, 48)),
        ((64, 48), "1", (64, 48)),
    ],
)
@pytest.mark.parametrize("said_by", ["both", "the box", "the coded video"])
def test_no_pixel_is_lost(
    tmp_path: Path, stored: tuple[int, int], ratio: str, shown: tuple[int, int], said_by: str
) -> None:
    parts = Fraction(ratio)
    file = write(tmp_path / "a.mp4", [flat(*stored, 100)] * 2, "1" if said_by == "the box" else ratio)
    if said_by == "the box":
        set_box(file, parts.numerator, parts.denominator)
    if said_by == "the coded video":
        remove_box(file)

    assert size_of(file) == shown


def test_the_box_wins_over_the_coded_video(tmp_path: Path) -> None:
    file = set_box(write(tmp_path / "a.mp4", [flat(64, 48, 100)], "2"), 1, 2)

    assert size_of(file) == (64, 96)


def test_a_box_of_zeros_says_nothing(tmp_path: Path) -> None:
    file = set_box(write(tmp_path / "a.mp4", [flat(64, 48, 100)], "2"), 0, 0)

    assert size_of(file) == (128, 48)


@pytest.mark.parametrize("codec", ["mpeg4", "libx265", "mpeg2video"])
def test_other_codecs_say_it_too(tmp_path: Path, codec: str) -> None:
    options = x265(1) if codec == "libx265" else {}
    file = tmp_path / "a.mp4"
    with av.open(str(file), "w", format="mp4") as output:
        stream = add_video_stream(output, codec, rate=25, width=64, height=48, options=options)
        stream.pix_fmt = "yuv420p"
        # MPEG-2 knows ratios of the whole picture: 16:9 of 4:3 are pixels of 4:3.
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(flat(64, 48, 100), format="bgr24")))
        output.mux(stream.encode())

    assert size_of(remove_box(file)) == (85, 48)


def test_a_scale_in_the_display_matrix_is_not_a_shape_of_pixels(make_video: MakeVideo) -> None:
    matrix = [2 * ONE, 0, 0, 0, ONE // 2, 0, 0, 0, 1 << 30]
    file = make_video([flat(64, 48, 100)], matrix=matrix)
    with av.open(str(file)) as container:
        assert container.streams.video[0].sample_aspect_ratio == 4

    assert size_of(remove_box(file)) == (64, 48)


def test_pixels_are_made_square_before_the_picture_is_turned(tmp_path: Path) -> None:
    picture = flat(64, 48, 20)
    picture[:24, :16] = 230
    file = write(tmp_path / "a.mp4", [picture], "2", QUARTER_TURN)

    with open_video(file) as video:
        image = next(video.frames()).image()

    assert image.shape == (128, 48, 3)
    # What was at the top left is at the top right, a quarter as high and half as wide.
    assert image[2:30, 26:46].mean() > 220
    assert image[36:, :].mean() < 30


def test_any_number_of_threads_gives_the_same_pixels(tmp_path: Path) -> None:
    with open_video(SAMPLE) as video:
        picture = next(video.frames()).image()
    file = write(tmp_path / "a.mp4", [resized(picture, (352, 576))], "32/11")
    images = []
    for threads in (1, 2, 5):
        with open_video(file, threads=threads) as video:
            images.append(next(video.frames()).image())

    assert (images[0] == images[1]).all()
    assert (images[0] == images[2]).all()


def test_the_limit_of_pixels_is_that_of_square_ones(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp4", [flat(64, 48, 100)], "2")

    assert size_of(file, DecodeLimits(pixels=128 * 48)) == (128, 48)
    with pytest.raises(InvalidVideoError, match=r"128x48 = 6144 pixels.*max_pixels"):
        size_of(file, DecodeLimits(pixels=128 * 48 - 1))


def resized(picture: Picture, size: Sequence[int], method: int = cv2.INTER_LINEAR) -> Picture:
    return cv2.resize(picture, size, interpolation=method).astype(picture.dtype)


@cache
def slides() -> list[Picture]:
    """The first of the frames with the same caption, of all captions of the sample."""
    with open_video(SAMPLE) as video:
        return [frame.image() for frame in video.frames() if frame.index % 10 == 5]


@pytest.fixture(scope="module")
def service() -> VideoFilePipelineService:
    return build_service()


@pytest.fixture(scope="module")
def captions(service: VideoFilePipelineService, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is read in the slides with square pixels."""
    file = write(tmp_path_factory.mktemp("plain") / "plain.mp4", slides(), "1", rate=1)
    return [item["result"]["text"] for item in service.run_on_file(file, "ocr_only")]


@pytest.mark.parametrize("ratio", ["32/11", "64/45", "4/3", "2", "1/3"])
def test_the_captions_of_the_sample_are_read_exactly(
    tmp_path: Path, service: VideoFilePipelineService, captions: list[str], ratio: str
) -> None:
    pictures = slides()
    height, width = pictures[0].shape[:2]
    parts = Fraction(ratio)
    narrow = min(1, 1 / parts) * width, min(1, parts) * height
    stored = tuple(2 * round(side / 2) for side in narrow)
    squeezed = [resized(picture, stored, cv2.INTER_AREA) for picture in pictures]

    items = service.run_on_file(write(tmp_path / "squeezed.mp4", squeezed, ratio, rate=1), "ocr_only")

    assert len(set(captions)) >= 5
    assert [item["result"]["text"] for item in items] == captions
