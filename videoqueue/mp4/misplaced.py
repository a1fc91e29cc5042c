"""Finds top-level boxes whose types belong inside another box.

Players skip them. FFmpeg reads a box of these types at any level. It may refuse the whole file because such a
box is truncated, or use its tables for the last track.
"""

from __future__ import annotations

from array import array
from typing import Final

_TYPES: Final = """
    AALP ACLR adrm alac amve APRG apvC ARES av1C avcC avss chan chap chnl chpl clap clli cmov co64 CoLL
    colr ctts dac3 ddts dec3 dfLa dinf dmlp dOps DpxE dref dvc1 dvcC dvvC dvwC edts elst enda esds evcC
    fiel frma glbl hdlr hfov hvcC iacb idat iinf iloc ilst imir iprp iref irot ispe jp2h kind lhvC lvcC
    mdcv mdhd mdia minf mvex mvhd pasp pcmC pitm pssh SA3D saio saiz SAND sbas sbgp schi schm sdtp senc
    sgpd sinf SmDm srat st3d stbl stco stps strf stsc stsd stss stsz stts stz2 sv3d tenc tfdt tfhd tkhd
    tmcd traf trak tref trex trun udta uuid vexu vpcC vvcC wave wfex
"""
#: All types that FFmpeg 8.1 reads, except those that belong at the top level. Only the first `ftyp` does.
MISPLACED: Final = frozenset(name.encode() for name in _TYPES.split()) | {b"SMI ", b"ftyp"}


class MisplacedBoxes:
    """The top-level boxes of a file that FFmpeg must not read.

    Attributes:
        types_at: Positions in the file of their types, in bytes, ascending.
    """

    def __init__(self) -> None:
        self.types_at = array("Q")
        self._has_file_type = False

    def look(self, kind: bytes, start: int) -> None:
        """Takes the type of a top-level box and the position where it begins."""
        if kind not in MISPLACED:
            return
        if kind == b"ftyp" and not self._has_file_type:
            self._has_file_type = True
            return
        self.types_at.append(start + 4)
