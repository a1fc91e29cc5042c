"""The results of a completed job as a response: streamed, whole or one page, plain or gzip, with an ETag."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from flask import Request, Response

from videoqueue.api.admission import RequestLimit
from videoqueue.api.parameters import load_one, query_parameters
from videoqueue.api.problems import ApiError
from videoqueue.api.schemas import PageRequest
from videoqueue.api.streaming import Derived
from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.results_by_page import Position, array_of_page
from videoqueue.jobs.types import JobProgress, OwnerScope, rfc3339

_TOKEN: Final = re.compile(r"([0-9a-f]{16})\.([0-9]{1,9})\.([0-9]{1,9})")
_DEFAULT_PAGE: Final = 1000


@dataclass(frozen=True)
class Page:
    """At most `size` frames, from the position `start`."""

    size: int
    start: Position


class Results:
    """One representation of a job's results."""

    def __init__(self, request: Request, job: JobProgress, owner: OwnerScope) -> None:
        """Validates the parameters of the request.

        Args:
            request: the request.
            job: a completed job.
            owner: whose jobs the caller may read.

        Raises:
            ApiError: `invalid_parameter`.
        """
        self._job = job
        self._owner = owner
        self._etag = job.results_etag or ""
        self._page = _page(request, self._etag)

    @property
    def _etag_of_body(self) -> str:
        page = self._page
        return f"{self._etag}.{page.size}.{page.start.seq}.{page.start.offset}" if page else self._etag

    def response(
        self, request: Request, reader: ResultReader, limit: RequestLimit, seconds: float
    ) -> Response:
        """Returns the response: 200 with a streamed body, or 304 without reading the results.

        Args:
            request: the request; its `If-None-Match` decides on 304.
            reader: reads the stored chunks.
            limit: a slot of it is held until the response is closed.
            seconds: how long the database may take for each piece.

        Raises:
            ApiError: `rate_limited`.
            DatabaseUnavailableError: the results cannot be read now.
        """

        def body() -> Iterator[bytes]:
            # After the first byte of the body no error response can be sent.
            reader.require_readable(self._job.job_id, self._owner)
            return self._body(reader)

        return Derived(self._etag_of_body, body).response(request, limit, seconds)

    def _body(self, reader: ResultReader) -> Iterator[bytes]:
        job, page = self._job, self._page
        yield f'{{"job_id":"{job.job_id}","results":'.encode()
        end: dict[str, str | None] = {
            "created_at": rfc3339(job.created_at),
            "updated_at": rfc3339(job.updated_at),
        }
        if page is None:
            yield from reader.array(job.job_id, self._owner, self._etag)
        else:
            following = yield from array_of_page(
                reader, job.job_id, self._owner, self._etag, page.start, page.size
            )
            end["next_page_token"] = None if following is None else _token(self._etag, following)
        yield b"," + json.dumps(end, separators=(",", ":"))[1:].encode() + b"\n"


def _page(request: Request, etag: str) -> Page | None:
    first = dict(reversed(query_parameters(request)))
    given = {name: load_one(PageRequest, name, text) for name, text in first.items()}
    if not given:
        return None
    size = cast(int, given.get("page_size", _DEFAULT_PAGE))
    token = cast(str, given.get("page_token", ""))
    return Page(size, _position(token, etag) if token else Position())


def _token(etag: str, position: Position) -> str:
    plain = f"{etag[:16]}.{position.seq}.{position.offset}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _position(token: str, etag: str) -> Position:
    try:
        plain = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        plain = ""
    match = _TOKEN.fullmatch(plain)
    if match is None or match[1] != etag[:16]:
        raise ApiError(
            "invalid_parameter",
            "page_token cannot be used: it takes the `next_page_token` of an earlier page of the same job. "
            "Leave it out to start with the first page.",
        )
    return Position(int(match[2]), int(match[3]))
