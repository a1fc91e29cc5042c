"""How far a video is: a fraction that never goes down and never passes 1."""

from __future__ import annotations


class Progress:
    """Counts decoded frames against the frames declared, or their time against the duration.

    Args:
        declared_frames: 0 when unknown.
        duration: seconds, None when unknown.
        last_index: the last frame that will be decoded when the job has a limit of its own, else None.
    """

    def __init__(self, declared_frames: int, duration: float | None, last_index: int | None) -> None:
        self._declared_frames = declared_frames
        self._duration = duration
        self._last_index = last_index
        self._start: float | None = None
        self.fraction = 0.0

    def after(self, index: int, timestamp: float) -> float:
        """The fraction reached with this frame; `timestamp` in seconds."""
        # A track may begin at any time of its clock.
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
