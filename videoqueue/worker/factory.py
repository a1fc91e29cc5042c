"""Settings -> sandbox; apart from both, because the child process may not know settings."""

from __future__ import annotations

from videoqueue.settings import Settings
from videoqueue.worker.limits import SandboxLimits
from videoqueue.worker.sandbox import Sandbox


def make_sandbox(settings: Settings) -> Sandbox:
    limits = SandboxLimits(
        memory_bytes=settings.sandbox_memory_bytes,
        file_bytes=settings.sandbox_file_bytes,
        open_files=settings.sandbox_open_files,
        log_lines=settings.sandbox_log_lines,
        jobs=settings.sandbox_jobs,
        job_seconds=settings.job_timeout_seconds,
        stall_seconds=settings.stall_timeout_seconds,
    )
    return Sandbox(settings.pipeline_options, limits)
