"""The key that our own commands send, and the file in which `videoqueue up` leaves the first one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from videoqueue.errors import VideoqueueError
from videoqueue.settings import Settings
from videoqueue.storage.file_writer import sync_folder

_FILE: Final = "api-key"


def key_for(url: str, settings: Settings) -> str | None:
    """Returns the key to send to the service at `url`: VIDEOQUEUE_API_KEY, or that of the file.

    Raises:
        VideoqueueError: other users can read the file.
    """
    from videoqueue.client.address import key_of_file
    from videoqueue.client.errors import ClientError

    if settings.api_key:
        return settings.api_key
    try:
        return key_of_file(url, settings.data_path)
    except ClientError as error:
        raise VideoqueueError(error.detail) from None


def key_file(data: Path) -> Path:
    """Returns the path of the file in a data folder."""
    return data / _FILE


def write_key(data: Path, key: str) -> Path:
    """Writes the key to the file, for this user only, and replaces an earlier one. Returns its path.

    The key is on the disk when this returns, so that it is not lost in a power failure.

    Raises:
        VideoqueueError: it cannot be written.
    """
    file = key_file(data)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f"{_FILE}-", dir=data)  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as opened:
                opened.write(f"{key}\n")
                opened.flush()
                os.fsync(opened.fileno())
            Path(temporary).replace(file)
        finally:
            Path(temporary).unlink(missing_ok=True)
        sync_folder(data)
    except OSError as error:
        raise VideoqueueError(
            f"The first key cannot be written to {file} ({error.strerror}), so none was created. Remove "
            "what is there, or create a key with `videoqueue keys create --owner NAME`."
        ) from None
    return file
