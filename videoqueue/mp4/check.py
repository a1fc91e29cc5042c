"""Checks the boxes of a file in their order, and accepts or refuses the file."""

from __future__ import annotations

from dataclasses import dataclass

from videoqueue.errors import InvalidVideoError
from videoqueue.mp4.beginning import Beginning
from videoqueue.mp4.choice import Choice, VideoTrack
from videoqueue.mp4.fragments import FRAGMENT_BOXES, Fragments
from videoqueue.mp4.limits import CheckLimits
from videoqueue.mp4.misplaced import MISPLACED, MisplacedBoxes
from videoqueue.mp4.refusals import (
    refuse,
    refuse_as_cut_stream,
    refuse_as_damaged,
    refuse_as_mixed,
    refuse_audio,
    refuse_pixels,
    refuse_samples,
    refuse_tracks,
)
from videoqueue.mp4.track import Track
from videoqueue.mp4.tracks import CONTAINERS, TRACK_BOXES, read_clock
from videoqueue.mp4.walk import OPEN, OPENING, Steps, Walk

_MAX_DEPTH = 10  # FFmpeg's own limit; real files need 6

_OPENED = frozenset({b"moov", b"moof", b"meta"})
_OUTERMOST = _OPENED | MISPLACED
_OPENED_IN_HEADER = CONTAINERS | TRACK_BOXES.keys() | FRAGMENT_BOXES | {b"mvhd", b"trex", b"cmov"}


@dataclass(frozen=True, kw_only=True)
class Mp4Info:
    """What the file says about itself; nothing of it has been decoded."""

    video: VideoTrack
    tracks: int
    fragmented: bool
    size: int  # bytes fed


