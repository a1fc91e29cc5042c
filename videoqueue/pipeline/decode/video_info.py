"""Facts of a video: size, frame rate, duration, codec, damaged frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Facts of one video; None where the file does not say, or where the run ended before it was known.

    `damaged_frames`: frames up to the last wanted one that could not be decoded. `width` and `height`: pixels
    of the picture that plugins get, so that boxes lie inside. `fps`: mean frames a second. `duration`:
    seconds until the last frame ends, by the clock of the frames' times. `codec`: FFmpeg's name, such
    as "h264".
    """

    damaged_frames: int | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    duration: float | None = None
    codec: str | None = None
