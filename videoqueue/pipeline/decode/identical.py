"""Tells whether two decoded pictures are the same, byte by byte, before anything is converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import av

# Besides the bytes, all that the conversion to BGR looks at.
_DECIDING = (
    "width",
    "height",
    "colorspace",
    "color_range",
    "color_primaries",
    "color_trc",
    "interlaced_frame",
)


def is_identical(first: av.VideoFrame, second: av.VideoFrame) -> bool:
    """True when both convert to the same image, display matrices aside; some tenths of a millisecond."""
    if first.format.name != second.format.name:
        return False
    if any(getattr(first, name) != getattr(second, name) for name in _DECIDING):
        return False
    # The small planes first: pictures that differ mostly differ in colour too.
    return all(
        np.array_equal(_rows(first, number), _rows(second, number))
        for number in reversed(range(len(first.planes)))
    )


def _rows(picture: av.VideoFrame, number: int) -> npt.NDArray[np.uint8]:
    """A plane's bytes, without those that only fill up its rows: they are left over from other pictures."""
    plane: Any = picture.planes[number]
    components: Any = picture.format.components
    rows: npt.NDArray[np.uint8] = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    if len(components) != len(picture.planes):
        return rows
    width = plane.width * ((components[number].bits + 7) // 8)
    return rows[: plane.height, :width]
