"""The boxes of a file in their order, and the verdict on the whole."""

from __future__ import annotations

from dataclasses import dataclass

from videoqueue.errors import InvalidVideoError
from videoqueue.mp4.fragments import FRAGMENT_BOXES, Fragments
from videoqueue.mp4.refusals import (
    MAX_PCM_SAMPLES,
    MAX_SAMPLES,
    MAX_TRACKS,
    refuse,
    refuse_as_damaged,
    refuse_as_foreign,
    refuse_as_mixed,
    refuse_samples,
)
from videoqueue.mp4.tracks import CONTAINERS, TRACK_BOXES, Track
from videoqueue.mp4.walk import OPEN, OPENING, Steps, Walk

_MAX_DEPTH = 10  # FFmpeg's own limit; real files need 6

_FIRST = frozenset({b"ftyp", b"wide", b"mdat", b"moov", b"free", b"skip", b"pnot"})
_SEGMENT = frozenset({b"styp", b"moof", b"sidx"})
_TOP = _FIRST | _SEGMENT | {b"ssix", b"mfra", b"uuid", b"meta", b"emsg", b"prft", b"pdin", b"udta"}
_OPENED = frozenset({b"moov", b"moof", b"meta"})
_OPENED_IN_HEADER = CONTAINERS | TRACK_BOXES.keys() | FRAGMENT_BOXES | {b"trex", b"cmov"}
_OTHER_FORMATS = {
    b"RIFF": "an AVI",
    b"\x1aE\xdf\xa3": "a WebM or Matroska",
    b"OggS": "an Ogg",
    b"FLV\x01": "an FLV",
}


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


