"""Makes a sandbox from the settings. It is a module of its own because `sandbox` must not import settings."""

from __future__ import annotations

from videoqueue.errors import SettingsError
from videoqueue.sandbox.limits import SandboxLimits
from videoqueue.sandbox.sandbox import Sandbox
from videoqueue.settings import Settings
from videoqueue.settings.capacity import needed_memory


def make_sandbox(settings: Settings) -> Sandbox:
    """Returns a sandbox with the limits that the settings name."""
    return Sandbox(settings.pipeline_options, sandbox_limits(settings))


def sandbox_limits(settings: Settings) -> SandboxLimits:
    """Returns the limits of a child process that the settings name."""
    return SandboxLimits(
        memory_bytes=settings.sandbox_memory_bytes,
        file_bytes=settings.sandbox_file_bytes,
        open_files=settings.sandbox_open_files,
        log_lines=settings.sandbox_log_lines,
        jobs=settings.sandbox_jobs,
        job_seconds=settings.job_timeout_seconds,
        stall_seconds=settings.stall_timeout_seconds,
    )


def check_memory(settings: Settings) -> None:
    """Checks that a child process may use enough memory to load the models and decode a 1080p video.

    Raises:
        SettingsError: the limit is too low. The message is one line and names the bytes needed.
    """
    threads, memory = settings.inference_threads, settings.sandbox_memory_bytes
    needed = needed_memory(threads, settings.own_models)
    if memory >= needed:
        return
    fewer = "" if threads == 1 else ", or lower VIDEOQUEUE_INFERENCE_THREADS"
    raise SettingsError(
        f"VIDEOQUEUE_SANDBOX_MEMORY_BYTES={memory} is too low (the default is the available memory of this "
        f"container or machine). With VIDEOQUEUE_INFERENCE_THREADS={threads}, loading the models and reading "
        f"1080p needs {needed} bytes. Set it to at least {needed} on a machine with enough memory{fewer}."
    )
