"""Looks at the first boxes of a file: is it an MP4, a segment of a stream, or another format?"""

from __future__ import annotations

from typing import Final

from videoqueue.mp4.refusals import refuse, refuse_as_foreign
from videoqueue.mp4.walk import HEADER

# Boxes by which a file is known as MP4 or QuickTime.
_KNOWN: Final = frozenset({b"ftyp", b"wide", b"mdat", b"moov", b"free", b"skip", b"pnot", b"uuid"})
_SEGMENT: Final = frozenset({b"styp", b"moof", b"sidx"})
_OTHER_FORMATS: Final = {
    b"RIFF": "an AVI",
    b"\x1aE\xdf\xa3": "a WebM or Matroska",
    b"OggS": "an Ogg",
    b"FLV\x01": "an FLV",
}
#: Bytes. An unknown box of this size or more is not a box: the first four characters of a text file, read as
#: a size, are larger.
_LARGE: Final = 1 << 28


class Beginning:
    """Looks at the outermost boxes up to the first one that belongs to an MP4."""

    def __init__(self) -> None:
        self.is_known = self._segment = False

    def look(self, head: bytes) -> None:
        """Takes the first 8 bytes of the next box.

        Raises:
            InvalidVideoError: `not_mp4`, the bytes are something else.
        """
        size, kind = HEADER.unpack(head)
        for magic, name in _OTHER_FORMATS.items():
            if head.startswith(magic):
                refuse("not_mp4", f"This is {name} file, not an MP4. Convert it to MP4 and upload that.")
        self.is_known = kind in _KNOWN
        self._segment = self._segment or kind in _SEGMENT
        if kind == b"moof":
            _refuse_as_segment()
        if not self.is_known and not _may_be_box(size, kind):
            refuse_as_foreign()

    def end(self) -> None:
        """Ends the check: no header (moov) followed.

        Raises:
            InvalidVideoError: `not_mp4`, unless the file began like an MP4.
        """
        if self._segment:
            _refuse_as_segment()
        if not self.is_known:
            refuse_as_foreign()


def _may_be_box(size: int, kind: bytes) -> bool:
    """Whether this may be the header of an unknown box. A raw H.264 stream begins with 0, 0, 0, 1."""
    if size == 1:
        return all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in kind)
    return 8 <= size < _LARGE


def _refuse_as_segment() -> None:
    refuse("not_mp4", "This is one segment of a stream without its beginning. Upload the whole video.")
