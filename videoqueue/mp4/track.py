"""What the boxes of one track declared so far."""

from __future__ import annotations

from videoqueue.mp4.codecs import Codec
from videoqueue.mp4.colours import ColourTags
from videoqueue.mp4.edits import TableAt
from videoqueue.mp4.tables import Runs, numbers


class Track:
    def __init__(self, position: int = 0) -> None:
        self.position = position  # of the first byte behind the header of its `trak` box
        self.id = 0
        self.enabled = False
        self.matrix: tuple[int, ...] = ()
        self.handler = b""
        self.chapters: set[int] = set()  # tracks with titles or pictures for this one's chapters
        self.is_auxiliary = False  # thumbnails, transparency or depth for another track
        self.edit_table: TableAt | None = None
        self.edit_version = 0
        self.is_hidden = False  # an edit list shows nothing of the samples in its tables
        self.timescale = 0  # ticks a second
        self.media_duration = 0  # ticks; 0 when the header does not say
        self.pixel_aspect: tuple[int, int] | None = None
        self.colours: ColourTags | None = None
        self.codec = Codec()
        self.width = self.height = 0
        self.pixels = 0  # the largest that any header of the track declares
        self.samples = self.sample_bytes = 0
        self.last_offset = -1  # of the chunk that lies last in the file
        self.last_is_last = False  # whether that is the last chunk of the table too
        self.last_sizes = b""  # 32 bits each, of the last samples of the table
        self.same_size = 0  # bytes of every sample; 0 when they differ
        self.chunks = 0
        self.runs = Runs()
        self.time_table: TableAt | None = None
        self.timed = 0  # samples that have a duration in stts
        self.shifted = 0  # samples that have an offset in ctts
        self.first_offset = 0  # of the first sample in ctts, in ticks
        self.durations: list[int] = []  # the first two of stts, in ticks

    @property
    def is_video(self) -> bool:
        """Returns True when the track's handler says that it is video."""
        return self.handler == b"vide"

    @property
    def data_end(self) -> int:
        """Returns where the last sample ends in the file; less if the tables are in an unusual order."""
        if self.last_offset < 0:
            return 0
        if not self.last_is_last:
            return self.last_offset + 1
        samples = min(self.runs.last_samples(self.chunks), self.samples)
        if self.same_size:
            return self.last_offset + samples * self.same_size
        if samples == self.samples:
            return self.last_offset + self.sample_bytes
        sizes = numbers(self.last_sizes)
        return self.last_offset + max(1, sum(sizes[max(0, len(sizes) - samples) :]))

    @property
    def is_pcm(self) -> bool:
        """Returns True when the track is audio whose samples all last one tick.

        FFmpeg reads such audio by the chunk: its `stsz` counts values, not packets or bytes.
        """
        return self.handler == b"soun" and self.durations == [1]

    @property
    def chunk_samples(self) -> int:
        """Returns the number of samples in all chunks, as `stsc` declares them."""
        return self.runs.samples(self.chunks)
