"""Translates what PyAV and FFmpeg raise into errors that say what is wrong with the video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av.error

from videoqueue.errors import InvalidVideoError, OutOfMemoryError, VideoFault

#: What decoding a packet or converting a picture may raise because of the data. PyAV raises a plain OSError
#: for the errors of FFmpeg that it has no class for.
BAD_DATA = (av.error.FFmpegError, ValueError, OverflowError, OSError)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Translates everything that PyAV and FFmpeg raise about an open file; `what` begins the message.

    Raises:
        InvalidVideoError: the data is damaged, or uses a feature that FFmpeg does not support.
        OutOfMemoryError: an allocation failed.
    """
    try:
        yield
    except InvalidVideoError:
        raise
    except MemoryError as error:
        raise out_of_memory(what) from error
    except BAD_DATA as error:
        raise refusal_of(what, error) from error


@contextmanager
def opening() -> Iterator[None]:
    """Translates what PyAV and FFmpeg raise while a file is opened.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    what = "The file cannot be read as an MP4 video"
    try:
        yield
    except MemoryError as error:
        raise out_of_memory(what) from error
    except av.error.PatchWelcomeError as error:
        raise refusal_of(what, error) from error
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        raise _damaged("not_mp4", what, "it is something else, damaged, or encrypted") from error


def refusal_of(what: str, error: Exception) -> InvalidVideoError:
    """Returns the error that refuses a video because of an error of BAD_DATA."""
    if isinstance(error, av.error.PatchWelcomeError):
        return unsupported(f"{what}: it uses a feature that is not supported. Convert it to plain H.264.")
    return _damaged("unsupported_video", what, "its data is damaged")


def out_of_memory(what: str) -> OutOfMemoryError:
    """Returns the error for a failed allocation; `what` says what could not be done."""
    return OutOfMemoryError(f"{what}: it needs more memory than there is, or is damaged.")


def unsupported(message: str) -> InvalidVideoError:
    """Returns the error for a video that this service does not process."""
    return InvalidVideoError("unsupported_video", message)


def cut_off(how: str) -> InvalidVideoError:
    """Returns the error for a file that ends too early; `how` says where."""
    return InvalidVideoError("truncated_mp4", f"The video is cut off: {how}. Submit the complete file.")


def encrypted() -> InvalidVideoError:
    """Returns the error for a video that is encrypted."""
    return unsupported("The video is encrypted (DRM). Submit a copy without protection.")


def _damaged(code: VideoFault, what: str, reason: str) -> InvalidVideoError:
    return InvalidVideoError(code, f"{what}: {reason}. Check that the file plays.")
