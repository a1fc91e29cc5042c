"""The progress of a video: a fraction that never decreases and never exceeds 1."""

from __future__ import annotations


class Progress:
    """Compares decoded frames with the declared number of frames, or their time with the duration.

    Args:
        declared_frames: The number of frames that the file declares; 0 when unknown.
        duration: The duration in seconds; None when unknown.
        last_index: The last frame that will be decoded if the job limits it; None if it does not.

    Attributes:
        fraction: The progress so far, from 0 to 1.
    """

    def __init__(self, declared_frames: int, duration: float | None, last_index: int | None) -> None:
        self._declared_frames = declared_frames
        self._duration = duration
        self._last_index = last_index
        self._start: float | None = None
        self.fraction = 0.0

    def after(self, index: int, timestamp: float) -> float:
        """Counts a decoded frame.

        Args:
            index: The frame's index.
            timestamp: The frame's time in seconds.

        Returns:
            The fraction that is done with this frame.
        """
        # A track may start at any time of its clock.
        if self._start is None:
            self._start = timestamp
        fractions = [self.fraction]
        if self._last_index is not None:
            fractions.append((index + 1) / (self._last_index + 1))
        if self._declared_frames:
            fractions.append((index + 1) / self._declared_frames)
        elif self._duration:
            fractions.append((timestamp - self._start) / self._duration)
        self.fraction = min(1.0, max(fractions))
        return self.fraction
