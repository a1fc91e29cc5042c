from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tests.support.damage import zero
from tests.support.small_videos import MakeVideo, flat
from tests.unit.pipeline.test_pipeline_service import LEVEL, film
from videoqueue.errors import InvalidVideoError, PipelineError, TransientError
from videoqueue.pipeline.decode.decoder import Frame
from videoqueue.pipeline.frame_pool import FramePool
from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.pipeline.results import FrameItem
from videoqueue.pipeline.service import VideoFilePipelineService

SECONDS = 30  # after which a test that waits for something gives up


class Gated:
    """Measures the brightness in tens; `hold(level)` keeps frames of that level until `let_go(level)`."""

    manifest = Manifest("level", "1", {"measure": Tool({"image": "image"}, {"level": "number"})})

    def __init__(self, errors: Mapping[int, BaseException] | None = None) -> None:
        self.errors = errors or {}
        self.gates: dict[int, threading.Event] = {}
        self.begun: list[int] = []
        self.threads: dict[int, threading.Thread] = {}
        self.at_once = self.most_at_once = 0
        self._changed = threading.Condition()

    def hold(self, *levels: int) -> None:
        self.gates.update({level: threading.Event() for level in levels})

    def let_go(self, level: int) -> None:
        self.gates[level].set()

    def wait_until_begun(self, *levels: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: set(levels) <= set(self.begun), SECONDS)

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        level = round(float(inputs["image"].mean()) / 10)
        with self._changed:
            self.begun.append(level)
            self.threads[level] = threading.current_thread()
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._changed.notify_all()
        if level in self.gates:
            assert self.gates[level].wait(SECONDS)
        with self._changed:
            self.at_once -= 1
        if level in self.errors:
            raise self.errors[level]
        return {"level": level}


def service(plugin: Gated, threads: int) -> VideoFilePipelineService:
    registry = PluginRegistry(PluginOptions(threads), {"level": lambda _: plugin})
    return VideoFilePipelineService({"level": LEVEL}, registry, inference_threads=threads)


def pool_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("frame ")]


def indexes(items: Iterable[FrameItem]) -> Iterator[int]:
    for item in items:
        yield item["frame_index"]


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize(
    ("stride", "most", "after"), [(1, None, None), (2, None, None), (3, 4, None), (1, 9, 4), (2, None, 5)]
)
def test_any_number_of_threads_gives_the_items_of_one(
    make_video: MakeVideo, threads: int, stride: int, most: int | None, after: int | None
) -> None:
    file = film(make_video, 20)
    kept = [n for n in range(0, 20, stride) if most is None or n < most * stride]

    items = list(service(Gated(), threads).iter_file(file, "level", stride, most, start_after=after))

    assert items == [
        {"frame_index": n, "result": {"level": n, "timestamp": round(n / 25, 6)}}
        for n in kept
        if after is None or n > after
    ]


def test_frames_are_processed_at_once_and_keep_their_order(make_video: MakeVideo) -> None:
    plugin = Gated()
    plugin.hold(0, 1, 2)
    items = indexes(service(plugin, 2).iter_file(film(make_video, 4), "level"))

    def open_the_last_first() -> None:
        plugin.wait_until_begun(0, 1, 2)
        plugin.let_go(2)
        plugin.let_go(1)
        plugin.wait_until_begun(3)
        plugin.let_go(0)

    opener = threading.Thread(target=open_the_last_first)
    opener.start()

    assert list(items) == [0, 1, 2, 3]
    opener.join()
    assert plugin.most_at_once == 3


def test_the_first_failure_by_frame_is_raised_after_all_earlier_frames(make_video: MakeVideo) -> None:
    plugin = Gated({3: PipelineError("slow failure"), 4: PipelineError("quick failure")})
    plugin.hold(3)

    def let_the_slow_one_go() -> None:
        plugin.wait_until_begun(3, 4)
        plugin.let_go(3)

    opener = threading.Thread(target=let_the_slow_one_go)
    opener.start()
    seen: list[int] = []

    with pytest.raises(PipelineError, match=r"^Frame 3: .* slow failure$"):
        seen.extend(indexes(service(plugin, 2).iter_file(film(make_video, 20), "level")))
    opener.join()

    assert seen == [0, 1, 2]
    assert pool_threads() == []


