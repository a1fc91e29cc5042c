"""Settings of the web process and of the log."""

from __future__ import annotations

from dataclasses import dataclass

from videoqueue.settings.backends import BackendSettings
from videoqueue.settings.urls import http_url
from videoqueue.settings.values import choice, log_level, port, seconds, setting, text, whole


@dataclass(frozen=True, kw_only=True)
class ServiceSettings(BackendSettings):
    """Settings of the web process and of the log."""

    host: str = setting(
        "VIDEOQUEUE_HOST",
        text,
        "",
        "address",
        "Address that the web process listens on. Default: 0.0.0.0 if PORT is set, otherwise 127.0.0.1.",
    )
    port: int = setting("PORT", port, 0, "port", "Port that the web process listens on. Default: 8000.")
    web_threads: int = setting(
        "VIDEOQUEUE_WEB_THREADS",
        whole(1),
        16,
        "threads",
        "Requests that one web process serves at the same time.",
    )
    max_connections: int = setting(
        "VIDEOQUEUE_MAX_CONNECTIONS",
        whole(1),
        1000,
        "connections",
        "Open connections of one web process; fewer if the limit of open files is low. For a further one, "
        "the longest idle one is closed.",
    )
    keep_alive_seconds: int = setting(
        "VIDEOQUEUE_KEEP_ALIVE_SECONDS",
        whole(0),
        95,
        "seconds",
        "How long an idle connection stays open. Use more than the proxy's limit: the proxy then closes it.",
    )
    web_concurrency: int = setting("WEB_CONCURRENCY", whole(1), 1, "processes", "Number of web processes.")
    url: str = setting(
        "VIDEOQUEUE_URL",
        http_url,
        "http://127.0.0.1:8000",
        "URL",
        "The service that `videoqueue submit`, `status` and `results` use.",
    )
    max_upload_bytes: int = setting(
        "VIDEOQUEUE_MAX_UPLOAD_BYTES", whole(1), 2 * 1024**3, "bytes", "Maximum size of a video."
    )
    max_form_parts: int = setting(
        "VIDEOQUEUE_MAX_FORM_PARTS",
        whole(1),
        16,
        "parts",
        "Maximum number of parts of a form, including the video.",
    )
    max_form_headers: int = setting(
        "VIDEOQUEUE_MAX_FORM_HEADERS", whole(1), 16, "headers", "Maximum number of headers of a form part."
    )
    max_form_header_bytes: int = setting(
        "VIDEOQUEUE_MAX_FORM_HEADER_BYTES",
        whole(1024),
        64 * 1024,
        "bytes",
        "Maximum size of all headers of a form part, and of the text before the first boundary.",
    )
    max_form_field_bytes: int = setting(
        "VIDEOQUEUE_MAX_FORM_FIELD_BYTES", whole(1), 4096, "bytes", "Maximum size of a text field of a form."
    )
    upload_stall_seconds: float = setting(
        "VIDEOQUEUE_UPLOAD_STALL_SECONDS",
        seconds,
        20.0,
        "seconds",
        "A connection that transfers nothing of a video or of results for this long is closed.",
    )
    upload_min_bytes_per_second: int = setting(
        "VIDEOQUEUE_UPLOAD_MIN_BYTES_PER_SECOND",
        whole(1),
        16384,
        "bytes/second",
        "A connection that is slower, on average over VIDEOQUEUE_UPLOAD_STALL_SECONDS, is closed.",
    )
    header_seconds: float = setting(
        "VIDEOQUEUE_HEADER_SECONDS",
        seconds,
        10.0,
        "seconds",
        "A connection whose request headers take longer is closed.",
    )
    max_concurrent_uploads: int = setting(
        "VIDEOQUEUE_MAX_CONCURRENT_UPLOADS",
        whole(1),
        0,
        "requests",
        "Uploads at the same time in one web process. Default: half of its threads.",
    )
    max_concurrent_downloads: int = setting(
        "VIDEOQUEUE_MAX_CONCURRENT_DOWNLOADS",
        whole(1),
        0,
        "requests",
        "Downloads of results at the same time in one web process. Default: a quarter of its threads.",
    )
    slot_wait_seconds: float = setting(
        "VIDEOQUEUE_SLOT_WAIT_SECONDS",
        seconds,
        10.0,
        "seconds",
        "How long an upload or download beyond the limit waits for a slot before it is rejected with 429.",
    )
    max_pending_jobs: int = setting(
        "VIDEOQUEUE_MAX_PENDING_JOBS",
        whole(0),
        10_000,
        "jobs",
        "Maximum number of pending jobs. At the limit, submissions are rejected with 503; 0 for no limit.",
    )
    backend_timeout_seconds: float = setting(
        "VIDEOQUEUE_BACKEND_TIMEOUT_SECONDS",
        seconds,
        2.0,
        "seconds",
        "How long a request waits for the database or the storage before it is rejected with 503.",
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
        "Number of proxies in front of the service whose X-Forwarded-For, -Proto and -Host are trusted.",
    )

    log_level: str = setting(
        "VIDEOQUEUE_LOG_LEVEL",
        log_level,
        "INFO",
        "level",
        "Minimum level of a log line: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
    )
    log_format: str = setting(
        "VIDEOQUEUE_LOG_FORMAT",
        choice("text", "json"),
        "text",
        "text or json",
        "Format of the log: text, or one JSON object per line.",
    )

    @property
    def bind(self) -> tuple[str, int]:
        """Returns host and port that the web process listens on.

        By default that is every address if PORT is set, as hosting platforms do, and otherwise loopback.
        """
        default = "0.0.0.0" if self.port else "127.0.0.1"  # noqa: S104
        return self.host or default, self.port or 8000
