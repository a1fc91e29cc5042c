"""Settings from environment variables. Only this package reads them, once, when a process starts.

DATABASE_URL, REDIS_URL, PORT and WEB_CONCURRENCY are common names; all others begin with VIDEOQUEUE_. boto3
reads the AWS_* variables itself. A process with an invalid setting does not start; it prints one line that
names the setting.
"""

from videoqueue.settings.loading import (
    Settings,
    absolute_paths,
    load_settings,
    load_valid_settings,
    shown,
)

__all__ = ["Settings", "absolute_paths", "load_settings", "load_valid_settings", "shown"]
