"""Settings of the worker: processes, limits, leases, retries and the removal of old data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from videoqueue import failpoints
from videoqueue.settings.values import (
    MAX_DAYS,
    choice,
    existing_folder,
    existing_paths,
    seconds,
    setting,
    whole,
)


def failpoints_folder(value: str) -> str:
    """Returns the absolute path of a folder of valid failpoint orders."""
    folder = existing_folder(value)
    if found := failpoints.flaws(Path(folder)):
        raise ValueError(f"takes a folder with orders for failpoints; {found[0]}")
    return folder


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """Settings of worker processes and of the child processes that decode videos."""

    worker_processes: int = setting(
        "VIDEOQUEUE_WORKER_PROCESSES", whole(1), 1, "processes", "Number of worker processes."
    )
    worker_threads: int = setting(
        "VIDEOQUEUE_WORKER_THREADS",
        whole(1),
        1,
        "threads",
        "Jobs that one worker process runs at the same time.",
    )
    job_timeout_seconds: float = setting(
        "VIDEOQUEUE_JOB_TIMEOUT_SECONDS",
        seconds,
        6 * 3600.0,
        "seconds",
        "Maximum processing time of a job, over all attempts.",
    )
    stall_timeout_seconds: float = setting(
        "VIDEOQUEUE_STALL_TIMEOUT_SECONDS",
        seconds,
        120.0,
        "seconds",
        "A child process that neither finishes a frame nor loads a model for this long is killed.",
    )
    sandbox: str = setting(
        "VIDEOQUEUE_SANDBOX",
        choice("auto", "required", "off"),
        "auto",
        "auto, required or off",
        "What confines the child process that reads videos and runs plugins. auto: Landlock, seccomp and "
        "namespaces, as far as the system has them. required: a worker does not start without Landlock and "
        "seccomp. off: nothing but the limits below.",
    )
    sandbox_read: str = setting(
        "VIDEOQUEUE_SANDBOX_READ",
        existing_paths,
        "",
        "paths",
        "Files and folders that plugins may also read, separated by colons, such as models of a plugin of "
        "your own.",
    )
    plugin_network: str = setting(
        "VIDEOQUEUE_PLUGIN_NETWORK",
        choice("off", "allowed"),
        "off",
        "off or allowed",
        "allowed: pipelines with a plugin whose manifest has `network=True` may open connections to all "
        "that the worker can reach. Other pipelines never may.",
    )
    sandbox_memory_bytes: int = setting(
        "VIDEOQUEUE_SANDBOX_MEMORY_BYTES",
        whole(64 * 1024**2),
        0,
        "bytes",
        "Maximum memory of a child process that processes a video. A child that uses more than 75 % after a "
        "job is replaced. Default: the memory of the container or machine, less that of the worker, divided "
        "by (worker processes x worker threads), at most 2 GiB. A worker does not start if the models need "
        "more.",
    )
    sandbox_file_bytes: int = setting(
        "VIDEOQUEUE_SANDBOX_FILE_BYTES",
        whole(1),
        64 * 1024**2,
        "bytes",
        "Maximum size of a file that a child process or its plugins write.",
    )
    sandbox_scratch_bytes: int = setting(
        "VIDEOQUEUE_SANDBOX_SCRATCH_BYTES",
        whole(1),
        256 * 1024**2,
        "bytes",
        "Maximum size of all temporary files of a child process. Each file and folder counts as at least "
        "4,096 bytes, a folder inside others as more. The worker looks twice a second; a job whose plugins "
        "write more fails.",
    )
    sandbox_open_files: int = setting(
        "VIDEOQUEUE_SANDBOX_OPEN_FILES",
        whole(32),
        256,
        "files",
        "Maximum number of open files of a child process.",
    )
    sandbox_log_lines: int = setting(
        "VIDEOQUEUE_SANDBOX_LOG_LINES",
        whole(1),
        1000,
        "lines",
        "Maximum number of lines of a child process in the log, for one job. Of further lines, the last 100 "
        "are logged.",
    )
    sandbox_jobs: int = setting(
        "VIDEOQUEUE_SANDBOX_JOBS", whole(1), 50, "jobs", "A child process is replaced after this many jobs."
    )
    max_attempts: int = setting(
        "VIDEOQUEUE_MAX_ATTEMPTS",
        whole(1),
        5,
        "tries",
        "A job fails after this many transient errors in a row (storage, database, network).",
    )
    max_crashes: int = setting(
        "VIDEOQUEUE_MAX_CRASHES",
        whole(1),
        3,
        "crashes",
        "A job fails after its worker or child process crashed this many times in a row.",
    )
    retry_seconds: float = setting(
        "VIDEOQUEUE_RETRY_SECONDS",
        seconds,
        5.0,
        "seconds",
        "Pause before the second attempt. It doubles with each further one.",
    )
    lease_seconds: float = setting(
        "VIDEOQUEUE_LEASE_SECONDS",
        seconds,
        20.0,
        "seconds",
        "A running job whose worker did not renew its lease for this long is taken by another worker.",
    )
    crash_retry_seconds: float = setting(
        "VIDEOQUEUE_CRASH_RETRY_SECONDS",
        seconds,
        0.5,
        "seconds",
        "Pause before the next attempt after a child process crashed.",
    )
    renew_seconds: float = setting(
        "VIDEOQUEUE_RENEW_SECONDS", seconds, 4.0, "seconds", "Interval at which a worker renews its lease."
    )
    sweep_seconds: float = setting(
        "VIDEOQUEUE_SWEEP_SECONDS",
        seconds,
        5.0,
        "seconds",
        "Interval at which a worker looks for jobs that need rescue.",
    )
    sweep_rows: int = setting(
        "VIDEOQUEUE_SWEEP_ROWS",
        whole(1),
        200,
        "jobs",
        "Maximum number of jobs that one sweep rescues, or that one step of a purge removes.",
    )
    announce_seconds: float = setting(
        "VIDEOQUEUE_ANNOUNCE_SECONDS",
        seconds,
        10.0,
        "seconds",
        "A pending job is announced again after this long. The pause doubles each time.",
    )
    announce_max_seconds: float = setting(
        "VIDEOQUEUE_ANNOUNCE_MAX_SECONDS",
        seconds,
        600.0,
        "seconds",
        "Maximum pause between two announcements of a job.",
    )
    retention_days: int = setting(
        "VIDEOQUEUE_RETENTION_DAYS",
        whole(0, MAX_DAYS),
        30,
        "days",
        "A job is removed, with its video and results, this long after its end; 0 keeps all jobs.",
    )
    purge_seconds: float = setting(
        "VIDEOQUEUE_PURGE_SECONDS", seconds, 3600.0, "seconds", "Interval at which a worker removes old data."
    )
    orphan_seconds: float = setting(
        "VIDEOQUEUE_ORPHAN_SECONDS",
        seconds,
        86400.0,
        "seconds",
        "Age at which unfinished uploads, videos without a job, and rows of lost workers are removed.",
    )
    checkpoint_seconds: float = setting(
        "VIDEOQUEUE_CHECKPOINT_SECONDS",
        seconds,
        3.0,
        "seconds",
        "Maximum time between two commits of results while a job runs.",
    )
    max_result_bytes: int = setting(
        "VIDEOQUEUE_MAX_RESULT_BYTES",
        whole(0),
        1024**3,
        "bytes",
        "Maximum size of the results of a job as they are served, uncompressed. A job that has more fails; 0 "
        "for no limit.",
    )
    failpoints_dir: str = setting(
        "VIDEOQUEUE_FAILPOINTS_DIR",
        failpoints_folder,
        "",
        "folder",
        "For tests only: orders to crash, stop or fail at the steps listed in `videoqueue/failpoints.py`.",
    )

    @property
    def worker_silence_seconds(self) -> float:
        """Returns the age of a heartbeat at which its worker counts as dead: three sweeps."""
        return 3 * self.sweep_seconds
