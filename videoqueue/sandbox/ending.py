"""Why a child process ended, or has to be ended, as the error of its task."""

from __future__ import annotations

import signal

from videoqueue.errors import OutOfMemoryError, SandboxCrashedError, ScratchFullError, StalledError
from videoqueue.pipeline.memory import is_out_of_memory_text
from videoqueue.sandbox.scratch import LEAST_BYTES

#: Signals that may end a process which ignored a failed allocation.
_MAY_BE_MEMORY = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL, -signal.SIGFPE)
_OUT_OF_MEMORY = "The process that reads the video ran out of memory."


def stalled(seconds: float, was_full: bool, said: str) -> Exception:
    """Returns the error for a child that sent no whole message in time.

    Args:
        seconds: the time that it had.
        was_full: whether it has used nearly all its memory.
        said: the end of what it has printed.
    """
    # Python and OpenVINO may wait forever for a thread that failed to allocate memory.
    if was_full or is_out_of_memory_text(said):
        return OutOfMemoryError(_OUT_OF_MEMORY)
    return StalledError(
        "The process that reads the video made no progress for "
        f"{seconds:g} seconds (VIDEOQUEUE_STALL_TIMEOUT_SECONDS) and was ended."
    )


def death(code: int | None, was_full: bool, said: str) -> Exception:
    """Returns the error for a child that has closed its pipe.

    Args:
        code: its exit code, negative for a signal; None if it still runs.
        was_full: whether it has used nearly all its memory.
        said: the end of what it has printed.
    """
    if code is None:
        return SandboxCrashedError("The process that reads the video closed its connection without exiting.")
    # At the limit of the child an allocation fails; SIGKILL comes from the kernel, for the whole machine.
    if (code in _MAY_BE_MEMORY and was_full) or (code != -signal.SIGKILL and is_out_of_memory_text(said)):
        return OutOfMemoryError(_OUT_OF_MEMORY)
    how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    hint = " The machine may have run out of memory." if code == -signal.SIGKILL else ""
    return SandboxCrashedError(f"The process that reads the video {how}.{hint}")


def out_of_memory() -> OutOfMemoryError:
    """Returns the error for a child that used more memory than it may, by sharing it."""
    return OutOfMemoryError(_OUT_OF_MEMORY)


def scratch_full(most: int) -> ScratchFullError:
    """Returns the error for a child whose temporary files had more than `most` bytes."""
    return ScratchFullError(
        f"The plugins wrote more than {most} bytes of temporary files (VIDEOQUEUE_SANDBOX_SCRATCH_BYTES). "
        f"Each file and folder counts as at least {LEAST_BYTES} bytes. Use another pipeline, or ask for a "
        "higher limit."
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal has no name
