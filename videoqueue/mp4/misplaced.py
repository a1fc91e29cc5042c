"""Finds boxes outside of the header whose types belong inside of another box.

Players skip them. FFmpeg opens a box of these types wherever it is: it may refuse the whole file for one that
is cut off, or read the tables in it as those of the last track.
"""

from __future__ import annotations

from array import array
from typing import Final

_TYPES: Final = """
    AALP ACLR adrm alac amve APRG apvC ARES auxC av1C avcC avss btrt chan chap chnl chpl clap clli cmov
    co64 CoLL coll colr ctts dac3 dac4 ddts dec3 dfLa dinf dmlp dOps DpxE dref dvc1 dvcC dvvC dvwC edts
    elst emsg enda esds evcC eyes fiel fill frma glbl hdlr hero hfov hvcC iacb idat iinf iloc ilst imir
    infe ipco ipma iprp iref irot ispe jp2h keys kind lhvC lvcC mdcv mdhd mdia mdta mehd minf mvex mvhd
    pasp pcmC pitm proj pssh SA3D saio saiz SAND sbas sbgp schi schm sdtp senc sgpd sinf SmDm srat st3d
    stbl stco stps strf stsc stsd stss stsz stts stz2 sv3d tenc tfdt tfhd tkhd tmcd traf trak tref trex
    trun udta uuid vexu vpcC vvcC wave wfex
"""
#: Types that nothing outside of the header is read for, but the type of the file.
MISPLACED: Final = frozenset(name.encode() for name in _TYPES.split()) | {b"SMI ", b"ftyp"}


class MisplacedBoxes:
    """The outermost boxes of a file that FFmpeg must not open.

    Attributes:
        types_at: Positions in the file of their types, in bytes, ascending.
    """

    def __init__(self) -> None:
        self.types_at = array("Q")
        self._has_file_type = False

    def look(self, kind: bytes, start: int) -> None:
        """Takes the type of an outermost box and the position where it begins."""
        if kind not in MISPLACED:
            return
        if kind == b"ftyp" and not self._has_file_type:
            self._has_file_type = True
            return
        self.types_at.append(start + 4)
