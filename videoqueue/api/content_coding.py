"""Which content coding a client wants, and gzip as a stream."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from werkzeug.datastructures import Accept

_LEVEL: Final = 1
#: As zlib has it: a gzip header around a window of 32 KiB.
_GZIP: Final = 31


def wants_gzip(accepted: Accept) -> bool:
    """By quality; gzip when it is liked as well as the plain body, or when that one is refused."""
    offered = {name.lower(): quality for name, quality in accepted}
    rest = offered.get("*", 0)
    gzip = max(offered.get("gzip", rest), offered.get("x-gzip", 0))
    if "identity" in offered:
        return gzip >= offered["identity"] if gzip else offered["identity"] == 0 and "gzip" not in offered
    return gzip > 0


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in give the same bytes out: there is no time in the header."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        if packed := compressor.compress(piece):
            yield packed
    yield compressor.flush()
