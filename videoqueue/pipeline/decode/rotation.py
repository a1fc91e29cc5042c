"""Turns a decoded picture the way a player shows it, by the track's display matrix.

The matrix maps a point of the picture to the screen: x' = a*x + c*y, y' = b*x + d*y, with y pointing down.
It lies in memory as nine 32-bit integers a, b, u, c, d, v, x, y, w. Phones write quarter turns and mirrors;
other angles are taken as the nearest quarter turn, scales are left out, and a matrix of zeros turns nothing.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

_MATRIX_BYTES = 36


def is_quarter_turn(matrix: bytes | None) -> bool:
    """Returns True when a display matrix swaps height and width; False without a matrix."""
    if matrix is None or len(matrix) < _MATRIX_BYTES:
        return False
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    return bool(abs(b) + abs(c) > abs(a) + abs(d))


def apply_display_matrix(image: npt.NDArray[np.uint8], matrix: bytes | None) -> npt.NDArray[np.uint8]:
    """Applies the display matrix to an image (height, width, 3); a quarter turn swaps height and width.

    Returns: an array that is C-contiguous. The image need not be: FFmpeg pads its rows.
    """
    if matrix is None or len(matrix) < _MATRIX_BYTES:
        return np.ascontiguousarray(image)
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    quarter_turn = is_quarter_turn(matrix)
    if quarter_turn:
        image = image.transpose(1, 0, 2)
    right, down = (c, b) if quarter_turn else (a, d)
    if right < 0:
        image = image[:, ::-1]
    if down < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)
