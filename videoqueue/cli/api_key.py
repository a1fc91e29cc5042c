"""The key that our own commands send, and the file in which `videoqueue up` leaves the first one."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from videoqueue.errors import VideoqueueError
from videoqueue.settings import Settings
from videoqueue.settings.urls import is_loopback
from videoqueue.storage.filesystem import sync_folder

if TYPE_CHECKING:
    import requests

_FILE: Final = "api-key"


class KeyHeader:
    """Sends the key with a request of `requests`, which would replace a plain header by one from ~/.netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Returns the request with the header."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def key_for(url: str, settings: Settings) -> str | None:
    """Returns the key to send to the service at `url`: VIDEOQUEUE_API_KEY, or that of the file.

    The file is for the service of this machine, so its key is sent to loopback addresses only.

    Raises:
        VideoqueueError: other users can read the file.
    """
    if settings.api_key:
        return settings.api_key
    if not is_loopback(urlsplit(url).hostname or ""):
        return None
    file = key_file(settings.data_path)
    try:
        with file.open() as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(1000).strip()
    except (OSError, UnicodeDecodeError):
        return None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise VideoqueueError(
            f"Other users can read the key in {file}. Revoke it with `videoqueue keys revoke`, and write "
            "another one to a file of the mode 0600."
        )
    return text if text and all("!" <= character <= "~" for character in text) else None


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
