"""A gate in front of FFmpeg: walks the boxes of an MP4 or QuickTime file while it streams past.

Bounded pure Python: it holds at most a few KiB of the file, skips media data by counting, and refuses
tables that would cost the decoder more than the file is worth. What a box means is taken from
ISO/IEC 14496-12 (boxes), 14496-14 (`esds`), 23001-7 (`sinf`) and the QuickTime File Format Specification;
which sample entries lead to which codec was read off FFmpeg 8.1 by opening one file per fourcc.

    check = Mp4Check(max_pixels=8192 * 4320)
    for piece in upload:
        check.feed(piece)
    info = check.finish()

The walk is a generator that asks for bytes: it yields n for "the next n bytes" and -n for "skip n bytes".
At the end of the file EOFError is thrown into it, and only those who may end there catch it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from struct import iter_unpack, unpack
from typing import NoReturn, TypeAlias, TypeVar

from videoqueue.errors import InvalidVideoError, VideoFault

MAX_SAMPLES = 10_000_000  # frames of one track: 46 hours at 60 a second; FFmpeg keeps about 30 bytes for each
MAX_PCM_SAMPLES = 2**31  # uncompressed audio counts single values: 12 hours at 48 kHz
MAX_TRACKS = 64
MAX_BOXES = 4_000_000  # about 5 s of work; two hours with a fragment per frame have 1.5 million
MAX_EDITS = 10_000
_MAX_DEPTH = 10  # FFmpeg's own limit; real files need 6
_BLOCK = 4096  # bytes of a table held at a time
_OPEN = 1 << 63  # the end of a box that goes on to the end of the file

T = TypeVar("T")
_Steps: TypeAlias = Generator[int, bytes, T]

_FIRST = frozenset({b"ftyp", b"wide", b"mdat", b"moov", b"free", b"skip", b"pnot"})
_SEGMENT = frozenset({b"styp", b"moof", b"sidx"})
_TOP = _FIRST | _SEGMENT | {b"ssix", b"mfra", b"uuid", b"meta", b"emsg", b"prft", b"pdin", b"udta"}
# `udta` and `meta` stay closed: QuickTime writes them in ways of its own, and they hold no samples.
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf"})
_OTHER_FORMATS = {
    b"RIFF": "an AVI",
    b"\x1aE\xdf\xa3": "a WebM or Matroska",
    b"OggS": "an Ogg",
    b"FLV\x01": "an FLV",
}

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
_CODECS = {name.ljust(4).encode(): codec for codec, names in _FOURCCS.items() for name in names.split()}
_OBJECT_TYPES = {0x20: "mpeg4", 0x21: "h264", 0x23: "hevc", 0xB1: "vp9"}
_OBJECT_TYPES |= dict.fromkeys(range(0x60, 0x66), "mpeg2video")
_OTHER_OBJECT_TYPES = {0x33: "vvc", 0x6A: "mpeg1video", 0x6C: "mjpeg", 0x6D: "png", 0x6E: "jpeg2000"}
_OTHER_OBJECT_TYPES |= {0xA3: "vc1", 0xA4: "dirac", 0xD0: "tscc2"}


@dataclass(frozen=True, kw_only=True)
class Mp4Info:
    """What the file says about itself; nothing of it has been decoded."""

    codec: str  # one of h264, hevc, av1, vp9, mpeg4, mpeg2video, h263
    fourcc: str  # sample entry of the first video track with such a codec
    width: int  # pixels as declared; 0 when the sample entry leaves it to the stream
    height: int
    samples: int  # declared frames of that track, fragments included
    tracks: int
    fragmented: bool
    size: int  # bytes fed


class _Track:
    def __init__(self) -> None:
        self.id = 0
        self.handler = b""  # vide, soun, or empty for any other kind
        self.fourcc = b""
        self.codec: str | None = None
        self.other_codec = ""  # name of a codec that is known and not read
        self.encrypted = False
        self.width = self.height = 0
        self.pixels = 0  # the largest that any header of the track declares
        self.samples = self.sample_bytes = 0
        self.last_offset = -1
        self.chunks = 0
        self.runs = [0, 1, 0]  # stsc: samples counted, first chunk and samples per chunk of the open run
        self.timed = 0  # samples that stts gives a duration
        self.shifted = 0  # samples that ctts gives an offset
        self.durations: list[int] = []  # the first two of stts, in ticks

    @property
    def is_pcm(self) -> bool:
        """FFmpeg reads such audio by the chunk: its `stsz` counts values, not packets or bytes."""
        return self.handler == b"soun" and self.durations == [1]

    @property
    def chunk_samples(self) -> int:
        counted, first, per_chunk = self.runs
        return counted + max(0, self.chunks + 1 - first) * per_chunk


class Mp4Check:
    """Checks one file; the answer does not depend on how the bytes are cut into pieces.

    `max_pixels` is the largest width x height any video track may declare. `feed` and `finish` raise
    InvalidVideoError as soon as the fault is certain, and again when called once more.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._size = 0  # bytes fed
        self._position = 0  # bytes that the walk is through with
        self._held = bytearray()
        self._fault: InvalidVideoError | None = None
        self._tracks: list[_Track] = []
        self._track = _Track()
        self._boxes_seen = 0
        self._started = self._has_header = self._has_meta = self._fragmented = False
        self._chosen: _Track | None = None
        self._default_sizes: dict[int, int] = {}  # `trex`: bytes of a sample by track
        self._fragment_track = self._fragment_size = 0
        self._fragment_samples = self._fragment_bytes = self._chosen_fragment_samples = 0
        self._steps = self._file()
        self._wanted = next(self._steps)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes of the file, any number of them."""
        if self._fault:
            raise self._fault
        view = memoryview(data).cast("B")
        self._size += len(view)
        try:
            while view:
                view = view[self._consume(view) :]
        except InvalidVideoError as fault:
            self._fault = fault
            raise

    def finish(self) -> Mp4Info:
        """Says that the file is complete, and what it holds."""
        if self._fault:
            raise self._fault
        try:
            self._end()
            return self._verdict()
        except InvalidVideoError as fault:
            self._fault = fault
            raise

    def _consume(self, view: memoryview) -> int:
        if self._wanted < 0:
            count = min(len(view), -self._wanted)
            self._wanted += count
        else:
            count = min(len(view), self._wanted - len(self._held))
            self._held += view[:count]
        self._position += count
        if self._wanted == len(self._held):
            piece = bytes(self._held)
            self._held.clear()
            self._wanted = self._steps.send(piece)
        return count

    def _end(self) -> None:
        if not self._started:
            _refuse(*(("not_mp4", _NOT_MP4) if self._size else ("file_empty", "The file is empty.")))
        try:
            while True:  # each throw ends one open box
                self._steps.throw(EOFError())
        except StopIteration:
            return
        except EOFError:
            _refuse("truncated_mp4", "The file is cut off in the middle. Upload the whole file.")

    # The walk

    def _file(self) -> _Steps[None]:
        head = yield 8
        self._started = True
        self._check_first(head)
        while True:
            try:
                kind, end = yield from self._header(_OPEN, head)
            except EOFError:
                return
            except InvalidVideoError:
                if not self._has_header:
                    raise
                kind, end = b"", _OPEN  # something else was appended: a ZIP, zeros, a signature
            head = b""
            try:
                yield from self._top_box(kind, end)
                yield from self._skip_to(end)
            except EOFError:
                if self._has_header and kind not in _TOP:
                    return
                raise

    def _check_first(self, head: bytes) -> None:
        kind = head[4:]
        for magic, name in _OTHER_FORMATS.items():
            if head.startswith(magic):
                _refuse("not_mp4", f"This is {name} file, not an MP4. Convert it to MP4 and upload that.")
        if kind in _SEGMENT:
            _refuse(
                "not_mp4", "This is one segment of a stream without its beginning. Upload the whole video."
            )
        if kind not in _FIRST:
            _refuse("not_mp4", _NOT_MP4)

    def _top_box(self, kind: bytes, end: int) -> _Steps[None]:
        self._has_meta = self._has_meta or kind == b"meta"
        if kind == b"moov" and not self._has_header:
            yield from self._boxes(end, 1)
            self._has_header = True
            self._judge_tracks()
        elif kind == b"moof":
            self._fragmented = True
            yield from self._boxes(end, 1)

    def _header(self, end: int, head: bytes = b"") -> _Steps[tuple[bytes, int]]:
        """Type and end of the next box, whose first 8 bytes may have been read already."""
        self._boxes_seen += 1
        if self._boxes_seen > MAX_BOXES:
            _refuse("unsupported_video", f"The file has more than {MAX_BOXES:,} boxes. Write it anew as MP4.")
        head = head or (yield 8)
        start = self._position - 8
        size, kind = unpack(">I4s", head)
        if size == 0:
            return kind, end
        if size == 1:
            (size,) = unpack(">Q", (yield 8))
        if not self._position - start <= size <= end - start:
            _damaged("a box is larger than what contains it, or smaller than its own header")
        return kind, start + size

    def _boxes(self, end: int, depth: int) -> _Steps[None]:
        if depth > _MAX_DEPTH:
            _damaged(f"its boxes are nested more than {_MAX_DEPTH} deep")
        while end - self._position >= 8:
            try:
                kind, child_end = yield from self._header(end)
            except EOFError:
                if end == _OPEN and not self._held:
                    return
                raise
            if kind == b"trak":
                self._open_track()
            if kind == b"cmov":
                _refuse("unsupported_video", "The file's header is compressed (cmov). Write it anew as MP4.")
            if kind in _CONTAINERS:
                yield from self._boxes(child_end, depth + 1)
            elif kind in _LEAVES:
                yield from _LEAVES[kind](self, child_end)
            yield from self._skip_to(child_end)

    def _skip_to(self, end: int) -> _Steps[None]:
        try:
            while self._position < end:
                yield self._position - end
        except EOFError:
            if end != _OPEN:
                raise

    def _take(self, end: int, count: int) -> _Steps[bytes]:
        if count > end - self._position:
            _damaged("a box is too short for what it holds")
        # A request for nothing would be pending still when the file ends here.
        return (yield count) if count else b""

    def _open_track(self) -> None:
        if len(self._tracks) == MAX_TRACKS:
            _refuse(
                "unsupported_video", f"The file has more than {MAX_TRACKS} tracks. Export the video alone."
            )
        self._track = _Track()
        self._tracks.append(self._track)

    # Boxes of a track

    def _tkhd(self, end: int) -> _Steps[None]:
        head = yield from self._take(end, 84)
        at = 12
        if head[0] == 1:
            head += yield from self._take(end, 12)
            at = 20
        (self._track.id,) = unpack(">I", head[at : at + 4])
        width, height = unpack(">II", head[-8:])  # 16.16 fixed point
        self._track.pixels = max(self._track.pixels, (width >> 16) * (height >> 16))

    def _hdlr(self, end: int) -> _Steps[None]:
        (handler,) = unpack(">8x4s", (yield from self._take(end, 12)))
        if handler in (b"vide", b"soun"):  # QuickTime has a second one, which says where the data lies
            self._track.handler = handler

    def _stsd(self, end: int) -> _Steps[None]:
        _, count = unpack(">II", (yield from self._take(end, 8)))
        while count and end - self._position >= 8:
            count -= 1
            kind, entry_end = yield from self._header(end)
            if self._track.handler != b"soun":
                yield from self._sample_entry(kind, entry_end)
            yield from self._skip_to(entry_end)

    def _sample_entry(self, kind: bytes, end: int) -> _Steps[None]:
        track = self._track
        first = not track.fourcc
        if first:
            track.fourcc = kind
            track.codec = None if kind == b"mp4s" else _CODECS.get(kind.upper())
        track.encrypted = track.encrypted or kind == b"encv"
        if end - self._position < 78:
            return
        width, height = unpack(">HH", (yield 78)[24:28])
        track.pixels = max(track.pixels, width * height)
        if first:
            track.width, track.height = width, height
        while end - self._position >= 8:
            try:
                kind, child_end = yield from self._header(end)
            except InvalidVideoError:
                return  # a colour table or padding, which QuickTime may put here
            if kind == b"sinf":
                track.encrypted = True
            elif kind == b"hvcC" and track.fourcc == b"dvh1":
                track.codec = "hevc"  # Dolby Vision; without this box FFmpeg takes it for DV
            elif kind == b"esds" and first:
                self._object_type((yield from self._take(child_end, min(64, child_end - self._position))))
            yield from self._skip_to(child_end)

    def _object_type(self, esds: bytes) -> None:
        kind = _object_type_of(esds)
        if kind in _OBJECT_TYPES:
            self._track.codec = _OBJECT_TYPES[kind]
        elif kind in _OTHER_OBJECT_TYPES:
            self._track.codec, self._track.other_codec = None, _OTHER_OBJECT_TYPES[kind]

    def _elst(self, end: int) -> _Steps[None]:
        version, count = unpack(">B3xI", (yield from self._take(end, 8)))
        if count > MAX_EDITS:
            _refuse("unsupported_video", f"The file has {count:,} edits; at most {MAX_EDITS:,} are read.")
        self._check_table(end, count, 20 if version == 1 else 12)

    # Tables of samples

    def _check_table(self, end: int, count: int, entry_size: int) -> None:
        if count * entry_size > end - self._position:
            _damaged("a table is longer than its box")

    def _table(self, end: int, count: int, entry_size: int, use: Callable[[bytes], None]) -> _Steps[None]:
        self._check_table(end, count, entry_size)
        while count:
            entries = min(count, _BLOCK // entry_size)
            use((yield entries * entry_size))
            count -= entries

    def _counted_table(self, entry_size: int, end: int, use: Callable[[bytes], None]) -> _Steps[None]:
        _, count = unpack(">II", (yield from self._take(end, 8)))
        yield from self._table(end, count, entry_size, use)

    def _stts(self, end: int) -> _Steps[None]:
        def use(block: bytes) -> None:
            numbers = _numbers(block)
            self._track.timed += sum(numbers[::2])
            self._track.durations = (self._track.durations + list(numbers[1:4:2]))[:2]

        yield from self._counted_table(8, end, use)

    def _ctts(self, end: int) -> _Steps[None]:
        def use(block: bytes) -> None:
            self._track.shifted += sum(_numbers(block)[::2])

        yield from self._counted_table(8, end, use)

    def _stss(self, end: int) -> _Steps[None]:
        _, count = unpack(">II", (yield from self._take(end, 8)))
        self._check_table(end, count, 4)

    def _stsc(self, end: int) -> _Steps[None]:
        runs = self._track.runs

        def use(block: bytes) -> None:
            for first, per_chunk, _ in iter_unpack(">III", block):
                runs[:] = runs[0] + max(0, first - runs[1]) * runs[2], first, per_chunk

        yield from self._counted_table(12, end, use)

    def _stco(self, end: int) -> _Steps[None]:
        yield from self._offsets(end, 4)

    def _co64(self, end: int) -> _Steps[None]:
        yield from self._offsets(end, 8)

    def _offsets(self, end: int, width: int) -> _Steps[None]:
        track = self._track

        def use(block: bytes) -> None:
            track.chunks += len(block) // width
            track.last_offset = max(track.last_offset, *_numbers(block, width))

        yield from self._counted_table(width, end, use)

    def _stsz(self, end: int) -> _Steps[None]:
        _, size, count = unpack(">III", (yield from self._take(end, 12)))
        self._track.samples += count
        self._track.sample_bytes += size * count
        if size == 0:
            yield from self._table(end, count, 4, self._add_sizes)

    def _stz2(self, end: int) -> _Steps[None]:
        bits, count = unpack(">7xBI", (yield from self._take(end, 12)))
        if bits not in (4, 8, 16):
            _damaged("a table of sample sizes has a width that does not exist")
        self._track.samples += count
        self._check_table(end, (count * bits + 7) // 8, 1)  # sizes too small to be worth a sum

    def _add_sizes(self, block: bytes) -> None:
        self._track.sample_bytes += sum(_numbers(block))

    # Fragments

    def _trex(self, end: int) -> _Steps[None]:
        _, track_id, _, _, size, _ = unpack(">6I", (yield from self._take(end, 24)))
        if len(self._default_sizes) < MAX_TRACKS:
            self._default_sizes[track_id] = size

    def _tfhd(self, end: int) -> _Steps[None]:
        flags, track_id = unpack(">II", (yield from self._take(end, 8)))
        self._fragment_track = track_id
        self._fragment_size = self._default_sizes.get(track_id, 0)
        if flags & 0x10:
            before = 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2) + 4 * bool(flags & 0x8)
            (self._fragment_size,) = unpack(">I", (yield from self._take(end, before + 4))[before:])

    def _trun(self, end: int) -> _Steps[None]:
        flags, count = unpack(">II", (yield from self._take(end, 8)))
        self._fragment_samples += count
        if self._fragment_samples > MAX_SAMPLES:
            _too_many(self._fragment_samples)
        if self._chosen and self._fragment_track == self._chosen.id:
            self._chosen_fragment_samples += count
        before = 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
        yield from self._take(end, before)
        fields = (flags >> 8 & 0xF).bit_count()
        if not flags & 0x200:
            self._fragment_bytes += count * self._fragment_size
            self._check_table(end, count, fields * 4)
            return
        size_at = flags >> 8 & 1  # behind the duration, when there is one

        def use(block: bytes) -> None:
            self._fragment_bytes += sum(_numbers(block)[size_at::fields])

        yield from self._table(end, count, fields * 4, use)

    # Verdicts

    def _judge_tracks(self) -> None:
        for track in self._tracks:
            most = max(track.samples, track.timed, track.shifted)
            if not track.is_pcm and most > MAX_SAMPLES:
                _too_many(most)
            if track.is_pcm and track.chunk_samples > MAX_PCM_SAMPLES:
                _refuse(
                    "unsupported_video", "The file declares more audio than can be read. Remove the audio."
                )
        videos = [track for track in self._tracks if track.handler == b"vide"]
        if not videos:
            _refuse("no_video_track", "The file has no video track. Upload a video with a picture.")
        if (pixels := max(track.pixels for track in videos)) > self._max_pixels:
            _refuse(
                "unsupported_video",
                f"The picture has {pixels:,} pixels; at most {self._max_pixels:,} are read. Make it smaller.",
            )
        readable = (track for track in videos if track.codec and not track.encrypted)
        self._chosen = next(readable, None) or _refuse_codec(videos[0])

    def _verdict(self) -> Mp4Info:
        track = self._chosen
        if track is None:
            if self._has_meta:
                _refuse("no_video_track", "The file holds no video, perhaps a still image.")
            _refuse(
                "truncated_mp4", "The file's header (moov) is missing: the recording or upload was cut off."
            )
        samples = track.samples + self._chosen_fragment_samples
        if samples == 0 and (self._default_sizes or self._fragmented):
            _refuse("truncated_mp4", "The file is only the beginning of a stream. Upload the whole video.")
        if samples == 0:
            _refuse("no_video_track", "The file's video track holds no frames.")
        self._judge_extent()
        return Mp4Info(
            codec=track.codec or "",
            fourcc=_shown(track.fourcc),
            width=track.width,
            height=track.height,
            samples=samples,
            tracks=len(self._tracks),
            fragmented=self._fragmented,
            size=self._size,
        )

    def _judge_extent(self) -> None:
        """No sample is smaller than a byte or lies outside: more than that was cut off or never there."""
        declared = [max(self._fragment_samples, self._fragment_bytes)]
        for track in self._tracks:
            if not track.is_pcm:
                declared.append(max(track.samples, track.sample_bytes))
            if track.handler == b"vide" and track.samples:
                declared.append(track.last_offset + 1)
        if (needed := max(declared)) > self._size:
            _refuse(
                "truncated_mp4",
                f"The file declares {needed:,} bytes of video but has {self._size:,}. Upload the whole file.",
            )


_TRACK_BOXES = (
    "tkhd",
    "hdlr",
    "stsd",
    "elst",
    "stts",
    "ctts",
    "stss",
    "stsc",
    "stco",
    "co64",
    "stsz",
    "stz2",
)
_FRAGMENT_BOXES = ("trex", "tfhd", "trun")
_LEAVES: dict[bytes, Callable[[Mp4Check, int], _Steps[None]]] = {
    name.encode(): getattr(Mp4Check, f"_{name}") for name in _TRACK_BOXES + _FRAGMENT_BOXES
}
_NOT_MP4 = "This is not an MP4 or QuickTime file. Convert the video to MP4 and upload that."


def _refuse(code: VideoFault, message: str) -> NoReturn:
    raise InvalidVideoError(code, message)


def _damaged(what: str) -> NoReturn:
    _refuse("not_mp4", f"The file is damaged: {what}. Write it anew as MP4.")


def _too_many(samples: int) -> NoReturn:
    _refuse(
        "unsupported_video",
        f"The file declares {samples:,} samples in a track; at most {MAX_SAMPLES:,} are read. Upload a part.",
    )


def _refuse_codec(track: _Track) -> NoReturn:
    if track.encrypted:
        _refuse("unsupported_video", "The video is encrypted (DRM). Upload it without encryption.")
    if not track.fourcc:
        _refuse("unsupported_video", "The video track does not name its codec. Write the file anew as MP4.")
    name = track.other_codec or _shown(track.fourcc)
    known = ", ".join(_FOURCCS)
    _refuse(
        "unsupported_video", f"The video codec {name} is not read, only {known}. Convert the video to H.264."
    )


def _shown(fourcc: bytes) -> str:
    text = fourcc.decode("ascii", "replace")
    return text.strip() if text.isascii() and text.isprintable() else "0x" + fourcc.hex()


def _numbers(block: bytes, width: int = 4) -> tuple[int, ...]:
    return unpack(f">{len(block) // width}{'I' if width == 4 else 'Q'}", block)


def _object_type_of(esds: bytes) -> int | None:
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
