"""What the errors of S3 mean to the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from videoqueue.errors import ObjectMissingError, StorageFullError, StorageUnavailableError, VideoqueueError
from videoqueue.storage.base import FULL, MISSING, UNAVAILABLE, meaning_of


@contextmanager
def translated() -> Iterator[None]:
    """Raises the service's own errors in place of boto3's."""
    try:
        yield
    except ClientError as error:
        raise _meaning(error) from error
    except BotoCoreError as error:
        raise StorageUnavailableError(UNAVAILABLE) from error
    except OSError as error:  # the file that a download writes
        raise meaning_of(error) from error


def code_of(error: ClientError) -> str:
    """Returns the error code of S3's response, such as `NoSuchKey`; empty if it has none."""
    return error.response.get("Error", {}).get("Code", "")


def status_of(error: ClientError) -> int:
    """Returns the HTTP status of S3's response; 0 if there was none."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _meaning(error: ClientError) -> VideoqueueError:
    code, status = code_of(error), status_of(error)
    if code in ("NoSuchKey", "404"):
        return ObjectMissingError(MISSING)
    if status == 507 or code in ("QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity"):
        return StorageFullError(FULL)
    return StorageUnavailableError(UNAVAILABLE)
