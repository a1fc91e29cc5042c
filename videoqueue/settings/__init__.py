"""The environment is read here and nowhere else, once, when a process starts.

Standard names where the world has one (DATABASE_URL, PORT); ours begin with VIDEOQUEUE_. boto3 reads the
usual AWS_* variables by itself. A bad value stops the start with one line that names the setting.
"""

from videoqueue.settings.loading import Settings, absolute_paths, load_settings, shown

__all__ = ["Settings", "absolute_paths", "load_settings", "shown"]
