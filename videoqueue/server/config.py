"""Configuration of gunicorn.

Used as `gunicorn --config python:videoqueue.server.config 'videoqueue.app:create_app()'`.

Read by gunicorn's master before it starts a worker, so that a wrong setting ends it with one line instead of
a worker that is restarted for ever. Names are gunicorn's own.
"""

import videoqueue.search_path  # noqa: F401 - first: it keeps out what lies in the working directory

# isort: split
import ipaddress
import logging
import os
from typing import Any

from videoqueue.errors import SettingsError
from videoqueue.hardening import file_limit, harden
from videoqueue.logs import QUIET, RequestIdFilter
from videoqueue.parent_death import die_with_parent
from videoqueue.server.bad_request import MAX_FIELD_BYTES, MAX_FIELDS, MAX_LINE
from videoqueue.server.connection import Pace
from videoqueue.server.worker import BoundedThreadWorker, Bounds, Lane
from videoqueue.settings import Settings, absolute_paths, load_settings

#: Open files that a web process needs beside those of its clients, and more for each request it serves: the
#: database, the queue, the storage and the video on its way there.
_FILES, _FILES_FOR_A_REQUEST = 64, 8


def _connections(settings: Settings) -> int:
    """Clients at once, so many that files are left to serve them; of a very low limit, half."""
    limit = file_limit()
    needed = _FILES + _FILES_FOR_A_REQUEST * settings.web_threads
    return max(1, min(settings.max_connections, limit - min(needed, limit // 2)))


try:
    # gunicorn may be told to change its folder, before each worker reads the settings again.
    os.environ.update(absolute_paths(os.environ))
    _settings = load_settings()
    _settings.require_durable()
except SettingsError as error:
    raise SystemExit(f"videoqueue: {error}") from None

_host, _port = _settings.bind
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"
workers = _settings.web_concurrency
worker_class = BoundedThreadWorker
BoundedThreadWorker.bounds = Bounds(
    pace=Pace(_settings.upload_stall_seconds, _settings.upload_min_bytes_per_second),
    header_seconds=_settings.header_seconds,
    lane_seconds=_settings.slot_wait_seconds,
    lanes=(
        Lane(b"POST ", _settings.max_concurrent_uploads),
        Lane(b"GET /video/results/", _settings.max_concurrent_downloads),
    ),
)
threads = _settings.web_threads
worker_connections = _connections(_settings)
limit_request_line, limit_request_fields, limit_request_field_size = MAX_LINE, MAX_FIELDS, MAX_FIELD_BYTES
keepalive = _settings.keep_alive_seconds
#: Seconds to finish requests on shutdown; platforms kill after 30.
graceful_timeout = 20
#: Whose X-Forwarded headers are believed is for VIDEOQUEUE_TRUSTED_PROXIES to say.
forwarded_allow_ips = ""
accesslog = None
#: gunicorn's management socket would be shared by every service of the same user.
control_socket_disable = True
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "[%(asctime)s] [PID %(process)d] [%(name)s] [%(levelname)s] %(request)s%(message)s",
        }
    },
    "filters": {"request": {"()": RequestIdFilter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request"]}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
        "gunicorn.access": {"level": "INFO", "handlers": [], "propagate": False},
        **{name: {"level": "WARNING"} for name in QUIET},
    },
}


def on_starting(server: Any) -> None:
    """The master is private, and opens as many files as it may; its workers inherit that."""
    harden()


def post_fork(server: Any, worker: Any) -> None:
    """A worker dies with its master at once and does not keep the port."""
    die_with_parent(worker.ppid)


def when_ready(server: Any) -> None:
    """Says once, at the start, how many connections there may be, and what a stranger could do."""
    logging.getLogger("videoqueue.server.config").info(
        "Database connections (VIDEOQUEUE_DATABASE_CONNECTIONS). each=%d web_processes=%d sum=%d",
        _settings.database_connections,
        workers,
        _settings.database_connections * workers,
    )
    if not _is_loopback(_host):
        logging.getLogger("videoqueue.server.config").warning(
            "Listening on %s without authentication: whoever reaches this port can submit videos and, "
            "knowing a job_id, read results. Put a proxy with authentication in front (docs/deploying.md), "
            "or set VIDEOQUEUE_HOST=127.0.0.1.",
            _host,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
