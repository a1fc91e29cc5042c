"""The table of settings. The environment is read here and nowhere else, once, when a process starts.

Standard names where the world has one (DATABASE_URL, PORT); ours begin with VIDEOQUEUE_. boto3 reads the
usual AWS_* variables by itself. A bad value stops the start with one line that names the setting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from videoqueue import failpoints
from videoqueue.errors import SettingsError
from videoqueue.setting_values import (
    Parser,
    database_url,
    existing_file,
    existing_folder,
    port,
    seconds,
    text,
    url,
    whole,
)


def failpoints_folder(value: str) -> str:
    folder = existing_folder(value)
    if found := failpoints.flaws(Path(folder)):
        raise ValueError(f"takes a folder of orders for named steps; {found[0]}")
    return folder


def setting(name: str, parse: Parser, default: Any, unit: str, help: str) -> Any:
    return field(default=default, metadata={"name": name, "parse": parse, "unit": unit, "help": help})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting with its parsed value. An empty variable counts as not set."""

    data_dir: str = setting(
        "VIDEOQUEUE_DATA_DIR", text, "./var", "folder", "Where everything is kept that has no URL of its own."
    )
    database_url: str = setting(
        "DATABASE_URL",
        database_url,
        "",
        "URL",
        "Jobs and results: postgresql://... or sqlite:///FILE. Default: a SQLite file in the data folder.",
    )
    redis_url: str = setting(
        "REDIS_URL",
        url("redis", "rediss", "unix"),
        "",
        "URL",
        "The queue. Web and worker do not start without it; `videoqueue up` brings its own.",
    )
    storage_url: str = setting(
        "VIDEOQUEUE_STORAGE_URL",
        url("file", "s3"),
        "",
        "URL",
        "Submitted videos: file:///FOLDER or s3://BUCKET/PREFIX. Default: a folder in the data folder.",
    )
    host: str = setting(
        "VIDEOQUEUE_HOST",
        text,
        "",
        "address",
        "Where the web process listens. Default: 0.0.0.0 when PORT is set, else 127.0.0.1.",
    )
    port: int = setting("PORT", port, 0, "port", "The port the web process listens on. Default: 8000.")
    web_threads: int = setting(
        "VIDEOQUEUE_WEB_THREADS", whole(1), 16, "threads", "Requests served at once by one web process."
    )
    web_concurrency: int = setting("WEB_CONCURRENCY", whole(1), 1, "processes", "Web processes.")
    worker_processes: int = setting(
        "VIDEOQUEUE_WORKER_PROCESSES", whole(1), 1, "processes", "Worker processes."
    )
    worker_threads: int = setting(
        "VIDEOQUEUE_WORKER_THREADS", whole(1), 1, "threads", "Jobs done at once by one worker process."
    )
    inference_threads: int = setting(
        "VIDEOQUEUE_INFERENCE_THREADS",
        whole(1),
        0,
        "threads",
        "Threads that read the frames of one job. Default: cores / (worker processes x worker threads).",
    )
    url: str = setting(
        "VIDEOQUEUE_URL",
        url("http", "https"),
        "http://127.0.0.1:8000",
        "URL",
        "The service that `videoqueue submit`, `status` and `results` talk to.",
    )
    default_pipeline: str = setting(
        "VIDEOQUEUE_DEFAULT_PIPELINE", text, "yolo_ocr", "pipeline", "Used when a submission names none."
    )
    pipelines_dir: str = setting(
        "VIDEOQUEUE_PIPELINES_DIR",
        existing_folder,
        "",
        "folder",
        "Pipeline definitions of your own (*.json), beside the built-in ones.",
    )
    yolo_model: str = setting(
        "VIDEOQUEUE_YOLO_MODEL",
        existing_file,
        "",
        "file",
        "The object detector, a YOLO model in ONNX. Default: YOLOv3-tiny, which comes with the package.",
    )
    yolo_labels: str = setting(
        "VIDEOQUEUE_YOLO_LABELS",
        existing_file,
        "",
        "file",
        "Names of the detector's classes, one a line. Default: those in the model, or COCO's 80.",
    )
    yolo_family: str = setting(
        "VIDEOQUEUE_YOLO_FAMILY",
        text,
        "",
        "name",
        "How the detector's output is to be read, where the model does not tell.",
    )
    max_upload_bytes: int = setting(
        "VIDEOQUEUE_MAX_UPLOAD_BYTES", whole(1), 2 * 1024**3, "bytes", "The largest video accepted."
    )
    upload_stall_seconds: float = setting(
        "VIDEOQUEUE_UPLOAD_STALL_SECONDS",
        seconds,
        20.0,
        "seconds",
        "A client that sends nothing of its video, or takes nothing of its results, for so long is cut off.",
    )
    upload_min_bytes_per_second: int = setting(
        "VIDEOQUEUE_UPLOAD_MIN_BYTES_PER_SECOND",
        whole(1),
        16384,
        "bytes/second",
        "A client slower than this, over the time above, is cut off too.",
    )
    header_seconds: float = setting(
        "VIDEOQUEUE_HEADER_SECONDS",
        seconds,
        10.0,
        "seconds",
        "A client whose request head takes longer is cut off.",
    )
    max_concurrent_uploads: int = setting(
        "VIDEOQUEUE_MAX_CONCURRENT_UPLOADS",
        whole(1),
        0,
        "requests",
        "Videos received at once by one web process. Default: half of its threads.",
    )
    max_concurrent_downloads: int = setting(
        "VIDEOQUEUE_MAX_CONCURRENT_DOWNLOADS",
        whole(1),
        0,
        "requests",
        "Results sent at once by one web process. Default: a quarter of its threads.",
    )
    turn_seconds: float = setting(
        "VIDEOQUEUE_TURN_SECONDS",
        seconds,
        10.0,
        "seconds",
        "How long more of either wait for their turn, before they are refused with `rate_limited`.",
    )
    max_pending_jobs: int = setting(
        "VIDEOQUEUE_MAX_PENDING_JOBS",
        whole(0),
        10_000,
        "jobs",
        "While so many wait for a worker, no more are accepted; 0 for no limit.",
    )
    dependency_seconds: float = setting(
        "VIDEOQUEUE_DEPENDENCY_SECONDS",
        seconds,
        2.0,
        "seconds",
        "How long a request waits for the database or the storage before it is answered with 503.",
    )
    trusted_proxies: int = setting(
        "VIDEOQUEUE_TRUSTED_PROXIES",
        whole(0),
        0,
        "proxies",
        "Proxies in front whose X-Forwarded-For, -Proto and -Host are believed. Default: none.",
    )
    max_pixels: int = setting(
        "VIDEOQUEUE_MAX_PIXELS",
        whole(1),
        8192 * 4320,
        "pixels",
        "Width x height of the largest frame accepted.",
    )
    max_frames: int = setting(
        "VIDEOQUEUE_MAX_FRAMES",
        whole(1),
        1_000_000,
        "frames",
        "A video with more frames fails, those left out included; counted as they are decoded.",
    )
    max_streams: int = setting(
        "VIDEOQUEUE_MAX_STREAMS",
        whole(1),
        64,
        "tracks",
        "Tracks of any kind that a video may have; more than 64 are refused at submission anyway.",
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
        2 * 1024**3,
        "bytes",
        "Memory of one child process, which reads a video; one that keeps more than 60 % is replaced.",
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
    leftover_seconds: float = setting(
        "VIDEOQUEUE_LEFTOVER_SECONDS",
        seconds,
        86400.0,
        "seconds",
        "Unfinished uploads, videos without a job, and traces of lost workers are removed when so old.",
    )
    ready_seconds: float = setting(
        "VIDEOQUEUE_READY_SECONDS",
        seconds,
        2.0,
        "seconds",
        "How long `/readyz` waits for the database, the storage and the queue.",
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
    def data_path(self) -> Path:
        return Path(self.data_dir).absolute()

    @property
    def bind(self) -> tuple[str, int]:
        """Where the web process listens: to the world only when a platform says so by setting PORT."""
        default = "0.0.0.0" if self.port else "127.0.0.1"  # noqa: S104
        return self.host or default, self.port or 8000

    @property
    def pipeline_options(self) -> dict[str, Any]:
        """What `videoqueue.pipeline.service.build_service` takes; plain values, for a child process too."""
        values = {
            "yolo.model": self.yolo_model,
            "yolo.labels": self.yolo_labels,
            "yolo.family": self.yolo_family,
        }
        return {
            "pipelines_dir": self.pipelines_dir or None,
            "inference_threads": self.inference_threads,
            "max_pixels": self.max_pixels,
            "max_decoded_frames": self.max_frames,
            "max_streams": self.max_streams,
            "plugin_values": {name: value for name, value in values.items() if value},
        }

    @property
    def worker_silence_seconds(self) -> float:
        """A worker that was not heard of for so long is taken for dead: it missed three sweeps."""
        return 3 * self.sweep_seconds

    def require_durable(self) -> None:
        """Refuses settings under which an accepted job could be lost.

        Raises:
            SettingsError: no queue, or a shared database beside a folder that only one machine sees.
        """
        if not self.redis_url:
            raise SettingsError(
                "REDIS_URL is not set: web and worker need a queue. Set it to redis://HOST:PORT, "
                "or run `videoqueue up`, which brings its own."
            )
        self.require_shared_storage()

    def require_shared_storage(self) -> None:
        """Raises SettingsError when the database is shared and the videos lie in a folder of one machine."""
        if self.database_url.startswith("postgresql") and not self.storage_url:
            raise SettingsError(
                "VIDEOQUEUE_STORAGE_URL is not set, but DATABASE_URL is: submitted videos would stay in a "
                "folder that other machines do not see. Set it to s3://BUCKET/PREFIX, or file:///FOLDER for "
                "one machine."
            )


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads every setting once.

    Raises:
        SettingsError: a value cannot be used; the message is one line: setting, value, what it takes.
    """
    environ = os.environ if environ is None else environ
    values = {}
    for entry in fields(Settings):
        name = entry.metadata["name"]
        given = environ.get(name, "").strip()
        if not given:
            continue
        try:
            values[entry.name] = entry.metadata["parse"](given)
        except ValueError as error:
            raise SettingsError(f"{name}={shown(given)!r} cannot be used: {name} {error}.") from None
    return _with_derived_defaults(Settings(**values))


def _with_derived_defaults(given: Settings) -> Settings:
    values = {entry.name: getattr(given, entry.name) for entry in fields(Settings)}
    data = given.data_path
    values["database_url"] = given.database_url or f"sqlite:///{data / 'videoqueue.db'}"
    workers = given.worker_processes * given.worker_threads
    values["inference_threads"] = given.inference_threads or max(1, len(os.sched_getaffinity(0)) // workers)
    values["max_concurrent_uploads"] = given.max_concurrent_uploads or max(1, given.web_threads // 2)
    values["max_concurrent_downloads"] = given.max_concurrent_downloads or max(1, given.web_threads // 4)
    if given.renew_seconds * 2 > given.lease_seconds:
        raise SettingsError(
            f"VIDEOQUEUE_RENEW_SECONDS={given.renew_seconds:g} cannot be used: it takes at most half of "
            f"VIDEOQUEUE_LEASE_SECONDS ({given.lease_seconds:g})."
        )
    return Settings(**values)


def shown(value: str) -> str:
    """A value as it may be printed: a URL's password stays secret."""
    return value.split("://", 1)[0] + "://..." if "@" in value else value
