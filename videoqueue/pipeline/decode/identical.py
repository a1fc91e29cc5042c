"""Compares two decoded pictures byte by byte, before their pixels are converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import av

# Besides the bytes, these decide the conversion to BGR.
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
    """Returns True when both convert to the same image. Display matrices are not compared."""
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
    """Returns a plane's bytes without the padding of its rows, which holds bytes of other pictures."""
    plane: Any = picture.planes[number]
    components: Any = picture.format.components
    rows: npt.NDArray[np.uint8] = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    if len(components) != len(picture.planes):
        return rows
    width = plane.width * ((components[number].bits + 7) // 8)
    return rows[: plane.height, :width]
