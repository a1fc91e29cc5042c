"""Loggers of libraries that tell at INFO what helps nobody who runs the service."""

import logging
from typing import Final

QUIET: Final = ("alembic.runtime.plugins", "botocore", "boto3", "urllib3", "s3transfer")


def quieten() -> None:
    """Leaves them their warnings and errors."""
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
