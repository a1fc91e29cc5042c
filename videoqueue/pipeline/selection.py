"""Which frames of a video are processed."""

from __future__ import annotations

from dataclasses import dataclass

from videoqueue.errors import PermanentError


@dataclass(frozen=True)
class FrameRequest:
    """The frames that a caller asks for, before the version of the pipeline is known.

    Attributes:
        stride: Every `stride`-th frame is processed, frame 0 included.
        max_frames: The most frames that are processed, counted from the start of the file; None: all.
        start_after: The last frame that an earlier run has processed; None: there was none.
        version: The version of the pipeline in the earlier run; None: it does not matter.

    Raises:
        PermanentError: `stride` or `max_frames` is not a whole number of at least 1.
    """

    stride: int
    max_frames: int | None
    start_after: int | None
    version: str | None

    def __post_init__(self) -> None:
        _check_count("frame_stride", self.stride)
        if self.max_frames is not None:
            _check_count("max_frames", self.max_frames)

    def for_version(self, version: str) -> FrameSelection:
        """Returns the frames to process. Those of an earlier run are repeated if its version was another."""
        first = 0
        if self.start_after is not None and self.version in (None, version):
            first = self.start_after + 1
        last = None if self.max_frames is None else (self.max_frames - 1) * self.stride
        return FrameSelection(self.stride, first, last)


@dataclass(frozen=True)
class FrameSelection:
    """Every `stride`-th frame from index `first` to `last`; `last` None: to the end of the video."""

    stride: int
    first: int
    last: int | None

    def includes(self, index: int) -> bool:
        """Returns whether the frame is processed. `index` must not exceed `last`."""
        return index >= self.first and index % self.stride == 0


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PermanentError(f"{name} is {value!r}: it takes a whole number of at least 1.")
