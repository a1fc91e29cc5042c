"""The limits of what is read, and how a refusal is worded."""

from __future__ import annotations

from typing import NoReturn

from videoqueue.errors import InvalidVideoError, VideoFault

MAX_SAMPLES = 10_000_000  # frames of one track: 46 hours at 60 a second; FFmpeg keeps about 30 bytes for each
MAX_PCM_SAMPLES = 2**31  # uncompressed audio counts single values: 12 hours at 48 kHz
MAX_TRACKS = 64
MAX_EDITS = 10_000
# Keeps the check under a second of CPU, whatever a file is made of. A step is about 0.1 us, which is what it
# takes to skip a box; the costs of everything else were measured in it. An hour of fragments of one frame, 60
# a second, with the sound in fragments of its own, takes 5 million.
MAX_STEPS = 7_000_000


def refuse(code: VideoFault, message: str) -> NoReturn:
    raise InvalidVideoError(code, message)


def refuse_as_damaged(what: str) -> NoReturn:
    refuse("not_mp4", f"The file is damaged: {what}. Write it anew as MP4.")


def refuse_as_too_short() -> NoReturn:
    refuse_as_damaged("a box is too short for what it holds")


def refuse_as_mixed() -> NoReturn:
    refuse_as_damaged("boxes of its header lie in a fragment, or the other way round")


def refuse_as_foreign() -> NoReturn:
    refuse("not_mp4", "This is not an MP4 or QuickTime file. Convert the video to MP4 and upload that.")


def refuse_as_cut_stream() -> NoReturn:
    refuse(
        "truncated_mp4",
        "The file is cut off in its last fragment. Upload the whole file. The fragments before the last one "
        "are read only where VIDEOQUEUE_ACCEPT_TRUNCATED is on.",
    )


def refuse_samples(count: int) -> NoReturn:
    refuse(
        "unsupported_video",
        f"The file declares {count:,} samples in a track; at most {MAX_SAMPLES:,} are read. Upload a part.",
    )


def refuse_audio(count: int) -> NoReturn:
    refuse(
        "unsupported_video",
        f"The file declares {count:,} values of uncompressed audio; at most {MAX_PCM_SAMPLES:,} are read. "
        "Remove the audio, for example with `ffmpeg -i in.mp4 -an -c copy out.mp4`.",
    )


def refuse_edits(count: int) -> NoReturn:
    refuse(
        "unsupported_video",
        f"The file has {count:,} edits; at most {MAX_EDITS:,} are read. Encode the edited video anew.",
    )


def refuse_pixels(pixels: int, most: int) -> NoReturn:
    refuse(
        "unsupported_video",
        f"The picture has {pixels:,} pixels; at most {most:,} are accepted (VIDEOQUEUE_MAX_PIXELS). "
        "Make it smaller.",
    )


def refuse_tracks(most: int) -> NoReturn:
    refuse(
        "unsupported_video",
        f"The file has more than {most} tracks, the most that are accepted (VIDEOQUEUE_MAX_STREAMS). "
        "Export the video alone.",
    )


def refuse_effort() -> NoReturn:
    refuse(
        "unsupported_video",
        f"Reading the file's boxes and tables takes more than {MAX_STEPS:,} steps, the most that are taken. "
        "Write it anew as an MP4 without fragments, for example with `ffmpeg -i in.mp4 -c copy out.mp4`, "
        "or upload a part.",
    )
