"""Settings of the worker: its processes, their limits, and how jobs are leased, retried and removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from videoqueue import failpoints
from videoqueue.settings.values import existing_folder, seconds, setting, whole


def failpoints_folder(value: str) -> str:
    folder = existing_folder(value)
    if found := failpoints.flaws(Path(folder)):
        raise ValueError(f"takes a folder of orders for named steps; {found[0]}")
    return folder


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    worker_processes: int = setting(
        "VIDEOQUEUE_WORKER_PROCESSES", whole(1), 1, "processes", "Worker processes."
    )
    worker_threads: int = setting(
        "VIDEOQUEUE_WORKER_THREADS", whole(1), 1, "threads", "Jobs done at once by one worker process."
    )
    job_timeout_seconds: float = setting(
        "VIDEOQUEUE_JOB_TIMEOUT_SECONDS",
        seconds,
        6 * 3600.0,
        "seconds",
        "A job that was worked at for so long, all attempts together, fails.",
    )
    stall_timeout_seconds: float = setting(
        "VIDEOQUEUE_STALL_TIMEOUT_SECONDS",
        seconds,
        120.0,
        "seconds",
        "A child process with no sign of life for so long (a frame, or a model loaded) is ended.",
    )
    sandbox_memory_bytes: int = setting(
        "VIDEOQUEUE_SANDBOX_MEMORY_BYTES",
        whole(64 * 1024**2),
        0,
        "bytes",
        "Memory of one child process, which reads a video; one that keeps more than 75 % is replaced. "
        "Default: what the container or machine has, less the worker's own part, divided by (worker "
        "processes x worker threads), at most 2 GiB. A worker does not start when the models need more.",
    )
    sandbox_file_bytes: int = setting(
        "VIDEOQUEUE_SANDBOX_FILE_BYTES",
        whole(1),
        64 * 1024**2,
        "bytes",
        "The largest file that a child process, with its plugins, may write.",
    )
    sandbox_open_files: int = setting(
        "VIDEOQUEUE_SANDBOX_OPEN_FILES",
        whole(32),
        256,
        "files",
        "Files a child process may have open at once.",
    )
    sandbox_log_lines: int = setting(
        "VIDEOQUEUE_SANDBOX_LOG_LINES",
        whole(1),
        1000,
        "lines",
        "Lines that a child process prints for one job and the log shows; of more, the last 100 are shown.",
    )
    sandbox_jobs: int = setting(
        "VIDEOQUEUE_SANDBOX_JOBS", whole(1), 50, "jobs", "A child process is replaced after so many."
    )
    max_attempts: int = setting(
        "VIDEOQUEUE_MAX_ATTEMPTS",
        whole(1),
        5,
        "tries",
        "A job that met this many passing errors in a row (storage, database, network) fails.",
    )
    max_crashes: int = setting(
        "VIDEOQUEUE_MAX_CRASHES",
        whole(1),
        3,
        "crashes",
        "A job whose worker stopped this many times in a row while processing it fails.",
    )
    retry_seconds: float = setting(
        "VIDEOQUEUE_RETRY_SECONDS", seconds, 5.0, "seconds", "Pause before the second try; doubles with each."
    )
    lease_seconds: float = setting(
        "VIDEOQUEUE_LEASE_SECONDS",
        seconds,
        20.0,
        "seconds",
        "A running job whose worker was not heard of for so long is given to another.",
    )
    crash_retry_seconds: float = setting(
        "VIDEOQUEUE_CRASH_RETRY_SECONDS",
        seconds,
        0.5,
        "seconds",
        "Pause after the child process that reads a video has crashed.",
    )
    renew_seconds: float = setting(
        "VIDEOQUEUE_RENEW_SECONDS", seconds, 4.0, "seconds", "How often a worker renews its lease."
    )
    sweep_seconds: float = setting(
        "VIDEOQUEUE_SWEEP_SECONDS",
        seconds,
        5.0,
        "seconds",
        "How often a worker looks for jobs that were forgotten.",
    )
    sweep_rows: int = setting(
        "VIDEOQUEUE_SWEEP_ROWS", whole(1), 200, "jobs", "Jobs taken back or announced again at a time."
    )
    announce_seconds: float = setting(
        "VIDEOQUEUE_ANNOUNCE_SECONDS",
        seconds,
        10.0,
        "seconds",
        "A job that waits so long is announced to the workers again; doubles with each.",
    )
    announce_max_seconds: float = setting(
        "VIDEOQUEUE_ANNOUNCE_MAX_SECONDS", seconds, 600.0, "seconds", "The longest pause between the two."
    )
    retention_days: int = setting(
        "VIDEOQUEUE_RETENTION_DAYS",
        whole(0),
        30,
        "days",
        "A job that ended so long ago is removed with its video and its results; 0 keeps all.",
    )
    purge_seconds: float = setting(
        "VIDEOQUEUE_PURGE_SECONDS", seconds, 3600.0, "seconds", "How often a worker removes what is old."
    )
    orphan_seconds: float = setting(
        "VIDEOQUEUE_ORPHAN_SECONDS",
        seconds,
        86400.0,
        "seconds",
        "Unfinished uploads, videos without a job, and traces of lost workers are removed when so old.",
    )
    checkpoint_seconds: float = setting(
        "VIDEOQUEUE_CHECKPOINT_SECONDS",
        seconds,
        3.0,
        "seconds",
        "Results are committed at least this often while a job runs.",
    )
    failpoints_dir: str = setting(
        "VIDEOQUEUE_FAILPOINTS_DIR",
        failpoints_folder,
        "",
        "folder",
        "For tests only: orders to die, stop or fail at the steps listed in `videoqueue/failpoints.py`.",
    )

    @property
    def worker_silence_seconds(self) -> float:
        """A worker that was not heard of for so long is taken for dead: it missed three sweeps."""
        return 3 * self.sweep_seconds
