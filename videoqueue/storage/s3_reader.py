"""Reads one S3 object to its end, however often the connection breaks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from videoqueue.causes import cause_of
from videoqueue.errors import StorageUnavailableError
from videoqueue.storage.base import UNAVAILABLE
from videoqueue.storage.s3_errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

logger = logging.getLogger(__name__)

_BLOCK: Final = 1024 * 1024  # bytes read at a time
#: How many connections in a row may break without a byte. boto3 tries each of them several times.
_MAX_FRUITLESS: Final = 3


class ObjectReader:
    """Reads an object from the response that began it, and from further ones where that one broke off.

    A further response is asked for by Range and If-Match (RFC 9110, 13.1.1 and 14.2), so that two versions of
    an object are never mixed.
    """

    def __init__(self, client: S3Client, bucket: str, name: str, first: GetObjectOutputTypeDef) -> None:
        self._client = client
        self._bucket = bucket
        self._name = name
        self._response = first
        self._etag = first["ETag"]
        self._length = first["ContentLength"]
        self._count = 0

    def blocks(self) -> Iterator[bytes]:
        """Returns the object's bytes, block by block.

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

    def _resume(self) -> None:
        try:
            self._response = self._client.get_object(
                Bucket=self._bucket, Key=self._name, Range=f"bytes={self._count}-", IfMatch=self._etag
            )
        except ClientError as error:
            if code_of(error) in ("PreconditionFailed", "412"):
                raise StorageUnavailableError(UNAVAILABLE) from error
            raise
        sent = self._response.get("ContentRange", "")
        if self._response["ETag"] == self._etag and sent.startswith(f"bytes {self._count}-"):
            return
        # A server that knows no ranges sends the whole object.
        self._response["Body"].close()
        logger.warning(
            "The storage did not send the part of an object that was asked for.", extra={"range": sent}
        )
        raise StorageUnavailableError(UNAVAILABLE)
