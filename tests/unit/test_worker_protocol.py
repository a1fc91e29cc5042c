"""What a worker makes of messages, also of those that no honest child sends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from videoqueue.errors import (
    InvalidVideoError,
    NoFrameError,
    OutOfMemoryError,
    PermanentError,
    SandboxCrashedError,
    TransientError,
)
from videoqueue.pipeline.video_info import VideoInfo
from videoqueue.worker.protocol import (
    LENGTH,
    OUTCOMES,
    Alive,
    Seen,
    error_of,
    pack,
    report_of,
    unpack,
    video_of,
)

ITEM = {"frame_index": 4, "result": {"text": "ä"}}


def test_a_message_comes_back_as_it_was() -> None:
    message = {"type": "item", "item": ITEM}
    packed = pack(message)
    (length,) = LENGTH.unpack(packed[: LENGTH.size])
    assert length == len(packed) - LENGTH.size
    assert unpack(packed[LENGTH.size :]) == message


def test_numbers_that_json_does_not_know_are_not_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        pack({"progress": float("nan")})


@pytest.mark.parametrize("data", [b"", b"\xff", b"[1]", b'"done"', b"{", b"[" * 100_000])
def test_what_is_no_message_is_a_crash(data: bytes) -> None:
    with pytest.raises(SandboxCrashedError, match="makes no sense"):
        unpack(data)


@pytest.mark.parametrize("reached", [None, 3])
def test_a_frame_and_its_size(reached: int | None) -> None:
    assert report_of({"type": "item", "item": ITEM}, 99, reached) == Seen(ITEM, 99)


@pytest.mark.parametrize(("sent", "taken"), [(0.5, 0.5), (1, 1.0), (7, 1.0), (-1, 0.0)])
def test_a_sign_of_life_stays_a_fraction(sent: float, taken: float) -> None:
    assert report_of({"type": "alive", "progress": sent}, 0, None) == Alive(taken)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "item", "item": ITEM},  # behind frame 4
        {"type": "item", "item": {"frame_index": "4", "result": {}}},
        {"type": "item", "item": {"frame_index": 9, "result": []}},
        {"type": "item"},
        {"type": "alive", "progress": "much"},
        {"type": "exec"},
        {},
    ],
)
def test_a_message_that_no_child_sends_is_a_crash(message: dict[str, Any]) -> None:
    with pytest.raises(SandboxCrashedError, match="makes no sense"):
        report_of(message, 0, 4)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("bad_video", InvalidVideoError),
        ("no_frame", NoFrameError),
        ("out_of_memory", OutOfMemoryError),
        ("failed", PermanentError),
        ("again", TransientError),
    ],
)
def test_an_outcome_is_an_error_with_its_words(kind: str, error: type[Exception]) -> None:
    outcome = {"type": kind, "code": "truncated_mp4", "message": "It ends early."}
    found = error_of(json.loads(json.dumps(outcome)))
    assert (type(found), str(found)) == (error, "It ends early.")


def test_done_is_no_error_and_an_outcome_without_words_is_a_crash() -> None:
    assert error_of({"type": "done"}) is None
    for kind in OUTCOMES - {"done"}:
        assert isinstance(error_of({"type": kind}), SandboxCrashedError)


def test_an_outcome_says_what_is_known_of_the_video() -> None:
    video = VideoInfo(damaged_frames=2, width=640, height=360, fps=25, duration=4.5, codec="mpeg2video")
    for kind in OUTCOMES:
        assert video_of({"type": kind, **vars(video)}) == video
    assert video_of({"type": "done"}) == VideoInfo()


@pytest.mark.parametrize(
    "value", [-1, 10**30, True, "1 ", [], float("inf"), float("nan"), "h264\n", "x" * 33]
)
def test_what_makes_no_sense_about_the_video_is_unknown(value: object) -> None:
    outcome = {"type": "done", **dict.fromkeys(vars(VideoInfo()), value)}
    assert video_of(outcome) == VideoInfo()
