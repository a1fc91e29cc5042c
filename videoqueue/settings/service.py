"""Settings of the service: where its parts are, and how the web process treats its clients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from videoqueue.errors import SettingsError
from videoqueue.settings.urls import database_url, http_url, redis_url, storage_url
from videoqueue.settings.values import choice, port, seconds, setting, text, whole


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
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
    database_connections: int = setting(
        "VIDEOQUEUE_DATABASE_CONNECTIONS",
        whole(2),
        0,
        "connections",
        "The most connections to the database of one web or worker process. Default: 4; for SQLite "
        "two more than VIDEOQUEUE_WEB_THREADS.",
    )
    redis_url: str = setting(
        "REDIS_URL",
        redis_url,
        "",
        "URL",
        "The queue. Web and worker do not start without it; `videoqueue up` brings its own.",
    )
    redis_tls: str = setting(
        "VIDEOQUEUE_REDIS_TLS",
        choice("verify", "no-verify"),
        "verify",
        "verify or no-verify",
        "Whether the certificate of a rediss:// server is checked. no-verify accepts a self-signed one.",
    )
    storage_url: str = setting(
        "VIDEOQUEUE_STORAGE_URL",
        storage_url,
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
    max_connections: int = setting(
        "VIDEOQUEUE_MAX_CONNECTIONS",
        whole(1),
        1000,
        "connections",
        "Clients connected at once to one web process; fewer when the limit of open files is low. More wait.",
    )
    keep_alive_seconds: int = setting(
        "VIDEOQUEUE_KEEP_ALIVE_SECONDS",
        whole(0),
        95,
        "seconds",
        "An idle connection is kept for so long; above a proxy's own limit, so that the proxy closes it.",
    )
    web_concurrency: int = setting("WEB_CONCURRENCY", whole(1), 1, "processes", "Web processes.")
    url: str = setting(
        "VIDEOQUEUE_URL",
        http_url,
        "http://127.0.0.1:8000",
        "URL",
        "The service that `videoqueue submit`, `status` and `results` talk to.",
    )
    max_upload_bytes: int = setting(
        "VIDEOQUEUE_MAX_UPLOAD_BYTES", whole(1), 2 * 1024**3, "bytes", "The largest video accepted."
    )
    max_form_parts: int = setting(
        "VIDEOQUEUE_MAX_FORM_PARTS",
        whole(1),
        16,
        "parts",
        "Parts that a submitted form may have, the video included.",
    )
    max_form_headers: int = setting(
        "VIDEOQUEUE_MAX_FORM_HEADERS", whole(1), 16, "headers", "Headers that a part of a form may have."
    )
    max_form_header_bytes: int = setting(
        "VIDEOQUEUE_MAX_FORM_HEADER_BYTES",
        whole(1024),
        64 * 1024,
        "bytes",
        "All headers of a part of a form together; also what may stand before the first boundary.",
    )
    max_form_field_bytes: int = setting(
        "VIDEOQUEUE_MAX_FORM_FIELD_BYTES", whole(1), 4096, "bytes", "A text field of a form."
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
    slot_wait_seconds: float = setting(
        "VIDEOQUEUE_SLOT_WAIT_SECONDS",
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
    backend_timeout_seconds: float = setting(
        "VIDEOQUEUE_BACKEND_TIMEOUT_SECONDS",
        seconds,
        2.0,
        "seconds",
        "How long a request waits for the database or the storage before it is answered with 503.",
    )
    ready_seconds: float = setting(
        "VIDEOQUEUE_READY_SECONDS",
        seconds,
        2.0,
        "seconds",
        "How long `/readyz` waits for the database, the storage and the queue.",
    )
    trusted_proxies: int = setting(
        "VIDEOQUEUE_TRUSTED_PROXIES",
        whole(0),
        0,
        "proxies",
        "Proxies in front whose X-Forwarded-For, -Proto and -Host are believed. Default: none.",
    )

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir).absolute()

    @property
    def sqlite_file(self) -> Path | None:
        """The file of a SQLite database; None for another database."""
        file = unquote(self.database_url.partition("?")[0].removeprefix("sqlite:///"))
        return Path(file) if file.startswith("/") else None

    @property
    def bind(self) -> tuple[str, int]:
        """Where the web process listens: to the world only when a platform says so by setting PORT."""
        default = "0.0.0.0" if self.port else "127.0.0.1"  # noqa: S104
        return self.host or default, self.port or 8000

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