class Mp4Check:
    """Checks one file; the answer does not depend on how the bytes are cut into pieces.

    `max_pixels` is the largest width x height any video track may declare. `feed` and `finish` raise
    InvalidVideoError as soon as the fault is certain, and again when called once more.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._size = 0  # bytes fed
        self._fault: InvalidVideoError | None = None
        self._tracks: list[Track] = []
        self._track = Track()
        self._chosen: Track | None = None
        self._started = self._has_header = self._has_meta = False
        self._walk = Walk()
        self._fragments = Fragments(self._walk)
        self._walk.start(self._file())

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes of the file, any number of them."""
        if self._fault:
            raise self._fault
        view = memoryview(data).cast("B")
        self._size += len(view)
        try:
            self._walk.feed(view)
        except InvalidVideoError as fault:
            self._fault = fault
            raise

    def finish(self) -> Mp4Info:
        """Says that the file is complete, and what it holds."""
        if self._fault:
            raise self._fault
        try:
            if not self._size:
                refuse("file_empty", "The file is empty.")
            if not self._started:
                refuse_as_foreign()
            if not self._walk.end():
                refuse("truncated_mp4", "The file is cut off in the middle. Upload the whole file.")
            return self._verdict()
        except InvalidVideoError as fault:
            self._fault = fault
            raise

    # The order of boxes

    def _file(self) -> Steps[None]:
        walk = self._walk
        head = yield from walk.take(8)
        self._started = True
        _check_first(head)
        while True:
            found = None if head else walk.find(OPEN, _OPENED, self._fragments.recognise)
            try:
                kind, end = found or (yield from walk.header(OPEN, head))
            except EOFError:
                return
            except InvalidVideoError as fault:
                if not self._has_header or fault.code != "not_mp4":  # too many boxes stay too many
                    raise
                kind, end = b"", OPEN  # something else was appended: a ZIP, zeros, a signature
            head = b""
            try:
                yield from self._top_box(kind, end)
                yield from walk.skip_to(end)
            except EOFError:
                if self._has_header and kind not in _TOP:
                    return
                raise

    def _top_box(self, kind: bytes, end: int) -> Steps[None]:
        if kind in (b"meta", b"moov"):
            self._walk.spend(OPENING)
        self._has_meta = self._has_meta or kind == b"meta"
        if kind == b"moov" and not self._has_header:
            yield from self._boxes(end, 1)
            self._has_header = True
            self._judge_tracks()
        elif kind == b"moof":
            yield from self._fragments.read_moof(end)

    def _boxes(self, end: int, depth: int) -> Steps[None]:
        if depth > _MAX_DEPTH:
            refuse_as_damaged(f"its boxes are nested more than {_MAX_DEPTH} deep")
        walk = self._walk
        while child := (yield from walk.child(end, _OPENED_IN_HEADER)):
            kind, child_end = child
            if kind in _OPENED_IN_HEADER:
                walk.spend(OPENING)
                yield from self._header_box(kind, child_end, depth)
            yield from walk.skip_to(child_end)

    def _header_box(self, kind: bytes, end: int, depth: int) -> Steps[None]:
        if kind == b"trak":
            self._open_track()
        if kind in CONTAINERS:
            yield from self._boxes(end, depth + 1)
        elif kind in TRACK_BOXES:
            yield from TRACK_BOXES[kind](self._walk, self._track, end)
        elif kind == b"trex":
            yield from self._fragments.read_trex(end)
        elif kind in FRAGMENT_BOXES:
            refuse_as_mixed()
        else:
            refuse("unsupported_video", "The file's header is compressed (cmov). Write it anew as MP4.")

    def _open_track(self) -> None:
        if len(self._tracks) == MAX_TRACKS:
            refuse(
                "unsupported_video", f"The file has more than {MAX_TRACKS} tracks. Export the video alone."
            )
        self._track = Track()
        self._tracks.append(self._track)

    # Verdicts

    def _judge_tracks(self) -> None:
        for track in self._tracks:
            most = max(track.samples, track.timed, track.shifted)
            if not track.is_pcm and most > MAX_SAMPLES:
                refuse_samples(most)
            if track.is_pcm and track.chunk_samples > MAX_PCM_SAMPLES:
                refuse(
                    "unsupported_video", "The file declares more audio than can be read. Remove the audio."
                )
        videos = [track for track in self._tracks if track.is_video]
        if not videos:
            refuse("no_video_track", "The file has no video track. Upload a video with a picture.")
        if (pixels := max(track.pixels for track in videos)) > self._max_pixels:
            refuse(
                "unsupported_video",
                f"The picture has {pixels:,} pixels; at most {self._max_pixels:,} are read. Make it smaller.",
            )
        readable = (track for track in videos if track.codec.readable)
        self._chosen = next(readable, None) or videos[0].codec.refuse()
        self._fragments.chosen = self._chosen

    def _verdict(self) -> Mp4Info:
        track = self._chosen
        if track is None:
            if self._has_meta:
                refuse("no_video_track", "The file holds no video, perhaps a still image.")
            refuse(
                "truncated_mp4", "The file's header (moov) is missing: the recording or upload was cut off."
            )
        samples = track.samples + self._fragments.chosen_samples
        if samples == 0 and self._fragments.announced:
            refuse("truncated_mp4", "The file is only the beginning of a stream. Upload the whole video.")
        if samples == 0:
            refuse("no_video_track", "The file's video track holds no frames.")
        self._judge_extent()
        return Mp4Info(
            codec=track.codec.name or "",
            fourcc=track.codec.shown_fourcc(),
            width=track.width,
            height=track.height,
            samples=samples,
            tracks=len(self._tracks),
            fragmented=self._fragments.seen,
            size=self._size,
        )

    def _judge_extent(self) -> None:
        """No sample is smaller than a byte or lies outside: more than that was cut off or never there."""
        declared = [max(self._fragments.samples, self._fragments.bytes)]
        for track in self._tracks:
            if not track.is_pcm:
                declared.append(max(track.samples, track.sample_bytes))
            if track.is_video and track.samples:
                declared.append(track.last_offset + 1)
        if (needed := max(declared)) > self._size:
            refuse(
                "truncated_mp4",
                f"The file declares {needed:,} bytes of video but has {self._size:,}. Upload the whole file.",
            )


def _check_first(head: bytes) -> None:
    kind = head[4:]
    for magic, name in _OTHER_FORMATS.items():
        if head.startswith(magic):
            refuse("not_mp4", f"This is {name} file, not an MP4. Convert it to MP4 and upload that.")
    if kind in _SEGMENT:
        refuse("not_mp4", "This is one segment of a stream without its beginning. Upload the whole video.")
    if kind not in _FIRST:
        refuse_as_foreign()
