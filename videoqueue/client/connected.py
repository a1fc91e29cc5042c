"""What all parts of the client begin with: the connections, and requests for JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeAlias

from videoqueue.client.address import key_header, service_url
from videoqueue.client.responses import bad_response, decoded
from videoqueue.client.transport import Call, Limits, Transport

StrPath: TypeAlias = str | os.PathLike[str]
#: The parameters of a request; those that are None are left out.
Query: TypeAlias = Mapping[str, str | int | None]


class Connected:
    """The connections to one service."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 60,
        retry_seconds: float = 120,
        min_bytes_per_second: float = 1000,
    ) -> None:
        """Connects to nothing yet.

        Args:
            url: the URL of the service, such as `https://videos.example.com` or, behind a proxy with a path,
                `https://example.com/videos`. By default VIDEOQUEUE_URL, else `http://127.0.0.1:8000`.
            key: the key to send; '' for none. By default VIDEOQUEUE_API_KEY, else, for a service on this
                machine, the file `api-key` in the data folder (VIDEOQUEUE_DATA_DIR).
            timeout: seconds that connecting, the wait for a response, and a body without progress may take.
            retry_seconds: for how many seconds after its first failure a request is sent again; 0 for never.
            min_bytes_per_second: the least speed of an upload or a download, on average over `timeout`
                seconds. A slower attempt has failed.

        Raises:
            ValueError: the URL, the key or a number cannot be used.
            ClientError: other users can read the file of the key.
        """
        limits = Limits(timeout, retry_seconds, min_bytes_per_second)
        address = service_url(url)
        self._transport = Transport(address, key_header(address, key), limits)

    @property
    def url(self) -> str:
        """Returns the URL of the service, without a user name and a password."""
        return self._transport.shown

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._transport.close()

    def _json(self, path: str, query: Query | None = None) -> Any:
        body = self._transport.call(Call("GET", path, query), decoded)
        if not isinstance(body, dict):
            raise bad_response()
        return body
