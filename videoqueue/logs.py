"""Loggers of libraries that tell at INFO what helps nobody who runs the service."""

from typing import Final

QUIET: Final = ("alembic.runtime.plugins", "botocore", "boto3", "urllib3", "s3transfer")
