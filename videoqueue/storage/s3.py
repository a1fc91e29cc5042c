"""Objects in a bucket of S3 or of anything that speaks its protocol.

Endpoint, region and credentials are found by boto3 itself (AWS_ENDPOINT_URL_S3, AWS_REGION,
AWS_ACCESS_KEY_ID ..., or AWS's own files).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError

from videoqueue.causes import cause_of
from videoqueue.errors import (
    ObjectMissingError,
    SettingsError,
    StorageUnavailableError,
)
from videoqueue.storage.base import (
    MISSING,
    UNAVAILABLE,
    Blocks,
    Check,
    ObjectWriter,
    is_key,
    require_key,
)
from videoqueue.storage.copy import NewFile
from videoqueue.storage.s3_client import ClientSource
from videoqueue.storage.s3_errors import code_of, status_of, translated
from videoqueue.storage.s3_reader import ObjectReader, PartOfObject, S3Range
from videoqueue.storage.s3_writer import S3Writer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, MultipartUploadTypeDef

logger = logging.getLogger(__name__)

#: A right is missing, or the service has no such call.
_REFUSALS = ("AccessDenied", "NotImplemented", "MethodNotAllowed")


def open_s3(bucket: str, prefix: str, reserve_bytes: int | None) -> S3Storage:
    """Returns the storage below `prefix` (may be empty) of a bucket that exists; nothing is sent yet.

    Raises:
        SettingsError: AWS's own configuration cannot be used.
    """
    clients = ClientSource()
    try:
        clients.get()
    except CredentialRetrievalError as error:
        logger.warning("The credentials of S3 cannot be had yet.", extra={"cause": cause_of(error)})
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(
            "VIDEOQUEUE_STORAGE_URL names S3, but AWS's own settings cannot be used: look at AWS_REGION, "
            "AWS_ENDPOINT_URL_S3 (http://HOST:PORT or https://HOST), AWS_PROFILE and ~/.aws/config."
        ) from error
    return S3Storage(clients, bucket, prefix, reserve_bytes)


class S3Storage:
    """Keeps objects below a prefix of one bucket; threads share the one client, as boto3 allows."""

    def __init__(self, clients: ClientSource, bucket: str, prefix: str, reserve_bytes: int | None) -> None:
        self._clients = clients
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._reserve_bytes = reserve_bytes
        self.local_folder: Path | None = None

    @property
    def _client(self) -> S3Client:
        return self._clients.get()

    def open_writer(self, key: str) -> ObjectWriter:
        """Returns a writer for the object with this key. Nothing is stored yet."""
        with translated():
            return S3Writer(self._client, self._bucket, self._name(key))

    def download(self, key: str, path: Path, check: Check) -> str:
        """Copies an object to a new file. Returns the SHA-256 of the copy, 64 hexadecimal digits."""
        name = self._name(key)
        with translated(), NewFile(path, self._reserve_bytes) as file:
            reader = ObjectReader(self._client, self._bucket, name, self._open(name))
            for block in reader.blocks():
                check()
                file.write(block)
        return file.sha256()

    def open_range(self, key: str, start: int, length: int) -> Blocks:
        """Returns an opened part of an object. The caller closes it."""
        name, last = self._name(key), start + length - 1
        with translated():
            first = self._open(name, f"bytes={start}-{last}")
            reader = ObjectReader(self._client, self._bucket, name, first, start)
        if first["ContentLength"] == length and reader.is_range(first):
            return S3Range(reader)
        first["Body"].close()
        raise StorageUnavailableError(UNAVAILABLE)

    def delete(self, key: str) -> None:
        with translated(), suppress(self._client.exceptions.NoSuchKey):
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    def exists(self, key: str) -> bool:
        """Returns True when there is an object with this key."""
        with translated():
            return self._is_listed(self._name(key))

    def list_older_than(self, seconds: float) -> Iterator[str]:
        """Yields the keys of objects written more than `seconds` ago, in any order."""
        latest = datetime.now(UTC) - timedelta(seconds=seconds)
        with translated():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for entry in page.get("Contents", []):
                    key = entry["Key"].removeprefix(self._prefix)
                    if is_key(key) and entry["LastModified"] < latest:
                        yield key

    def remove_stale(self, seconds: float) -> int:
        """Removes unfinished uploads that were begun more than `seconds` ago. Returns their number."""
        latest = datetime.now(UTC) - timedelta(seconds=seconds)
        removed = 0
        with translated():
            try:
                for upload in self._unfinished():
                    if upload["Initiated"] < latest:
                        self._abort(upload["Key"], upload["UploadId"])
                        removed += 1
            except ClientError as error:
                if code_of(error) not in _REFUSALS:
                    raise
                logger.warning(
                    "Unfinished uploads were not removed: grant s3:ListBucketMultipartUploads and "
                    "s3:AbortMultipartUpload, or leave it to a rule of the bucket.",
                    extra={"reason": error},
                )
        return removed

    def _unfinished(self) -> Iterator[MultipartUploadTypeDef]:
        pages = self._client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
            yield from page.get("Uploads", [])

    def check(self) -> None:
        """Lists one object below the prefix: HeadBucket would need rights on the whole bucket."""
        with translated():
            try:
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
            except ClientError as error:
                raise StorageUnavailableError(UNAVAILABLE) from error

    def clock_ahead(self) -> float:
        """Returns by how many seconds the clock of this machine is ahead of that of the storage.

        It is 0 if the storage does not send its time (RFC 9110, section 6.6.1).
        """
        with translated():
            found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        try:
            date = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (LookupError, ValueError):
            return 0.0
        return (datetime.now(UTC) - date.replace(tzinfo=UTC)).total_seconds()

    def may_remove_stale(self) -> bool:
        """Returns whether the storage lets this user list unfinished uploads, which `remove_stale` needs."""
        with translated():
            try:
                next(self._unfinished(), None)
            except ClientError as error:
                if code_of(error) not in _REFUSALS:
                    raise
                return False
        return True

    def _open(self, name: str, wanted: str | None = None) -> GetObjectOutputTypeDef:
        part: PartOfObject = {} if wanted is None else {"Range": wanted}
        try:
            return self._client.get_object(Bucket=self._bucket, Key=name, **part)
        except ClientError as error:
            # Who may not list the whole bucket is refused a missing object as if it were forbidden.
            if status_of(error) == 403 and not self._is_listed(name):
                raise ObjectMissingError(MISSING) from error
            raise

    def _is_listed(self, name: str) -> bool:
        """Whether the object is there; of all names that begin with `name` it would be the first."""
        found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1)
        return any(entry["Key"] == name for entry in found.get("Contents", []))

    def _abort(self, name: str, upload_id: str) -> None:
        with suppress(self._client.exceptions.NoSuchUpload):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=name, UploadId=upload_id)

    def _name(self, key: str) -> str:
        return self._prefix + require_key(key)
