"""Reads the display matrix of decoded pictures, whatever else FFmpeg has attached to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from av.sidedata.sidedata import Type

if TYPE_CHECKING:
    import av


def _unknown_type(types: type[Type], value: int) -> Type:
    unknown: Any = object.__new__(types)
    unknown._name_ = f"UNKNOWN_{value}"
    unknown._value_ = value
    result: Type = unknown
    return result


# PyAV lists all side data of a frame at once. It raises ValueError at a type that its enumeration does not
# have. A newer FFmpeg has such types, for example those of spatial video (MV-HEVC).
Type._missing_ = classmethod(_unknown_type)  # type: ignore[assignment, method-assign]


class MatrixReader:
    """Reads the display matrix of a video's pictures, and reads it again only when the rotation changes.

    Reading `side_data` creates a reference cycle, so the pixels would stay in memory until the garbage
    collector runs.
    """

    def __init__(self) -> None:
        self._last: tuple[int, bytes | None] | None = None

    def matrix_of(self, picture: av.VideoFrame) -> bytes | None:
        """Returns the nine 32-bit numbers of the matrix, or None when the picture has none."""
        rotation = picture.rotation
        if self._last is None or self._last[0] != rotation:
            matrix: Any = picture.side_data.get("DISPLAYMATRIX")
            self._last = (rotation, None if matrix is None else bytes(matrix))
        return self._last[1]