def test_items_before_a_failure_are_yielded_and_frames_behind_it_are_left(make_video: MakeVideo) -> None:
    plugin = Gated({3: TransientError("come again")})
    items = indexes(service(plugin, 2).iter_file(film(make_video, 20), "level"))

    assert [next(items), next(items), next(items)] == [0, 1, 2]
    with pytest.raises(TransientError, match="come again"):
        next(items)
    assert max(plugin.begun) < 9
    assert pool_threads() == []


def test_no_frame_is_begun_after_one_has_failed(make_video: MakeVideo) -> None:
    plugin = Gated({1: PipelineError("bad")})
    plugin.hold(0)

    def open_when_the_other_thread_has_ended() -> None:
        plugin.wait_until_begun(0, 1)
        plugin.threads[1].join(SECONDS)
        plugin.let_go(0)

    opener = threading.Thread(target=open_when_the_other_thread_has_ended)
    opener.start()

    with pytest.raises(PipelineError, match=r"^Frame 1: "):
        service(plugin, 1).run_on_file(film(make_video, 20), "level")
    opener.join()

    assert sorted(plugin.begun) == [0, 1]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_the_decoder_comes_after_all_frames_before_it(
    make_video: MakeVideo, threads: int
) -> None:
    file = zero(film(make_video, 20, encoding={"g": "1"}), range(8, 20))
    seen: list[int] = []

    with pytest.raises(InvalidVideoError, match="Only 8 of its 20 frames can be decoded"):
        seen.extend(indexes(service(Gated(), threads).iter_file(file, "level")))

    assert seen == list(range(8))
    assert pool_threads() == []


def test_a_generator_that_is_closed_early_ends_its_threads(make_video: MakeVideo) -> None:
    items = service(Gated(), 2).iter_file(film(make_video, 25), "level")
    next(items)
    assert sorted(pool_threads()) == [
        "frame decoder",
        "frame processor 1",
        "frame processor 2",
        "frame processor 3",
    ]

    assert isinstance(items, Generator)
    items.close()

    assert pool_threads() == []


def test_a_run_to_the_end_leaves_no_thread(make_video: MakeVideo) -> None:
    assert len(service(Gated(), 3).run_on_file(film(make_video, 5), "level")) == 5
    assert pool_threads() == []


def test_progress_is_reported_by_the_thread_that_iterates(make_video: MakeVideo) -> None:
    threads = set()

    list(
        service(Gated(), 2).iter_file(
            film(make_video, 9), "level", on_progress=lambda _: threads.add(threading.current_thread())
        )
    )

    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("stride", [1, 4])
def test_progress_is_reported_while_a_slow_frame_is_awaited(make_video: MakeVideo, stride: int) -> None:
    """Frame 0 goes on when a sign of life has come although it has not: the decoder or frame 4 moved."""
    plugin = Gated()
    plugin.hold(0)
    reports: list[float] = []

    def on_progress(fraction: float) -> None:
        reports.append(fraction)
        plugin.let_go(0)

    items = service(plugin, 2).iter_file(film(make_video, 9), "level", stride, on_progress=on_progress)

    assert next(indexes(items)) == 0
    assert set(reports) == {0.0}
    list(items)
    assert reports == sorted(reports)
    assert sorted(set(reports)) == pytest.approx([n / 9 for n in range(10)])


