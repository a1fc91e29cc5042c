"""How a refusal is worded."""

from __future__ import annotations

from typing import NoReturn

from videoqueue.errors import InvalidVideoError, VideoFault


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


def refuse_as_cut_stream() -> NoReturn:
    refuse(
        "truncated_mp4",
        "The file is cut off in its last fragment. Upload the whole file. The fragments before the last one "
        "are read only where VIDEOQUEUE_ACCEPT_TRUNCATED is on.",
    )


def refuse_samples(count: int, limit: int) -> NoReturn:
    _refuse_above_limit(
        f"The file declares {count:,} samples in a track; at most {limit:,} are accepted "
        "(VIDEOQUEUE_MAX_SAMPLES). Upload a part."
    )


def refuse_audio(count: int, limit: int) -> NoReturn:
    _refuse_above_limit(
        f"The file declares {count:,} values of uncompressed audio; at most {limit:,} are accepted "
        "(VIDEOQUEUE_MAX_AUDIO_VALUES). Remove the audio, for example with "
        "`ffmpeg -i in.mp4 -an -c copy out.mp4`."
    )


def refuse_edits(count: int, limit: int) -> NoReturn:
    _refuse_above_limit(
        f"The file has {count:,} edits in a track; at most {limit:,} are accepted (VIDEOQUEUE_MAX_EDITS). "
        "Encode the edited video anew."
    )


def refuse_pixels(pixels: int, limit: int) -> NoReturn:
    _refuse_above_limit(
        f"The picture has {pixels:,} pixels; at most {limit:,} are accepted (VIDEOQUEUE_MAX_PIXELS). "
        "Make it smaller."
    )


def refuse_tracks(limit: int) -> NoReturn:
    _refuse_above_limit(
        f"The file has more than {limit:,} tracks, the most that are accepted (VIDEOQUEUE_MAX_STREAMS). "
        "Export the video alone."
    )


def refuse_effort(limit: int) -> NoReturn:
    _refuse_above_limit(
        f"Reading the file's boxes and tables takes more than {limit:,} steps, the most that are accepted "
        "(VIDEOQUEUE_MAX_CHECK_STEPS). Write it anew as an MP4 without fragments, for example with "
        "`ffmpeg -i in.mp4 -c copy out.mp4`, or upload a part."
    )


def _refuse_above_limit(message: str) -> NoReturn:
    raise LimitExceededError("unsupported_video", message)
