"""Which ranges of time the results of frames are summed up in."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import process

from videoqueue.pipeline.decode.video_info import VideoInfo
from videoqueue.pipeline.results import FrameItem
from videoqueue.segments.build import segments_of
from videoqueue.segments.ranges import Segments, at_least

BOX = [10, 10, 200, 40]


def seen(label: str, confidence: float = 0.9, box: list[int] | None = None) -> dict[str, object]:
    return {"label": label, "confidence": confidence, "box": box or BOX}


def read(text: str, confidence: float = 0.9, box: list[int] | None = None) -> dict[str, object]:
    return {"text": text, "confidence": confidence, "box": box or BOX}


def item(index: int, time: float, **result: object) -> FrameItem:
    return cast(FrameItem, {"frame_index": index, "result": {**result, "timestamp": time}})


def items_of(frames: list[tuple[float, list[dict[str, object]]]]) -> list[FrameItem]:
    """Frames at these times with these blocks: texts and labels."""
    return [
        item(
            index,
            time,
            detections=[block for block in blocks if "label" in block],
            text_blocks=[block for block in blocks if "text" in block],
        )
        for index, (time, blocks) in enumerate(frames)
    ]


def made(frames: list[tuple[float, list[dict[str, object]]]], **video: Any) -> Segments:
    return segments_of(lambda: iter(items_of(frames)), VideoInfo(**video))


def times(ranges: list[Any]) -> list[tuple[float, float]]:
    return [(found["start"], found["end"]) for found in ranges]


def test_a_range_ends_at_the_time_of_the_next_processed_frame() -> None:
    found = made([(0.0, [seen("cat")]), (0.1, [seen("cat")]), (0.25, []), (0.3, [])])
    assert found["labels"] == [
        {"label": "cat", "start": 0.0, "end": 0.25, "confidence": 0.9, "peak_count": 1}
    ]


def test_a_range_to_the_last_frame_ends_one_median_step_later() -> None:
    frames: list[tuple[float, list[dict[str, object]]]] = [(time, [read("A")]) for time in (0, 0.1, 0.2, 0.5)]
    assert times(made(frames)["texts"]) == [(0, 0.6)]
    assert times(made(frames, duration=0.55)["texts"]) == [(0, 0.55)]
    # A duration that the frames contradict does not turn a range round.
    assert times(made(frames, duration=0.4)["texts"]) == [(0, 0.5)]


def test_the_only_frame_of_a_video_lasts_one_frame_of_the_video() -> None:
    assert times(made([(2.0, [read("A")])], fps=25.0)["texts"]) == [(2.0, 2.04)]
    assert times(made([(2.0, [read("A")])])["texts"]) == [(2.0, 2.0)]


@pytest.mark.parametrize(
    ("step", "missing", "closed"),
    [
        (0.1, 4, True),  # 0.4 s
        (0.1, 5, False),  # 0.5 s
        (0.125, 3, True),
        (0.125, 4, False),
        (1.0, 1, True),  # below two steps
        (1.0, 2, False),
        (0.3, 1, True),
        (0.3, 2, False),  # 0.6 s is not below two steps
    ],
)
def test_gaps_below_half_a_second_or_two_steps_are_closed(step: float, missing: int, closed: bool) -> None:
    shown = [True] * 5 + [False] * missing + [True] * 5
    frames = [
        (round(index * step, 6), [seen("cat"), read("A")] if is_shown else [])
        for index, is_shown in enumerate(shown)
    ]
    found = made(frames)
    assert (len(found["labels"]), len(found["texts"])) == ((1, 1) if closed else (2, 2))


def test_the_peak_count_is_of_one_frame_and_the_confidence_the_largest() -> None:
    found = made(
        [(0.0, [seen("cat", 0.6), seen("cat", 0.7), seen("cup", 0.5)]), (0.1, [seen("cat", 0.8)]), (0.2, [])]
    )
    assert [(label["label"], label["peak_count"], label["confidence"]) for label in found["labels"]] == [
        ("cat", 2, 0.8),
        ("cup", 1, 0.5),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße 5", "STRASSE5"),
        ("CAFÉ", "cafe"),
        ("Ngân hàng", "NGAN HANG"),
        ("ﬁnal", "Final"),
        ("Ａ１", "a1"),
        ("a\u00a0b", "A B"),
    ],
)
def test_case_accents_and_spaces_make_no_other_text_wherever_it_is(one: str, other: str) -> None:
    elsewhere = [500, 500, 700, 540]
    found = made([(0.0, [read(one, 0.8)]), (0.1, [read(other, 0.95, elsewhere)]), (0.2, [])])
    assert found["texts"] == [{"text": other, "start": 0.0, "end": 0.2, "confidence": 0.95, "box": elsewhere}]


def test_marks_that_change_a_word_of_another_script_are_no_accents() -> None:
    assert len(made([(0.0, [read("कि")]), (0.1, [read("कु")])])["texts"]) == 2
    assert len(made([(0.0, [read("か")]), (0.1, [read("が")])])["texts"]) == 2


def test_a_misread_letter_is_the_same_text_only_where_the_boxes_overlap() -> None:
    one, other = "BREAKING NEWS", "BREAKING NEW5"
    moved, elsewhere = [15, 12, 205, 42], [10, 300, 200, 330]
    same = made([(0.0, [read(one, 0.97)]), (0.1, [read(other, 0.9, moved)]), (0.2, [])])
    assert same["texts"] == [{"text": one, "start": 0.0, "end": 0.2, "confidence": 0.97, "box": BOX}]
    assert len(made([(0.0, [read(one)]), (0.1, [read(other, 0.9, elsewhere)])])["texts"]) == 2
    assert len(made([(0.0, [read("12:05")]), (0.1, [read("12:06")])])["texts"]) == 2


def test_the_surest_spelling_is_shown_with_its_box() -> None:
    moved = [12, 12, 202, 42]
    found = made(
        [
            (0.0, [read("BREAKING NEW5", 0.7)]),
            (0.1, [read("BREAKING NEWS", 0.98, moved)]),
            (0.2, [read("BREAKlNG NEWS", 0.8)]),
        ]
    )
    assert [(text["text"], text["confidence"], text["box"]) for text in found["texts"]] == [
        ("BREAKING NEWS", 0.98, moved)
    ]


def test_two_similar_lines_in_one_picture_are_two_texts() -> None:
    first, second = [10, 10, 300, 42], [10, 40, 300, 72]  # they touch
    lines = [
        read("Chapter number one: 1 of 20", 0.9, first),
        read("Chapter number one: 2 of 20", 0.9, second),
    ]
    misread = [
        read("Chapter nunber one: 1 of 20", 0.8, first),
        read("Chapter nunber one: 2 of 20", 0.8, second),
    ]
    found = made([(0.0, lines), (0.1, misread), (0.2, lines)])
    assert [text["text"] for text in found["texts"]] == [line["text"] for line in lines]


def test_ranges_are_sorted_by_start_then_by_label_or_text() -> None:
    found = made([(0.0, [read("b"), read("a")]), (0.1, [read("0"), seen("z"), seen("y")]), (0.2, [])])
    assert [text["text"] for text in found["texts"]] == ["a", "b", "0"]
    assert [label["label"] for label in found["labels"]] == ["y", "z"]


def test_what_a_plugin_of_others_puts_under_these_names_is_left_out() -> None:
    odd: list[Any] = [None, 1, "x", {}, {"label": 1, "confidence": 1, "box": BOX}, {"label": "x", "box": BOX}]
    odd += [{"label": "x", "confidence": True, "box": BOX}, {"label": "x", "confidence": 1, "box": [1, 2]}]
    odd += [{"text": "x", "confidence": 1, "box": [1, 2, 3, None]}, read(" \u0301")]
    results: list[dict[str, Any]] = [
        {"detections": odd, "text_blocks": odd},
        {"detections": "x", "text_blocks": {"a": 1}},
        {"text": "only text"},
    ]
    items = [item(index, index / 10, **result) for index, result in enumerate(results)]
    items.append(cast(FrameItem, {"frame_index": 9, "result": {"text_blocks": [read("no time")]}}))
    assert segments_of(lambda: iter(items), VideoInfo()) == {"labels": [], "texts": [], "truncated": False}


def test_the_ranges_that_begin_first_are_kept_when_there_are_too_many() -> None:
    frames = [(float(index), [seen(f"label {index}"), read(f"{index * 7919}")]) for index in range(20)]
    frames += [(20.0 + index, [seen("label 0")]) for index in range(2)]
    found = segments_of(lambda: iter(items_of(frames)), VideoInfo(), max_ranges=10)
    assert found["truncated"]
    assert times(found["labels"]) == times(found["texts"]) == [(n, n + 1) for n in range(5)]
    assert not segments_of(lambda: iter(items_of(frames[:5])), VideoInfo(), max_ranges=10)["truncated"]


def test_only_sure_ranges_are_listed_on_request() -> None:
    found = made([(0.0, [seen("cat", 0.5), seen("cup", 0.8), read("A", 0.79), read("B", 0.81)])])
    sure = at_least(found, 0.8)
    assert [label["label"] for label in sure["labels"]] == ["cup"]
    assert [text["text"] for text in sure["texts"]] == ["B"]


def _lines(frames: int, lines: int, length: int, prefix: str = "") -> list[FrameItem]:
    """Frames in which no line is like another."""
    dice = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        item(
            index,
            index / 30,
            text_blocks=[read(prefix + "".join(dice.choices(letters, k=length))) for _ in range(lines)],
        )
        for index in range(frames)
    ]


def test_the_effort_of_comparing_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared is counted, because time depends on the machine."""
    compared = 0
    extract = process.extract

    def counting(key: str, choices: list[str], **given: Any) -> Any:
        nonlocal compared
        found = extract(key, choices, **given)
        compared += len(key) * len(choices) + len(found)
        return found

    monkeypatch.setattr(process, "extract", counting)
    monkeypatch.setattr("videoqueue.segments.texts.MAX_EFFORT", 50_000)
    unlike = _lines(10, 20, 20)
    assert len(segments_of(lambda: iter(unlike), VideoInfo())["texts"]) == 200
    assert 40_000 < compared <= 50_000
    compared = 0
    # Each is similar to each, so that boxes are compared as well.
    alike = _lines(10, 20, 2, prefix="x" * 38)
    segments_of(lambda: iter(alike), VideoInfo())
    assert 10_000 < compared <= 25_000
    # Equal texts are the same all the same.
    texts = segments_of(lambda: iter([*unlike, *_at_once(unlike)]), VideoInfo())["texts"]
    assert len(texts) == 200


