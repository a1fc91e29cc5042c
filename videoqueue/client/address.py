"""Where the service is, and the key to send to it: from arguments, from the environment, from a file."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from videoqueue.client.errors import ClientError

if TYPE_CHECKING:
    import requests

#: The name of the file in the data folder in which `videoqueue up` leaves the first key.
KEY_FILE: Final = "api-key"
_DEFAULT_URL: Final = "http://127.0.0.1:8000"
_DEFAULT_DATA: Final = "./var"
_KEY: Final = re.compile(r"[!-~]+")
_UNPRINTABLE: Final = re.compile(r"[\s\x00-\x20\x7f]")


class KeyHeader:
    """Sends the key with a request of `requests`, which would replace a plain header by one from ~/.netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Returns the request with the header."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def __repr__(self) -> str:
        return "KeyHeader(...)"


def service_url(url: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Returns the URL of the service without a slash at its end.

    Args:
        url: `http://HOST:PORT` or `https://HOST`, with or without a path; VIDEOQUEUE_URL by default, else
            `http://127.0.0.1:8000`.
        environ: the environment variables.

    Raises:
        ValueError: it is not such a URL. The message does not contain it: it may have a password.
    """
    given = url if url is not None else environ.get("VIDEOQUEUE_URL", "").strip() or _DEFAULT_URL
    why = _fault_of(given)
    if why is not None:
        raise ValueError(
            f"The URL of the service cannot be used: {why}. It takes http://HOST:PORT or https://HOST, with "
            "or without a path; an IPv6 address is in brackets, as in http://[::1]:8000."
        )
    return given.rstrip("/")


def _fault_of(url: str) -> str | None:
    if _UNPRINTABLE.search(url):
        return "it has a space or a control character"
    if "\\" in url:  # parsers disagree on where the host ends then
        return "it has a backslash"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "its host or port is not valid"
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if not parts.hostname or port == 0:
        return "its host or port is not valid"
    if "?" in url or "#" in url:
        return "it has a query or a fragment"
    return None


def shown_url(url: str) -> str:
    """Returns the URL as it may be printed: without a user name and a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def key_header(url: str, key: str | None, environ: Mapping[str, str] = os.environ) -> KeyHeader | None:
    """Returns what sends the key to the service at `url`.

    Args:
        url: the URL of the service.
        key: the key; '' for none. By default VIDEOQUEUE_API_KEY, else that of the file.
        environ: the environment variables.

    Returns:
        None if there is no key to send.

    Raises:
        ClientError: other users can read the file.
        ValueError: a header cannot carry the key.
    """
    if key is None:
        data = Path(environ.get("VIDEOQUEUE_DATA_DIR", "").strip() or _DEFAULT_DATA)
        key = environ.get("VIDEOQUEUE_API_KEY", "").strip() or key_of_file(url, data) or ""
    if not key:
        return None
    if not _KEY.fullmatch(key):
        raise ValueError("The key cannot be used: it takes ASCII characters without spaces.")
    return KeyHeader(key)


def key_of_file(url: str, data: Path) -> str | None:
    """Returns the key in the file of the data folder, if the service is on this machine.

    It is for the service of this machine, so it is sent to loopback addresses only.

    Args:
        url: the URL of the service.
        data: the data folder.

    Raises:
        ClientError: other users can read the file.
    """
    if not is_loopback(urlsplit(url).hostname or ""):
        return None
    file = data / KEY_FILE
    try:
        with file.open() as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(1000).strip()
    except (OSError, UnicodeDecodeError):
        return None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ClientError(
            f"Other users can read the key in {file.absolute()}. Revoke it with `videoqueue keys revoke`, "
            "and write another one to a file of the mode 0600.",
            code="bad_file",
        )
    return text if _KEY.fullmatch(text) else None


def job_path(begin: str, job_id: object, end: str = "") -> str:
    """Returns the path of a job's address, with an id that cannot lead to another address.

    Raises:
        ClientError: `job_not_found`, for a text that is the id of no job.
    """
    text = str(job_id)
    if text.strip(".") == "":
        raise ClientError("This is not a job id. Use one that `submit` returned.", code="job_not_found")
    return f"{begin}/{quote(text, safe='')}{end}"


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