class Mp4Check:
    """Checks one file. The result does not depend on how the bytes are cut into pieces.

    `feed` and `finish` raise InvalidVideoError as soon as a fault is certain, and at every later call.

    Args:
        limits: The most of each kind that is accepted.
        accept_truncated: Accepts a file that is cut off in a fragment; the fragments before it are read.
    """

    def __init__(self, limits: CheckLimits, accept_truncated: bool = False) -> None:
        self._limits = limits
        self._accept_truncated = accept_truncated
        self._size = 0  # bytes fed, or left out
        self._fault: InvalidVideoError | None = None
        self._tracks: list[Track] = []
        self._track = Track()
        self._timescale = 0  # of the movie, in ticks a second
        self._has_header = self._has_meta = False
        self._ends_in_box = False  # the last box does not say, or not truly, where the file ends
        self._beginning = Beginning()
        self._misplaced = MisplacedBoxes()
        self._walk = Walk(limits)
        self._fragments = Fragments(self._walk)
        self._walk.start(self._file())

    @property
    def unread(self) -> int:
        """Returns the number of the next bytes that the check does not read: see `leave_out`."""
        return self._walk.unread

    def leave_out(self, count: int) -> None:
        """Counts the next bytes, at most `unread`, without reading them."""
        self._size += count
        self._walk.leave_out(count)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Reads the next bytes of the file, any number of them."""
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
        """Ends the file. Returns what it declares about itself."""
        if self._fault:
            raise self._fault
        try:
            if not self._size:
                refuse("file_empty", "The file is empty.")
            if not self._walk.end():
                self._beginning.end()
                refuse("truncated_mp4", "The file is cut off in the middle. Upload the whole file.")
            return self._verdict()
        except InvalidVideoError as fault:
            self._fault = fault
            raise

    # The order of boxes

    def _file(self) -> Steps[None]:
        walk = self._walk
        while True:
            known = self._beginning.is_known
            found = walk.find(OPEN, _OUTERMOST, self._fragments.recognise) if known else None
            try:
                kind, end = found or (yield from self._next_box())
            except EOFError:
                return
            try:
                yield from self._top_box(kind, end)
                yield from walk.skip_to(end)
            except EOFError:
                if not self._has_header:
                    raise
                self._ends_in_box = True
                return

    def _next_box(self) -> Steps[tuple[bytes, int]]:
        head = yield from self._walk.take(8)
        if not self._beginning.is_known:
            self._walk.charge(OPENING)
            self._beginning.look(head)
        try:
            return (yield from self._walk.header(OPEN, head))
        except InvalidVideoError as fault:
            if not self._has_header or fault.code != "not_mp4":  # too many boxes stay too many
                raise
            return b"", OPEN  # something else was appended: a ZIP, zeros, a signature

    def _top_box(self, kind: bytes, end: int) -> Steps[None]:
        self._misplaced.look(kind, self._walk.box_start)
        if kind in (b"meta", b"moov"):
            self._walk.spend(OPENING)
        self._has_meta = self._has_meta or kind == b"meta"
        if kind == b"moov" and not self._has_header:
            yield from self._boxes(end, 1)
            self._has_header = True
            self._judge_tracks()
        elif kind == b"moof":
            yield from self._fragments.read_moof(end)
        self._ends_in_box = kind == b"mdat" and end == OPEN

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
        elif kind == b"mvhd":
            self._timescale, _ = yield from read_clock(self._walk, end)
        elif kind == b"trex":
            yield from self._fragments.read_trex(end)
        elif kind in FRAGMENT_BOXES:
            refuse_as_mixed()
        else:
            refuse("unsupported_video", "The file's header is compressed (cmov). Write it anew as MP4.")

    def _open_track(self) -> None:
        if len(self._tracks) == self._limits.tracks:
            refuse_tracks(self._limits)
        self._track = Track(self._walk.position)
        self._tracks.append(self._track)

    # Verdicts

    def _judge_tracks(self) -> None:
        limits = self._limits
        for track in self._tracks:
            most = max(track.samples, track.timed, track.shifted)
            if not track.is_pcm and most > limits.samples:
                refuse_samples(most, limits)
            if track.is_pcm and track.chunk_samples > limits.audio_values:
                refuse_audio(track.chunk_samples, limits)
        if not (choice := Choice(self._tracks, {})).candidates:
            choice.refuse()
        # Fragments may still decide which track is chosen; refused early is what no choice would accept.
        self._judge_pixels(min(track.pixels for track in choice.possible()))
        self._fragments.count_for(track.id for track in self._tracks if track.is_video)

    def _judge_pixels(self, pixels: int) -> None:
        if pixels > self._limits.pixels:
            refuse_pixels(pixels, self._limits)

    def _verdict(self) -> Mp4Info:
        if not self._has_header:
            self._beginning.end()
            if self._has_meta:
                refuse("no_video_track", "The file holds no video, perhaps a still image.")
            refuse(
                "truncated_mp4", "The file's header (moov) is missing: the recording or upload was cut off."
            )
        cut_at = self._fragments.cut_at(self._size)
        self._judge_extent()
        choice = Choice(self._tracks, self._fragments.sums.by_track, self._timescale)
        video = choice.chosen(self._size if cut_at is None else cut_at, self._misplaced.types_at)
        if video is None and self._fragments.announced and not any(self._fragments.sums.by_track.values()):
            refuse(
                "truncated_mp4",
                "The file is cut off: it is only the beginning of a stream. Upload the whole file.",
            )
        if video and cut_at is not None and not self._accept_truncated:
            refuse_as_cut_stream(self._limits)
        video = video or choice.refuse()
        self._judge_pixels(self._tracks[video.index].pixels)
        return Mp4Info(
            video=video,
            tracks=len(self._tracks),
            fragmented=self._fragments.seen,
            size=self._size,
        )

    def _judge_extent(self) -> None:
        """Refuses a file that declares more samples or bytes than it has: a sample takes a byte at least."""
        sums = self._fragments.sums
        declared = [max(sums.samples, sums.size)]
        for track in self._tracks:
            if not track.is_pcm:
                declared.append(max(track.samples, track.sample_bytes))
            # What is not a picture may lie in another file, unless something is missing here.
            if track.samples and (track.is_video or self._ends_in_box):
                declared.append(track.data_end)
        if (needed := max(declared)) > self._size:
            refuse(
                "truncated_mp4",
                f"The file is cut off: it declares {needed:,} bytes of video and has {self._size:,}. "
                "Upload the whole file.",
            )
