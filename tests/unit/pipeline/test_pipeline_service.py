from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.damage import zero
from tests.support.small_videos import MakeVideo, flat
from videoqueue.errors import (
    InvalidVideoError,
    OutOfMemoryError,
    PermanentError,
    PipelineError,
    UnknownPipelineError,
)
from videoqueue.pipeline.decode.limits import DecodeLimits
from videoqueue.pipeline.definitions.definition import parse
from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool
from videoqueue.pipeline.progress import Progress
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.pipeline.service import VideoFilePipelineService, build_service
from videoqueue.pipeline_options import PipelineOptions

LEVEL = parse(
    {
        "id": "level",
        "description": "How bright a frame is, in tens.",
        "nodes": [{"id": "measure", "plugin": "level", "tool": "measure"}],
        "edges": [],
        "entry_nodes": ["measure"],
        "output_nodes": ["measure"],
    }
)


class Level:
    """Measures the brightness in tens: the number of the frame in videos made by `film`."""

    manifest = Manifest("level", "1", {"measure": Tool({"image": "image"}, {"level": "number"})})

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at
        self.seen: list[int] = []

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        level = round(float(inputs["image"].mean()) / 10)
        if level == self.fail_at:
            raise PipelineError("too bright")
        self.seen.append(level)
        return {"level": level}


def service(plugin: Level | None = None, **options: Any) -> VideoFilePipelineService:
    made = plugin or Level()
    registry = PluginRegistry(PluginOptions(), {"level": lambda _: made})
    return VideoFilePipelineService({"level": LEVEL}, registry, **options)


def film(make_video: MakeVideo, frames: int, **options: Any) -> Path:
    return make_video([flat(32, 32, 10 * number) for number in range(frames)], **options)


def test_every_frame_gives_one_item_with_its_time(make_video: MakeVideo) -> None:
    items = service().run_on_file(film(make_video, 3), "level")

    assert items == [
        {"frame_index": 0, "result": {"level": 0, "timestamp": 0.0}},
        {"frame_index": 1, "result": {"level": 1, "timestamp": 0.04}},
        {"frame_index": 2, "result": {"level": 2, "timestamp": 0.08}},
    ]


@pytest.mark.parametrize(
    ("stride", "most", "expected"),
    [(1, None, [0, 1, 2, 3, 4, 5, 6]), (3, None, [0, 3, 6]), (3, 2, [0, 3]), (1, 2, [0, 1]), (9, 5, [0])],
)
def test_stride_and_limit_choose_frames_and_leave_their_index(
    make_video: MakeVideo, stride: int, most: int | None, expected: list[int]
) -> None:
    plugin = Level()

    items = service(plugin).run_on_file(film(make_video, 7), "level", stride, most)

    assert [item["frame_index"] for item in items] == sorted(plugin.seen) == expected


@pytest.mark.parametrize("done", range(7))
@pytest.mark.parametrize(("stride", "most"), [(1, None), (2, None), (2, 3), (1, 5)])
def test_a_resumed_run_gives_the_rest_and_processes_nothing_twice(
    make_video: MakeVideo, done: int, stride: int, most: int | None
) -> None:
    file = film(make_video, 7)
    whole = service().run_on_file(file, "level", stride, most)
    before = [item for item in whole if item["frame_index"] <= done]
    plugin = Level()

    rest = list(service(plugin).iter_file(file, "level", stride, most, start_after=done))

    assert before + rest == whole
    assert sorted(plugin.seen) == [item["frame_index"] for item in rest]


def test_decoding_stops_at_the_last_frame_wanted(make_video: MakeVideo) -> None:
    file = zero(film(make_video, 12, encoding={"g": "1"}), range(4, 12))

    assert len(service().run_on_file(file, "level", max_frames=3)) == 3
    with pytest.raises(InvalidVideoError, match="Only 4 of its 12 frames can be decoded"):
        service().run_on_file(file, "level")


