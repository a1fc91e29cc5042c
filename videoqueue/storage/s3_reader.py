"""Reads one S3 object to its end, however often the connection breaks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypedDict

from botocore.exceptions import BotoCoreError, ClientError

from videoqueue.causes import cause_of
from videoqueue.errors import StorageUnavailableError
from videoqueue.storage.base import UNAVAILABLE
from videoqueue.storage.s3_errors import code_of, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

logger = logging.getLogger(__name__)

_BLOCK: Final = 1024 * 1024  # bytes read at a time
#: How many connections in a row may break without a byte. boto3 tries each of them several times.
_MAX_FRUITLESS: Final = 3


class PartOfObject(TypedDict, total=False):
    """The argument of `get_object` for a part of an object."""

    Range: str


class ObjectReader:
    """Reads an object from the response that began it, and from further ones where that one broke off.

    A further response is asked for by Range and If-Match (RFC 9110, 13.1.1 and 14.2), so that two versions of
    an object are never mixed.
    """

    def __init__(
        self, client: S3Client, bucket: str, name: str, first: GetObjectOutputTypeDef, start: int = 0
    ) -> None:
        """Takes over the response `first`, whose body begins with byte `start` of the object."""
        self._client = client
        self._bucket = bucket
        self._name = name
        self._response = first
        self._etag = first["ETag"]
        self._length = first["ContentLength"]
        self._start = start
        self._count = 0

    def blocks(self) -> Iterator[bytes]:
        """Returns the bytes of the object, or of the part that was asked for, block by block.

        Raises:
            StorageUnavailableError: the object was replaced meanwhile, or other bytes than asked for came.
            BotoCoreError, ClientError: the storage cannot be reached, or refuses.
        """
        fruitless = 0
        while True:
            before = self._count
            try:
                yield from self._rest()
                break
            except BotoCoreError as error:
                fruitless = 0 if self._count > before else fruitless + 1
                if fruitless == _MAX_FRUITLESS or self._count >= self._length:
                    raise
                logger.info(
                    "A download broke off and goes on.",
                    extra={"bytes": self._count, "of": self._length, "cause": cause_of(error)},
                )
            self._resume()
        if self._count != self._length:
            raise StorageUnavailableError(UNAVAILABLE)

    def _rest(self) -> Iterator[bytes]:
        """What the current response still has; `_count` moves on with each block."""
        with closing(self._response["Body"]) as body:
            for block in body.iter_chunks(_BLOCK):
                self._count += len(block)
                yield block

    def is_range(self, response: GetObjectOutputTypeDef) -> bool:
        """Returns whether the response begins with the byte that was reached.

        A server that knows no ranges sends the whole object.
        """
        sent = response.get("ContentRange", "")
        return response["ETag"] == self._etag and sent.startswith(f"bytes {self._start + self._count}-")

    def close(self) -> None:
        """Closes the current response."""
        self._response["Body"].close()

    def _resume(self) -> None:
        wanted = f"bytes={self._start + self._count}-{self._start + self._length - 1}"
        try:
            self._response = self._client.get_object(
                Bucket=self._bucket, Key=self._name, Range=wanted, IfMatch=self._etag
            )
        except ClientError as error:
            if code_of(error) in ("PreconditionFailed", "412"):
                raise StorageUnavailableError(UNAVAILABLE) from error
            raise
        if self.is_range(self._response):
            return
        self.close()
        logger.warning(
            "The storage did not send the part of an object that was asked for.",
            extra={"range": self._response.get("ContentRange", "")},
        )
        raise StorageUnavailableError(UNAVAILABLE)


class S3Range:
    """A part of an object; see `Blocks`."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[bytes]:
        with translated():
            yield from self._reader.blocks()

    def close(self) -> None:
        """Closes the connection. If all was read, the pool of connections keeps it instead."""
        self._reader.close()
