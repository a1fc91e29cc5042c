"""How large a picture is once its pixels are square."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

#: A pixel more oblong than this is taken for a mistake in the file.
_MOST_OBLONG: Final = 8


def square_size(width: int, height: int, pixel_aspect: tuple[int, int] | None) -> tuple[int, int]:
    """Returns width and height in square pixels, of a picture stored with pixels of another shape.

    `pixel_aspect` is width : height of one pixel, as in the box `pasp` (ISO/IEC 14496-12, 12.1.4); None means
    square. Wide pixels widen the picture, tall ones heighten it, so that no stored pixel is lost. The result
    is rounded to whole pixels, halves to the even number. A ratio outside 1:8 to 8:1, or with a zero, counts
    as square.
    """
    if pixel_aspect is None or min(pixel_aspect) <= 0:
        return width, height
    ratio = Fraction(*pixel_aspect)
    if not Fraction(1, _MOST_OBLONG) <= ratio <= _MOST_OBLONG:
        return width, height
    return (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))
