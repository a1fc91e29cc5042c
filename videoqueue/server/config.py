"""Configuration of gunicorn.

Used as `gunicorn --config python:videoqueue.server.config 'videoqueue.app:create_app()'`.

gunicorn's master reads it before it starts a worker, so that a wrong setting ends the master with one line; a
worker would be restarted forever. The names are gunicorn's.
"""

import videoqueue.search_path  # noqa: F401 - first: it removes the working directory from the search path

# isort: split
import logging
import os
from typing import Any

from gunicorn.glogging import Logger

from videoqueue import log_setup
from videoqueue.errors import SettingsError
from videoqueue.hardening import file_limit, harden
from videoqueue.parent_death import die_with_parent
from videoqueue.server.bad_request import MAX_FIELD_BYTES, MAX_FIELDS, MAX_LINE
from videoqueue.server.connection import Pace
from videoqueue.server.lanes import Lane, Pattern
from videoqueue.server.worker import BoundedThreadWorker, ServerLimits
from videoqueue.settings import Settings, absolute_paths, load_settings
from videoqueue.settings.unknown import log_unknown_variables
from videoqueue.settings.urls import authority, is_loopback

#: Open files that a web process needs besides its clients' connections, and further ones for each request:
#: the database, the queue, the storage and the video that is being stored.
_FILES, _FILES_FOR_A_REQUEST = 64, 8

#: The paths of responses that may be too long to be kept in memory.
_DOWNLOADS = (
    "/video/results/*",
    "/jobs/*/results",
    "/jobs/*/export",
    "/jobs/*/segments",
    "/jobs/*/video",
    "/ui/jobs/*/video",
)


def _connections(settings: Settings) -> int:
    """Returns the number of clients at once that leaves files to serve them; half of a very low limit."""
    limit = file_limit()
    needed = _FILES + _FILES_FOR_A_REQUEST * settings.web_threads
    return max(1, min(settings.max_connections, limit - min(needed, limit // 2)))


def _limits(settings: Settings, connections: int) -> ServerLimits:
    """Returns the limits of a process that can have so many connections."""
    uploads: Lane[Any] = Lane(
        [Pattern("POST /video/submit")],
        settings.max_concurrent_uploads,
        settings.max_uploads_per_address,
        "uploads",
        ("VIDEOQUEUE_MAX_CONCURRENT_UPLOADS", "VIDEOQUEUE_MAX_UPLOADS_PER_ADDRESS"),
    )
    downloads: Lane[Any] = Lane(
        [Pattern(f"GET {path}") for path in _DOWNLOADS],
        settings.max_concurrent_downloads,
        settings.max_downloads_per_address,
        "downloads",
        ("VIDEOQUEUE_MAX_CONCURRENT_DOWNLOADS", "VIDEOQUEUE_MAX_DOWNLOADS_PER_ADDRESS"),
        streams=True,
    )
    # Where open files allow fewer connections, the share of an address becomes smaller too.
    share = connections * settings.max_connections_per_address // settings.max_connections
    return ServerLimits(
        pace=Pace(settings.upload_stall_seconds, settings.upload_min_bytes_per_second),
        header_seconds=settings.header_seconds,
        lane_seconds=settings.slot_wait_seconds,
        lanes=(uploads, downloads),
        proxies=settings.trusted_proxies,
        address_share=max(1, share),
        send_bytes=settings.send_buffer_bytes,
        least_chunk_bytes=settings.min_chunk_bytes,
    )


class _Logger(Logger):  # type: ignore[misc]
    """Passes gunicorn's lines on to the service's log; requests only if an access log is asked for."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self._access_log_enabled = bool(cfg.accesslog)
        for log, is_enabled in ((self.error_log, True), (self.access_log, self._access_log_enabled)):
            log.handlers.clear()
            log.propagate = is_enabled


try:
    # gunicorn may be told to change its folder, before each worker reads the settings again.
    os.environ.update(absolute_paths(os.environ))
    _settings = load_settings()
    _settings.require_durable()
except SettingsError as error:
    raise SystemExit(f"videoqueue: {error}") from None

log_setup.configure("web", _settings.log_level, _settings.log_format)
logger = logging.getLogger(__name__)

_host, _port = _settings.bind
bind = authority(_host, _port)
workers = _settings.web_concurrency
worker_class = BoundedThreadWorker
worker_connections = _connections(_settings)
BoundedThreadWorker.limits = _limits(_settings, worker_connections)
threads = _settings.web_threads
limit_request_line, limit_request_fields, limit_request_field_size = MAX_LINE, MAX_FIELDS, MAX_FIELD_BYTES
keepalive = _settings.keep_alive_seconds
#: Seconds to finish requests on shutdown; platforms kill after 30.
graceful_timeout = 20
#: VIDEOQUEUE_TRUSTED_PROXIES decides whose X-Forwarded headers are used.
forwarded_allow_ips = ""
#: `--access-logfile -` adds a line for each request to the service's log.
accesslog = None
logger_class = _Logger
#: gunicorn's management socket would be shared by every service of the same user.
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Makes the master private and raises its limit of open files; its workers inherit both."""
    harden()


def post_fork(server: Any, worker: Any) -> None:
    """Ends the worker at once with its master, so that it does not keep the port.

    Tells the application which address it is reached at: `--bind` or an inherited socket replaces the
    setting.
    """
    die_with_parent(worker.ppid)
    addresses = [listener.sock.getsockname() for listener in worker.sockets]
    hosts = [address[0] if isinstance(address, tuple) else "unix" for address in addresses]
    os.environ["VIDEOQUEUE_HOST"] = next((host for host in hosts if not is_loopback(host)), "127.0.0.1")


def when_ready(server: Any) -> None:
    """Logs database connections, unknown variables, and who has access."""
    log_unknown_variables(os.environ)
    logger.info(
        "Database connections (VIDEOQUEUE_DATABASE_CONNECTIONS).",
        extra={
            "each": _settings.database_connections,
            "web_processes": workers,
            "sum": _settings.database_connections * workers,
        },
    )
    if not _settings.may_be_open:
        logger.info(
            "Every request needs a key. Create one with `videoqueue keys create --owner NAME`, or `python -m "
            "videoqueue keys create --owner NAME` where that command is not installed."
        )
    elif not is_loopback(_host):
        logger.warning(
            "Listening on %s without authentication (VIDEOQUEUE_AUTH=off): whoever reaches this port can "
            "submit videos and, knowing a job_id, read results. Let only a proxy with authentication reach "
            "it (docs/deploying.md), or remove VIDEOQUEUE_AUTH.",
            _host,
        )
