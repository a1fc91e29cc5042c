"""How results are stored in a chunk: equal consecutive ones once, and compressed.

The payload of a chunk with the encoding `LINES` is zlib (RFC 1950) of lines, each ended by a line feed:

    {"frame_index":0,"result":{...}}                      an item, as it is served
    {"frame_index":\\0,"result":{...,"timestamp":\\0}}      a template: an item with two NUL bytes
    1,0.04                                                an item: what belongs in place of these two

JSON escapes control characters (RFC 8259, section 7), so no item contains a line feed or a NUL byte. Chunks
of older releases have no encoding: their payload is the JSON of the items, joined by commas.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from videoqueue.errors import ResultsTooLargeError

LINES: Final = "zlib-lines"
#: The largest item as it is served. A message of a child has the same limit, and an item that was sent as the
#: service writes JSON is not larger than its message. But "1e15" is served as "1000000000000000.0".
MAX_ITEM_BYTES: Final = 16 * 1024 * 1024
#: Nearly equal pages of text need a third of what they need with level 1, and are read twice as fast. Writing
#: 170 MB/s is much faster than results are made.
_LEVEL: Final = 6
_HEAD, _MIDDLE, _TIME = b'{"frame_index":', b',"result":{', b'"timestamp":'


@dataclass(frozen=True)
class ChunkForm:
    """How the payload of a chunk is stored, and what is known about it without reading it.

    Attributes:
        encoding: `LINES`, or None for JSON.
        first_time: the timestamp of the first item, in seconds.
        served_bytes: the bytes of the items as they are served, with the commas between them.
    """

    encoding: str | None = None
    first_time: float | None = None
    served_bytes: int | None = None


#: The form of a chunk of an older release.
JSON_FORM: Final = ChunkForm()


@dataclass(frozen=True)
class EncodedChunk:
    """A chunk to be stored: its payload, the frame index of each item, and its form."""

    payload: bytes
    frames: list[int]
    form: ChunkForm


def encode_chunk(items: Iterable[Mapping[str, object]]) -> EncodedChunk:
    """Returns the chunk of consecutive items.

    Raises:
        ValueError: as in `ChunkEncoder.add`.
    """
    encoder = ChunkEncoder()
    for item in items:
        encoder.add(item)
    return encoder.chunk()


def to_json(value: object) -> bytes:
    """Returns a value as it is served. Equal values have equal bytes.

    Raises:
        ValueError: it holds NaN or an infinity, which JSON cannot represent (RFC 8259, section 6).
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


@dataclass
class ChunkEncoder:
    """Encodes the items of one chunk, one after the other. Keeps only what is compressed, and one item.

    Attributes:
        frames: the frame index of each item.
        served_bytes: the bytes of the items as they are served, with the commas between them.
    """

    frames: list[int] = field(default_factory=list)
    served_bytes: int = 0
    _first_time: float | None = None
    _compressor: zlib._Compress = field(default_factory=lambda: zlib.compressobj(_LEVEL))
    _parts: list[bytes] = field(default_factory=list)
    _compressed: int = 0
    #: The last item as a template, and what belongs into it.
    _template: bytes = b""
    _values: bytes = b""
    #: The last item, if it is not written yet: the next one may be equal.
    _held: bytes = b""

    @property
    def stored_bytes(self) -> int:
        """Returns the size of the payload so far, without what is in the compressor's buffer.

        The last item counts uncompressed if the next one decides how it is stored.
        """
        return self._compressed + len(self._held)

    def add(self, item: Mapping[str, object]) -> None:
        """Appends an item.

        Args:
            item: `frame_index` and `result`. Its result is stored again only if it differs from the one
                before in more than `timestamp`.

        Raises:
            ValueError: it holds NaN or an infinity.
            ResultsTooLargeError: it is larger than `MAX_ITEM_BYTES`. It is not appended.
        """
        text, template, values = _parsed(item)
        self.served_bytes += len(text) + (1 if self.frames else 0)
        if not self.frames:
            self._first_time = _time_of(item)
        self.frames.append(int(item["frame_index"]))  # type: ignore[call-overload]
        if template and template == self._template:
            if self._held:
                self._write(self._template, self._values)
                self._held = b""
            self._write(values)
        else:
            self._flush()
            self._template, self._values, self._held = template, values, text

    def chunk(self) -> EncodedChunk:
        """Returns the chunk of the items so far. Further items can be added."""
        compressor = self._compressor.copy()
        rest = compressor.compress(self._held + b"\n") if self._held else b""
        payload = b"".join([*self._parts, rest, compressor.flush()])
        return EncodedChunk(payload, list(self.frames), ChunkForm(LINES, self._first_time, self.served_bytes))

    def _flush(self) -> None:
        if self._held:
            self._write(self._held)
            self._held = b""

    def _write(self, *lines: bytes) -> None:
        for line in lines:
            part = self._compressor.compress(line) + self._compressor.compress(b"\n")
            if part:
                self._compressed += len(part)
                self._parts.append(part)


def _time_of(item: Mapping[str, object]) -> float | None:
    result = item.get("result")
    time = result.get("timestamp") if isinstance(result, Mapping) else None
    return None if isinstance(time, bool) or not isinstance(time, int | float) else float(time)


def _parsed(item: Mapping[str, object]) -> tuple[bytes, bytes, bytes]:
    """Returns an item as it is served, its template, and the values of it; "" without a timestamp."""
    index, result = item["frame_index"], item.get("result")
    if list(item) != ["frame_index", "result"] or not isinstance(result, Mapping) or _time_of(item) is None:
        return _bounded(to_json(item)), b"", b""
    names = list(result)
    place = names.index("timestamp")
    before = to_json({name: result[name] for name in names[:place]})[1:-1]
    after = to_json({name: result[name] for name in names[place + 1 :]})[1:-1]
    start = _MIDDLE + before + (b"," if before else b"") + _TIME
    end = (b"," if after else b"") + after + b"}}"
    number, time = to_json(index), to_json(result["timestamp"])
    text = _bounded(b"".join((_HEAD, number, start, time, end)))
    return text, b"".join((_HEAD, b"\0", start, b"\0", end)), number + b"," + time


def _bounded(text: bytes) -> bytes:
    if len(text) > MAX_ITEM_BYTES:
        raise ResultsTooLargeError(
            f"The result of a frame is larger than {MAX_ITEM_BYTES} bytes. Use another pipeline."
        )
    return text
