"""How a refusal is worded."""

from __future__ import annotations

from typing import NoReturn

from videoqueue.errors import InvalidVideoError, VideoFault
from videoqueue.mp4.limits import CheckLimits


class LimitExceededError(InvalidVideoError):
    """The file may be intact; it exceeds a limit, whose setting the message names."""


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


def refuse_as_cut_stream(limits: CheckLimits) -> NoReturn:
    refuse(
        "truncated_mp4",
        "The file is cut off in its last fragment. Upload the whole file. The fragments before the last one "
        f"are read only where {limits.setting('accept_truncated')} is on.",
    )


def refuse_samples(count: int, limits: CheckLimits) -> NoReturn:
    _refuse_above_limit(
        f"The file declares {count:,} samples in a track; at most {limits.samples:,} are accepted "
        f"({limits.setting('max_samples')}). Upload a part."
    )


def refuse_audio(count: int, limits: CheckLimits) -> NoReturn:
    _refuse_above_limit(
        f"The file declares {count:,} values of uncompressed audio; at most {limits.audio_values:,} are "
        f"accepted ({limits.setting('max_audio_values')}). Remove the audio, for example with "
        "`ffmpeg -i in.mp4 -an -c copy out.mp4`."
    )


def refuse_edits(count: int, limits: CheckLimits) -> NoReturn:
    _refuse_above_limit(
        f"The file has {count:,} edits in a track; at most {limits.edits:,} are accepted "
        f"({limits.setting('max_edits')}). Encode the edited video anew."
    )


def refuse_pixels(pixels: int, limits: CheckLimits) -> NoReturn:
    _refuse_above_limit(
        f"The picture has {pixels:,} pixels; at most {limits.pixels:,} are accepted "
        f"({limits.setting('max_pixels')}). Make it smaller."
    )


def refuse_tracks(limits: CheckLimits) -> NoReturn:
    _refuse_above_limit(
        f"The file has more than {limits.tracks:,} tracks, the most that are accepted "
        f"({limits.setting('max_streams')}). Export the video alone."
    )


def refuse_effort(limits: CheckLimits) -> NoReturn:
    _refuse_above_limit(
        f"Reading the file's boxes and tables takes more than {limits.steps:,} steps, the most that are "
        f"accepted ({limits.setting('max_check_steps')}). Write it anew as an MP4 without "
        "fragments, for example with `ffmpeg -i in.mp4 -c copy out.mp4`, or upload a part."
    )


def _refuse_above_limit(message: str) -> NoReturn:
    raise LimitExceededError("unsupported_video", message)
