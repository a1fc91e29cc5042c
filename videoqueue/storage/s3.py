"""Objects in a bucket of S3 or of anything that speaks its protocol.

Endpoint, region and credentials are found by boto3 itself (AWS_ENDPOINT_URL_S3, AWS_REGION,
AWS_ACCESS_KEY_ID ..., or AWS's own files).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError

from videoqueue.causes import cause_of
from videoqueue.errors import (
    ObjectMissingError,
    SettingsError,
    StorageFullError,
    StorageUnavailableError,
    VideoqueueError,
)
from videoqueue.storage.base import (
    FULL,
    MISSING,
    UNAVAILABLE,
    Bytes,
    ObjectWriter,
    is_key,
    meaning_of,
    require_key,
)
from videoqueue.storage.s3_client import ClientSource

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, MultipartUploadTypeDef

logger = logging.getLogger(__name__)

#: A right is missing, or the service has no such call.
_REFUSALS = ("AccessDenied", "NotImplemented", "MethodNotAllowed")

PART_BYTES = 8 * 1024**2  # a part; S3 asks for 5 MiB at least
PARTS_PER_SIZE = 1000  # then they grow by PART_BYTES: 10,000 parts hold 430 GiB, in 80 MiB of memory
_BLOCK = 1024 * 1024  # bytes copied at a time


def open_s3(bucket: str, prefix: str) -> S3Storage:
    """The storage below `prefix` (may be empty) of a bucket that exists; nothing is sent yet.

    Raises:
        SettingsError: AWS's own configuration cannot be used.
    """
    clients = ClientSource()
    try:
        clients.get()
    except CredentialRetrievalError as error:
        logger.warning("The credentials of S3 cannot be had yet. cause=%s", cause_of(error))
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(
            "VIDEOQUEUE_STORAGE_URL names S3, but AWS's own settings cannot be used: look at AWS_REGION, "
            "AWS_ENDPOINT_URL_S3 (http://HOST:PORT or https://HOST), AWS_PROFILE and ~/.aws/config."
        ) from error
    return S3Storage(clients, bucket, prefix)


class S3Storage:
    """Keeps objects below a prefix of one bucket; threads share the one client, as boto3 allows."""

    def __init__(self, clients: ClientSource, bucket: str, prefix: str) -> None:
        self._clients = clients
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def _client(self) -> S3Client:
        return self._clients.get()

    def open_writer(self, key: str) -> ObjectWriter:
        with _translated():
            return _S3Writer(self._client, self._bucket, self._name(key))

    def download(self, key: str, path: Path) -> None:
        complete = False
        with _translated():
            body = self._open(self._name(key))
            try:
                with path.open("wb") as file:
                    for block in body.iter_chunks(_BLOCK):
                        file.write(block)
                complete = True
            finally:
                body.close()
                if not complete:
                    path.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        with _translated(), suppress(self._client.exceptions.NoSuchKey):
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    def exists(self, key: str) -> bool:
        with _translated():
            return self._is_listed(self._name(key))

    def list_older_than(self, seconds: float) -> Iterator[str]:
        latest = datetime.now(UTC) - timedelta(seconds=seconds)
        with _translated():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for entry in page.get("Contents", []):
                    key = entry["Key"].removeprefix(self._prefix)
                    if is_key(key) and entry["LastModified"] < latest:
                        yield key

    def remove_stale(self, seconds: float) -> int:
        latest = datetime.now(UTC) - timedelta(seconds=seconds)
        removed = 0
        with _translated():
            try:
                for upload in self._unfinished():
                    if upload["Initiated"] < latest:
                        self._abort(upload["Key"], upload["UploadId"])
                        removed += 1
            except ClientError as error:
                if _code(error) not in _REFUSALS:
                    raise
                logger.warning(
                    "Unfinished uploads were not removed: grant s3:ListBucketMultipartUploads and "
                    "s3:AbortMultipartUpload, or leave it to a rule of the bucket. reason=%s",
                    error,
                )
        return removed

    def _unfinished(self) -> Iterator[MultipartUploadTypeDef]:
        pages = self._client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
            yield from page.get("Uploads", [])

    def check(self) -> None:
        """Lists one object below the prefix: HeadBucket would need rights on the whole bucket."""
        with _translated():
            try:
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
            except ClientError as error:
                raise StorageUnavailableError(UNAVAILABLE) from error

    def _open(self, name: str) -> StreamingBody:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=name)["Body"]
        except ClientError as error:
            # Who may not list the whole bucket is refused a missing object as if it were forbidden.
            if _status(error) == 403 and not self._is_listed(name):
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


class _S3Writer:
    """One PutObject for what fits into a part, a multipart upload for what does not."""

    def __init__(self, client: S3Client, bucket: str, name: str) -> None:
        self._client = client
        self._bucket = bucket
        self._name = name
        self._open = False
        self._buffer = bytearray()
        self._upload_id = ""
        self._parts: list[CompletedPartTypeDef] = []

    def __enter__(self) -> _S3Writer:
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False
        self._buffer.clear()
        if self._upload_id:
            # What cannot be aborted now is left to remove_stale: the caller's own error matters more.
            with suppress(VideoqueueError), _translated():
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._name, UploadId=self._upload_id
                )

    def write(self, data: Bytes) -> None:
        self._require_open()
        view = memoryview(data)
        while view:
            room = PART_BYTES * (1 + len(self._parts) // PARTS_PER_SIZE) - len(self._buffer)
            if room == 0:
                self._send_part()
                continue
            self._buffer += view[:room]
            view = view[room:]

    def commit(self) -> None:
        self._require_open()
        with _translated():
            if not self._upload_id:
                self._client.put_object(Bucket=self._bucket, Key=self._name, Body=bytes(self._buffer))
            else:
                self._send_part()
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=self._name,
                    UploadId=self._upload_id,
                    MultipartUpload={"Parts": self._parts},
                )
        self._upload_id = ""
        self._open = False

    def _send_part(self) -> None:
        with _translated():
            if not self._upload_id:
                begun = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._name)
                self._upload_id = begun["UploadId"]
            number = len(self._parts) + 1
            sent = self._client.upload_part(
                Bucket=self._bucket,
                Key=self._name,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=bytes(self._buffer),
            )
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})
        self._buffer.clear()

    def _require_open(self) -> None:
        if not self._open:
            raise ValueError("the writer is not open")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _meaning(error) from error
    except BotoCoreError as error:
        raise StorageUnavailableError(UNAVAILABLE) from error
    except OSError as error:  # the file that a download writes
        raise meaning_of(error) from error


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _meaning(error: ClientError) -> VideoqueueError:
    code, status = _code(error), _status(error)
    if code in ("NoSuchKey", "404"):
        return ObjectMissingError(MISSING)
    if status == 507 or code in ("QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity"):
        return StorageFullError(FULL)
    return StorageUnavailableError(UNAVAILABLE)
