"""Maps sample entries to codecs, by fourcc or by the object type in the `esds` box."""

from __future__ import annotations

_FOURCCS = {
    "h264": "AVC1 AVC2 AVC3 AVC4 DVA1 DVAV AIVX AVIN AVLG XALG RV64 AI12 AI13 AI15 AI16 AI1P AI1Q AI52 AI53"
    " AI55 AI56 AI5P AI5Q H264 X264 DAVC GAVC INMC Q264 SMV2 TSHD UMSV V264 VSSH",
    "hevc": "HEV1 HVC1 DVHE",
    "av1": "AV01",
    "vp9": "VP09 VP90",
    "mpeg4": "MP4V DIVX XVID DX50 FMP4 3IV2 MP4S M4S2 BLZ0 DCOD DIGI DIV1 DM4V DMK2 DREX DXGM DYM4 EM4A EPHV"
    " FFDS FVFW G264 GEOV GEOX GLV4 GMP4 GTM4 HDX4 M4CC M4T3 MNM4 MVXM PLV1 PM4V QMP4 RMP4 SEDG SIPP SM4V"
    " SMP4 SN40 ULDX UMP4 VIDM VSPX WAWV WV1F XVIX ZMP4",
    "mpeg2video": "MP2V M2V1 HDV1 HDV2 HDV3 HDV4 HDV5 HDV6 HDV7 HDV8 HDV9 HDVA MX3N MX3P MX4N MX4P MX5N MX5P"
    " XD51 XD54 XD55 XD59 XD5A XD5B XD5C XD5D XD5E XD5F XDH2 XDHD XDV1 XDV2 XDV3 XDV4 XDV5 XDV6 XDV7 XDV8"
    " XDV9 XDVA XDVB XDVC XDVD XDVE XDVF AVMP MPG2 MPGV DVR EM2V LMP2 M701 M702 M703 M704 M705 MMES PIM2 SLIF"
    " VCR2",
    "h263": "H263 S263 L263 M263 T263 U263 X263 LSVM VSM4 VX1K ZYGO",
}
#: Names of the codecs that are read.
CODECS = tuple(_FOURCCS)
_CODECS = {name.ljust(4).encode(): codec for codec, names in _FOURCCS.items() for name in names.split()}
_OBJECT_TYPES = {0x20: "mpeg4", 0x21: "h264", 0x23: "hevc", 0xB1: "vp9"}
_OBJECT_TYPES |= dict.fromkeys(range(0x60, 0x66), "mpeg2video")
_OTHER_OBJECT_TYPES = {0x33: "vvc", 0x6A: "mpeg1video", 0x6C: "mjpeg", 0x6D: "png", 0x6E: "jpeg2000"}
_OTHER_OBJECT_TYPES |= {0xA3: "vc1", 0xA4: "dirac", 0xD0: "tscc2"}


class Codec:
    """What the sample entries of a track say about their codec."""

    def __init__(self) -> None:
        self.fourcc = b""  # of the first sample entry
        self.name: str | None = None  # None while no codec that is read has been found
        self.other_name = ""  # name of a codec that is known and not read
        self.encrypted = False

    @property
    def readable(self) -> bool:
        """Returns True when the codec is one that the pipeline reads and the track is not encrypted."""
        return self.name is not None and not self.encrypted

    def take_fourcc(self, fourcc: bytes) -> None:
        self.fourcc = fourcc
        self.name = None if fourcc == b"mp4s" else _CODECS.get(fourcc.upper())

    def take_esds(self, esds: bytes) -> None:
        kind = _object_type(esds)
        if kind in _OBJECT_TYPES:
            self.name = _OBJECT_TYPES[kind]
        elif kind in _OTHER_OBJECT_TYPES:
            self.name, self.other_name = None, _OTHER_OBJECT_TYPES[kind]

    def take_hevc_configuration(self) -> None:
        if self.fourcc == b"dvh1":
            self.name = "hevc"  # Dolby Vision; without this box FFmpeg takes it for DV

    def shown(self) -> str:
        """Returns the codec's name, or the fourcc of one that has no name here."""
        return self.name or self.other_name or printable(self.fourcc)


def printable(fourcc: bytes) -> str:
    """Returns the four characters, or their hexadecimal digits when they cannot be printed."""
    text = fourcc.decode("ascii", "replace")
    return text.strip() if text.isascii() and text.isprintable() and text.strip() else "0x" + fourcc.hex()


def _object_type(esds: bytes) -> int | None:
    """objectTypeIndication of an `esds` box (ISO/IEC 14496-1, 7.2.6.5 and 7.2.6.6); None when it has none."""
    try:
        at = 4
        if esds[at] == 0x03:  # ES_Descriptor
            at = _behind_length(esds, at)
            flags = esds[at + 2]
            at += 3 + 2 * bool(flags & 0x80)
            at += 1 + esds[at] if flags & 0x40 else 0
            at += 2 * bool(flags & 0x20)
        if esds[at] != 0x04:  # DecoderConfigDescriptor
            return None
        return esds[_behind_length(esds, at)]
    except IndexError:
        return None


def _behind_length(descriptor: bytes, at: int) -> int:
    """Where a descriptor's content begins: behind its tag and one to four bytes of length."""
    for used in range(1, 5):
        if not descriptor[at + used] & 0x80:
            break
    return at + used + 1
