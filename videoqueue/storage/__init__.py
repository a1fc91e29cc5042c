"""Where submitted videos are kept: a folder or an S3 bucket, chosen by URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from videoqueue.errors import SettingsError
from videoqueue.storage.base import ObjectStorage, ObjectWriter

__all__ = ["ObjectStorage", "ObjectWriter", "open_storage"]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")


def open_storage(url: str, default_folder: Path, reserve_bytes: int | None = None) -> ObjectStorage:
    """Returns the storage behind VIDEOQUEUE_STORAGE_URL; nothing is touched yet: see `check()`.

    Credentials, region and endpoint of S3 come from the usual AWS_* variables or AWS's own files.

        open_storage("", Path("var/objects"))
        open_storage("file:///srv/videos", Path("unused"))
        open_storage("s3://bucket/prefix", Path("unused"))

    Args:
        url: the URL.
        default_folder: the folder for an empty URL.
        reserve_bytes: VIDEOQUEUE_RESERVE_BYTES; downloads leave a part of it free on their volume.

    Raises:
        SettingsError: the URL, or AWS's own configuration, cannot be used.
    """
    from videoqueue.storage.filesystem import FolderStorage

    if not url:
        return FolderStorage(default_folder, reserve_bytes)
    try:
        parts = urlsplit(url)
    except ValueError:
        _refuse_url()
    if parts.query or parts.fragment:
        _refuse_url()
    if parts.scheme == "file":
        folder = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not folder.startswith("/") or "\0" in folder:
            _refuse_url()
        return FolderStorage(Path(folder), reserve_bytes)
    prefix = parts.path.strip("/")
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc):
        _refuse_url()
    if prefix and not _PREFIX.fullmatch(prefix):
        _refuse_url()
    # boto3 takes a second to import and is of no use to a folder.
    from videoqueue.storage.s3 import open_s3

    return open_s3(parts.netloc, prefix, reserve_bytes)


def _refuse_url() -> NoReturn:
    # The value may hold a password and is not repeated.
    raise SettingsError(
        "VIDEOQUEUE_STORAGE_URL cannot be used: it takes file:///FOLDER (an absolute path) or "
        "s3://BUCKET/PREFIX (letters, digits, '.', '_' and '-'). Credentials belong in AWS_ACCESS_KEY_ID "
        "and AWS_SECRET_ACCESS_KEY."
    )