def _at_once(items: list[FrameItem]) -> list[FrameItem]:
    blocks = [block for found in items for block in found["result"]["text_blocks"]]
    return [item(len(items), len(items) / 30, text_blocks=blocks)]


def test_long_texts_of_a_hostile_plugin_take_no_memory_beyond_their_own() -> None:
    """A folded text can be 18 times as long, and a surer reading of one word can have a million spaces."""
    blocks = [read("\ufdfa" * 11_000), read("word", 0.5), read("word" + " " * 9_000_000, 0.6)]
    tracemalloc.start()
    found = made([(0.0, blocks), (0.1, [])])["texts"]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(text["text"]) for text in found] == [4, 11_000]
    assert [text["confidence"] for text in found] == [0.5, 0.9]
    assert most < 30_000_000


def test_no_frames_have_no_ranges() -> None:
    assert made([]) == {"labels": [], "texts": [], "truncated": False}


def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    def peak(count: int) -> int:
        def items() -> Iterator[FrameItem]:
            for index in range(count):
                wobble = random.Random(index).random()
                blocks = [read("a long line of text", 0.8 + wobble / 10), read(f"page {index % 3}")]
                yield item(index, index / 30 + wobble / 100, text_blocks=blocks, detections=[seen("cat")])

        tracemalloc.start()
        segments_of(items, VideoInfo())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(10_000) < peak(1_000) + 1_500_000  # the different steps between frames


