"""Chooses the video track of a file: one rule for the check at submission and for the decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NoReturn

from videoqueue.errors import InvalidVideoError, VideoFault
from videoqueue.mp4.codecs import CODECS, printable
from videoqueue.mp4.colours import ColourTags
from videoqueue.mp4.edits import EditList
from videoqueue.mp4.track import Track

_MOST_SHOWN: Final = 8  # tracks that a refusal lists
HIDDEN: Final = (
    "The edit list of the video track shows none of its frames. If they are to be read, write the file anew "
    "without edits, for example with `ffmpeg -ignore_editlist 1 -i in.mp4 -c copy out.mp4`."
)
_KINDS: Final = {b"soun": "audio", b"pict": "still pictures", b"text": "text", b"": "unknown"}


class NoReadableTrackError(InvalidVideoError):
    """No track of the file can be its video; the message says what was found in each."""


@dataclass(frozen=True, kw_only=True)
class VideoTrack:
    """The chosen track as its boxes describe it; nothing of it has been decoded."""

    track_id: int  # of `tkhd`; FFmpeg's `stream.id`
    index: int  # of the track among all tracks of the file, from 0
    same_id: int  # tracks behind it that have the same track_id; 0 in a proper file
    enabled: bool
    codec: str  # one of CODECS
    fourcc: str  # of the first sample entry
    width: int  # stored pixels as declared; 0 when the sample entry leaves it to the stream
    height: int
    pixel_aspect: tuple[int, int] | None  # `pasp` of the first sample entry: width, height
    colours: ColourTags | None  # the first `colr` of the first sample entry that is no ICC profile
    matrix: tuple[int, ...]  # the nine numbers of `tkhd`; empty when there is none
    edits: EditList | None  # None also when samples are in fragments only: their edits are but an offset
    untimed: tuple[
        int, ...
    ]  # positions behind the headers of the tracks in front that have no table of times
    samples: int  # declared frames, fragments included
    misplaced: tuple[int, ...]  # positions of the types of top-level boxes that FFmpeg must not read
    usable_size: int  # bytes of the file in front of the first fragment that is cut off; else all of them


class Choice:
    """Chooses among the tracks of a file, or says why none can be chosen.

    `in_fragments`: samples in fragments by track_id. They belong to the first track that has the id.
    `timescale` is the movie's, in ticks a second.
    """

    def __init__(self, tracks: Sequence[Track], in_fragments: Mapping[int, int], timescale: int = 0) -> None:
        self._tracks = tracks
        self._in_fragments = in_fragments
        self._timescale = timescale

    @cached_property
    def _moving(self) -> list[int]:
        """Video tracks that are more than pictures for another track."""
        chapters = {chapter for track in self._tracks for chapter in track.chapters}
        return [
            index
            for index, track in enumerate(self._tracks)
            if track.is_video and not track.is_auxiliary and track.id not in chapters
        ]

    @cached_property
    def candidates(self) -> list[int]:
        """Returns the indexes of the tracks that may be the video if they have samples."""
        return [index for index in self._moving if self._tracks[index].codec.readable]

    def possible(self) -> list[Track]:
        """Returns the candidates that may be chosen, whatever samples fragments add to the tables'."""
        enabled = [index for index in self.candidates if self._tracks[index].enabled]
        disabled = [index for index in self.candidates if not self._tracks[index].enabled]
        found = []
        for index in enabled + disabled:
            found.append(self._tracks[index])
            if self._samples(index):
                break
        return found

    def chosen(self, usable_size: int, misplaced: Sequence[int] = ()) -> VideoTrack | None:
        """Returns the first enabled candidate with samples, else the first one with samples, else None."""
        qualified = [index for index in self.candidates if self._samples(index)]
        if not qualified:
            return None
        index = next((index for index in qualified if self._tracks[index].enabled), qualified[0])
        track = self._tracks[index]
        return VideoTrack(
            track_id=track.id,
            index=index,
            same_id=sum(other.id == track.id for other in self._tracks[index + 1 :]),
            enabled=track.enabled,
            codec=track.codec.name or "",
            fourcc=printable(track.codec.fourcc),
            width=track.width,
            height=track.height,
            pixel_aspect=track.pixel_aspect,
            colours=track.colours,
            matrix=track.matrix,
            edits=self._edits(index),
            untimed=tuple(other.position for other in self._tracks[:index] if not other.timed),
            samples=self._samples(index),
            misplaced=tuple(misplaced),
            usable_size=usable_size,
        )

    def refuse(self) -> NoReturn:
        """Refuses a file without a track that can be chosen; the message lists what was found in each."""
        filled = [self._tracks[index] for index in self._moving if self._samples(index)]
        moving = [self._tracks[index] for index in self._moving]
        pictures = filled or moving or [track for track in self._tracks if track.is_video]
        codecs = [track.codec for track in pictures if not track.codec.readable]
        if any(codec.encrypted for codec in codecs):
            self._refuse("unsupported_video", "The video is encrypted (DRM). Upload it without encryption.")
        if codecs and not codecs[0].fourcc:
            self._refuse(
                "unsupported_video", "The video track does not name its codec. Write the file anew as MP4."
            )
        if codecs:
            self._refuse(
                "unsupported_video",
                f"The video codec {codecs[0].shown()} is not read, only {', '.join(CODECS)}. "
                "Convert the video to H.264.",
            )
        if any(track.samples for track in moving):
            self._refuse("no_video_track", HIDDEN)
        if moving:
            self._refuse("no_video_track", "The file's video track holds no frames. Check that it plays.")
        self._refuse("no_video_track", "The file has no video track. Upload a video with a picture.")

    def _refuse(self, code: VideoFault, message: str) -> NoReturn:
        raise NoReadableTrackError(code, f"{message} Found: {self._found()}.")

    @cached_property
    def _first_with_id(self) -> dict[int, int]:
        return {track.id: index for index, track in reversed(list(enumerate(self._tracks)))}

    def _samples(self, index: int) -> int:
        track = self._tracks[index]
        return (0 if track.is_hidden else track.samples) + self._fragmented(index)

    def _fragmented(self, index: int) -> int:
        track = self._tracks[index]
        return self._in_fragments.get(track.id, 0) if self._first_with_id[track.id] == index else 0

    def _edits(self, index: int) -> EditList | None:
        track = self._tracks[index]
        if track.edit_table is None or not track.timed or not self._timescale:
            return None
        return EditList(
            table=track.edit_table,
            version=track.edit_version,
            times=None if self._fragmented(index) else track.time_table,
            movie_timescale=self._timescale,
            timescale=track.timescale or self._timescale,
            media_duration=track.media_duration,
            first_time=track.first_offset,
        )

    def _found(self) -> str:
        shown = [
            f"track {index + 1}: {', '.join(self._described(index))}"
            for index in range(min(len(self._tracks), _MOST_SHOWN))
        ]
        if len(self._tracks) > _MOST_SHOWN:
            shown.append(f"{len(self._tracks) - _MOST_SHOWN} more")
        return "; ".join(shown) or "no track"

    def _described(self, index: int) -> list[str]:
        track = self._tracks[index]
        if not track.is_video:
            return [_KINDS.get(track.handler) or printable(track.handler)]
        words = [track.codec.shown() if track.codec.fourcc else "no codec"]
        if track.codec.encrypted:
            words.append("encrypted")
        elif not track.codec.readable:
            words.append("not read")
        if index not in self._moving:
            words.append("pictures for another track")
        if not self._samples(index):
            words.append("hidden by its edit list" if track.samples else "no samples")
        return words
