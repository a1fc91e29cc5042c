"""Copies pictures out of the decoder's buffers, so that a damaged video always shows the same pixels.

FFmpeg's HEVC decoder leaves the rest of a damaged picture as it finds it in the buffer, often without marking
the picture corrupt. The rest belongs to an earlier picture. Which one depends on how long buffers were held,
and so on the number of threads. Buffers that are returned at once are reused in a fixed order.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av.filter

if TYPE_CHECKING:
    import av

#: Codecs whose decoder shows what was left in a buffer, by FFmpeg's canonical name.
LEAVING_REST: Final = frozenset({"hevc"})


class Detacher:
    """Copies pictures with all their properties and side data."""

    def __init__(self) -> None:
        self._form: tuple[int, int, str] | None = None
        self._graph: Any = None

    def copy(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Returns the same picture in a buffer of its own.

        Raises:
            av.error.FFmpegError, MemoryError: an allocation failed.
        """
        form = picture.width, picture.height, picture.format.name
        if form != self._form:
            self._graph, self._form = _graph(picture), form
        self._graph.vpush(picture)
        copied: av.VideoFrame = self._graph.vpull()
        return copied


def _graph(picture: av.VideoFrame) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=picture.time_base or Fraction(1, 1),
    )
    graph.link_nodes(source, graph.add("copy"), graph.add("buffersink")).configure()
    return graph