FRAMES = st.lists(
    st.tuples(st.integers(1, 8), st.lists(st.sampled_from("abc"), max_size=4)), min_size=1, max_size=60
)


@given(FRAMES)
def test_ranges_cover_each_sighting_and_nothing_but_sightings_and_short_gaps(
    frames: list[tuple[int, list[str]]],
) -> None:
    """Compares with a slow reference that merges the frames' own intervals."""
    clock = 0
    seen_at: list[tuple[float, list[dict[str, object]]]] = []
    for step, labels in frames:
        clock += step
        seen_at.append((clock / 10, [seen(label) for label in labels]))
    moments = [time for time, _ in seen_at]
    steps = sorted(round(later - time, 6) for time, later in pairwise(moments))
    middle = len(steps) // 2
    step_ = (steps[middle] + steps[~middle]) / 2 if steps else 0.0
    ends = [*moments[1:], round(moments[-1] + step_, 6)]
    gap = max(0.5, round(2 * step_, 6))
    expected = []
    for label in "abc":
        merged: list[list[float]] = []
        for (start, blocks), end in zip(seen_at, ends, strict=True):
            if any(block["label"] == label for block in blocks):
                if merged and round(start - merged[-1][1], 6) < gap:
                    merged[-1][1] = end
                else:
                    merged.append([start, end])
        expected += [(start, label, end) for start, end in merged]
    found = made(seen_at)["labels"]
    assert [(label["start"], label["label"], label["end"]) for label in found] == sorted(expected)


def test_results_are_read_once_unless_frames_are_far_apart() -> None:
    def reads(step: float) -> int:
        count = 0

        def items() -> Iterator[FrameItem]:
            nonlocal count
            count += 1
            yield from items_of([(round(n * step, 6), [read("A")]) for n in range(9)])

        opened: Callable[[], Iterator[FrameItem]] = items
        segments_of(opened, VideoInfo())
        return count

    assert (reads(0.25), reads(0.26)) == (1, 2)