@pytest.mark.parametrize(
    ("options", "stride", "most", "after", "expected"),
    [
        ({}, 1, None, None, [0.2, 0.4, 0.6, 0.8, 1.0]),
        ({}, 2, None, 3, [0.2, 0.4, 0.6, 0.8, 1.0]),
        ({}, 2, 2, None, [0.333, 0.667, 1.0]),
        ({}, 2, 50, None, [0.2, 0.4, 0.6, 0.8, 1.0]),
        ({"options": {"movflags": "frag_every_frame+empty_moov"}}, 1, None, None, [0.0, 0.2, 0.4, 0.6, 0.8]),
        ({"options": {"movflags": "frag_every_frame+empty_moov"}}, 1, 2, None, [0.5, 1.0]),
    ],
)
def test_progress_counts_every_decoded_frame(
    make_video: MakeVideo,
    options: dict[str, Any],
    stride: int,
    most: int | None,
    after: int | None,
    expected: list[float],
) -> None:
    reports: list[float] = []
    file = film(make_video, 5, **options)

    list(service().iter_file(file, "level", stride, most, start_after=after, on_progress=reports.append))

    # While a frame is awaited the last fraction may come again.
    assert reports == sorted(reports)
    assert sorted({*reports} - {0.0}) == pytest.approx([value for value in expected if value], abs=0.001)


def test_loading_is_told_step_by_step(make_video: MakeVideo) -> None:
    """The video, then each plugin when it is first needed: what may take long before the first frame."""
    file, told = film(make_video, 2), []
    pipelines = service()

    for _ in range(2):
        list(pipelines.iter_file(file, "level", on_load=lambda: told.append("loaded")))

    assert len(told) == 3


def test_a_plugin_that_runs_out_of_memory_is_not_called_faulty(make_video: MakeVideo) -> None:
    class Large(Level):
        def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
            raise RuntimeError("Check failed: [ GENERAL ] std::bad_alloc")

    with pytest.raises(OutOfMemoryError, match=r"^Frame 0: Step 'measure' .* failed: out of memory"):
        service(Large()).run_on_file(film(make_video, 2), "level")


def test_a_plugin_that_has_no_memory_to_load_is_not_called_faulty(make_video: MakeVideo) -> None:
    def make(options: PluginOptions) -> Level:
        raise MemoryError

    registry = PluginRegistry(PluginOptions(), {"level": make})
    with pytest.raises(OutOfMemoryError, match=r"^Plugin 'level' cannot be loaded: out of memory"):
        VideoFilePipelineService({"level": LEVEL}, registry).run_on_file(film(make_video, 1), "level")


@pytest.mark.parametrize(
    ("declared", "duration", "last", "times", "expected"),
    [
        (2, None, None, [0, 1, 2], [0.5, 1.0, 1.0]),
        (0, 4.0, None, [100, 101, 102, 110], [0.0, 0.25, 0.5, 1.0]),
        (0, 4.0, None, [0, 2, 1, 3], [0.0, 0.5, 0.5, 0.75]),
        (0, None, None, [0, 1], [0.0, 0.0]),
        (0, 4.0, 3, [0, 3, 3.5], [0.25, 0.75, 0.875]),
    ],
)
def test_progress_stays_between_zero_and_one_and_never_goes_down(
    declared: int, duration: float | None, last: int | None, times: list[float], expected: list[float]
) -> None:
    progress = Progress(declared, duration, last)

    assert [progress.after(index, time) for index, time in enumerate(times)] == expected


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "2"])
@pytest.mark.parametrize("name", ["frame_stride", "max_frames"])
def test_a_bad_number_is_refused_before_anything_is_read(name: str, value: Any) -> None:
    with pytest.raises(PermanentError, match=rf"^{name} is {value!r}: it takes a whole number of at least 1"):
        service().iter_file("none.mp4", "level", **{name: value})


def test_an_unknown_pipeline_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UnknownPipelineError, match="Known pipelines: level"):
        service().iter_file("none.mp4", "none")


def test_a_failing_plugin_names_the_frame_and_the_step(make_video: MakeVideo) -> None:
    with pytest.raises(PipelineError, match=r"^Frame 3: Step 'measure' .* failed: too bright$"):
        service(Level(fail_at=3)).run_on_file(film(make_video, 5), "level")


def test_the_pixel_limit_reaches_the_decoder(make_video: MakeVideo) -> None:
    with pytest.raises(InvalidVideoError, match="at most 1000 are accepted"):
        service(limits=DecodeLimits(pixels=1000)).run_on_file(film(make_video, 1), "level")


def test_a_bad_video_is_found_before_a_plugin_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "bad.mp4"
    file.write_bytes(b"no video")
    registry = PluginRegistry(PluginOptions())

    with pytest.raises(InvalidVideoError):
        VideoFilePipelineService({"level": LEVEL}, registry).run_on_file(file, "level")


def test_the_factory_knows_the_pipelines_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UnknownPipelineError, match=r"Known pipelines: .*ocr_only"):
        build_service(PipelineOptions(pipelines_dir=str(tmp_path))).run_on_file("none.mp4", "none")
