"""The picture size for a frame: its shape instead of a square, so that less of the picture is padding."""

from __future__ import annotations

from dataclasses import dataclass

#: The longest side of a picture, in strides: a longer one makes the model slower than its pixels say.
_LONGEST_SIDE = 40


@dataclass(frozen=True)
class FrameShapes:
    """What sizes a model can take.

    Attributes:
        stride: Both sides are multiples of it; pixels.
        pixels: The most pixels of a picture.

    Raises:
        ValueError: There is no such size.
    """

    stride: int
    pixels: int

    def __post_init__(self) -> None:
        if self.stride < 1 or self.pixels < self.stride**2:
            raise ValueError("no picture has so few pixels")

    def size_for(self, width: int, height: int) -> tuple[int, int]:
        """Returns the size (height, width) in which a frame is largest, with the least padding.

        Args:
            width: The width of the frame in pixels.
            height: The height of the frame in pixels.

        Example:
            >>> FrameShapes(stride=32, pixels=416 * 416).size_for(640, 480)
            (352, 480)
        """
        cells = self.pixels // self.stride**2
        sides = range(1, min(cells, _LONGEST_SIDE) + 1)
        sizes = [(rows, columns) for rows in sides for columns in sides if rows * columns <= cells]
        rows, columns = max(
            sizes, key=lambda size: (min(size[0] / height, size[1] / width), -size[0] * size[1])
        )
        return rows * self.stride, columns * self.stride
