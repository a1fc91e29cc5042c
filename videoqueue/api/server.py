"""gunicorn's configuration: `gunicorn --config python:videoqueue.api.server 'videoqueue.app:create_app()'`.

Read by gunicorn's master before it starts a worker, so that a wrong setting ends it with one line instead of
a worker that is restarted for ever. Names are gunicorn's own.
"""

from __future__ import annotations

from typing import Any

from videoqueue.errors import SettingsError
from videoqueue.logs import QUIET
from videoqueue.orphans import die_with_parent
from videoqueue.settings import load_settings

try:
    _settings = load_settings()
    _settings.require_durable()
except SettingsError as error:
    raise SystemExit(f"videoqueue: {error}") from None

_host, _port = _settings.bind
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"
workers = _settings.web_concurrency
worker_class = "gthread"
threads = _settings.web_threads
#: Seconds an idle connection is kept; above the usual proxies' 60, so that it is the proxy who closes.
keepalive = 65
#: Seconds to finish requests on shutdown; platforms kill after 30.
graceful_timeout = 20
accesslog = None
#: gunicorn's management socket would be shared by every service of the same user.
control_socket_disable = True
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "[%(asctime)s] [PID %(process)d] [%(name)s] [%(levelname)s] %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
        "gunicorn.access": {"level": "INFO", "handlers": [], "propagate": False},
        **{name: {"level": "WARNING"} for name in QUIET},
    },
}


def post_fork(server: Any, worker: Any) -> None:
    """A worker dies with its master at once and does not keep the port."""
    die_with_parent(worker.ppid)