def test_frames_left_out_are_never_converted(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[int] = []
    convert = Frame.image

    def counted(frame: Frame) -> Any:
        converted.append(frame.index)
        return convert(frame)

    monkeypatch.setattr(Frame, "image", counted)

    list(service(Gated(), 2).iter_file(film(make_video, 12), "level", 4, start_after=3))

    assert sorted(converted) == [4, 8]


class Still:
    """A frame without pixels; `alive` counts those that exist."""

    alive = most_alive = 0

    def __init__(self, index: int, look: int) -> None:
        self.index, self.timestamp, self.look = index, index / 25, look
        Still.alive += 1
        Still.most_alive = max(Still.alive, Still.most_alive)

    def __del__(self) -> None:
        Still.alive -= 1

    def is_identical(self, other: Still) -> bool:
        return self.look == other.look


def pool(
    frames: Iterator[Still], process: Callable[[Any], Any], threads: int = 2, stride: int = 1
) -> FramePool[Any]:
    made: Any = frames
    return FramePool(made, lambda index: index % stride == 0, process, threads)


@pytest.mark.parametrize("length", [50, 5000])
def test_a_handful_of_frames_is_in_memory_whatever_the_length(length: int) -> None:
    Still.alive = Still.most_alive = 0

    with pool((Still(n, n) for n in range(length)), lambda frame: frame.index) as work:
        results = [task.result for task in work.tasks(lambda: None)]

    assert results == list(range(length))
    assert Still.most_alive <= 2 * 2 + 1 + 3


def test_a_consumer_that_pauses_holds_the_decoder() -> None:
    given = 0
    full = threading.Event()

    def frames() -> Iterator[Still]:
        nonlocal given
        for number in range(10_000):
            given += 1
            if given == 6:
                full.set()
            yield Still(number, number)

    with pool(frames(), lambda frame: frame.index) as work:
        tasks = work.tasks(lambda: None)
        next(tasks)
        assert full.wait(SECONDS)

    assert given <= 8


def test_frames_left_out_are_decoded_ahead_within_bounds() -> None:
    done = threading.Event()
    given = 0

    def frames() -> Iterator[Still]:
        nonlocal given
        for number in range(100_000):
            given += 1
            if given == 257:
                done.set()
            yield Still(number, number)

    with pool(frames(), lambda _: done.wait(SECONDS), stride=1_000_000) as work:
        tasks = work.tasks(lambda: None)
        assert next(tasks).result is True

    assert given <= 300


def test_a_frame_with_the_pixels_of_the_one_before_is_not_processed_again() -> None:
    processed: list[int] = []

    def process(frame: Any) -> int:
        processed.append(frame.index)
        return int(frame.look)

    looks = [5, 5, 5, 6, 6, 5]
    with pool((Still(n, look) for n, look in enumerate(looks)), process) as work:
        results = [
            (task.result if task.same_as is None else task.same_as.result)
            for task in work.tasks(lambda: None)
        ]

    assert results == looks
    assert sorted(processed) == [0, 3, 5]


def test_items_of_equal_frames_share_nothing(make_video: MakeVideo) -> None:
    class Lists(Gated):
        def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
            super().run_tool(tool, inputs)
            return {"level": [1]}

    plugin = Lists()
    file = make_video([flat(32, 32, 50)] * 3)
    items: Sequence[Any] = service(plugin, 2).run_on_file(file, "level")
    first, second, third = items

    first["result"]["level"].append(2)

    assert plugin.begun == [5]
    assert (second["result"], third["result"]) == (
        {"level": [1], "timestamp": 0.04},
        {"level": [1], "timestamp": 0.08},
    )


def test_a_picture_that_differs_in_one_pixel_is_another(make_video: MakeVideo) -> None:
    pictures = [flat(34, 32, 50) for _ in range(3)]
    pictures[1][31, 33] = 60
    plugin = Gated()
    file = make_video(pictures, codec="libx264", pixels="yuv444p")

    service(plugin, 1).run_on_file(file, "level")

    assert len(plugin.begun) == 3


def test_equal_pictures_of_every_layout_are_known(make_video: MakeVideo) -> None:
    rng = np.random.default_rng(3)
    for pixels in ("yuv420p", "yuv444p", "yuv420p10le"):
        plugin = Gated()
        # One colour, which an encoder repeats exactly; noise it would go on refining.
        still = np.full((48, 50, 3), rng.integers(0, 255, 3), np.uint8)
        service(plugin, 1).run_on_file(make_video([still] * 12, pixels=pixels), "level")
        assert len(plugin.begun) < 12
