"""Writes one S3 object."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from videoqueue.errors import VideoqueueError
from videoqueue.storage.base import Bytes
from videoqueue.storage.s3_errors import translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 8 * 1024**2  # a part; S3 asks for 5 MiB at least
PARTS_PER_SIZE = 1000  # then they grow by PART_BYTES: 10,000 parts hold 430 GiB, in 80 MiB of memory


class S3Writer:
    """One PutObject for what fits into a part, a multipart upload for what does not."""

    def __init__(self, client: S3Client, bucket: str, name: str) -> None:
        self._client = client
        self._bucket = bucket
        self._name = name
        self._open = False
        self._buffer = bytearray()
        self._upload_id = ""
        self._parts: list[CompletedPartTypeDef] = []

    def __enter__(self) -> S3Writer:
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False
        self._buffer.clear()
        if self._upload_id:
            # What cannot be aborted now is left to remove_stale: the caller's own error matters more.
            with suppress(VideoqueueError), translated():
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
        with translated():
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
        with translated():
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
