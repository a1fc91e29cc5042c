"""What a view says about its operation: the scope that it needs, its parameters, responses and problems.

@blueprint.get("/healthz")
@operation(Operation(scope=None, summary="...", description="...", responses={...}, problems=ALWAYS))
def healthz() -> ResponseReturnValue: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from marshmallow import Schema

from videoqueue.api.problems import ProblemCode
from videoqueue.jobs.api_key import Scope

#: A part of the document, as it is written in JSON.
Described: TypeAlias = Mapping[str, Any]
View = TypeVar("View", bound=Callable[..., Any])

RETRY_AFTER: Final[Described] = {
    "description": "Seconds to wait before the next request.",
    "schema": {"type": "integer", "minimum": 1},
}


def _header(name: str) -> Described:
    return {"$ref": f"#/components/headers/{name}"}


#: The headers of every response.
COMMON: Final[Described] = {"X-Request-Id": _header("RequestId"), "Cache-Control": _header("CacheControl")}
#: The headers of a response that a client can cache.
CACHED: Final[Described] = {**COMMON, "ETag": _header("ETag"), "Vary": _header("Vary")}

#: The problems that every operation can return, and those of every operation that needs the database.
ALWAYS: Final[Sequence[ProblemCode]] = ("invalid_parameter", "internal_error")
DATABASE: Final[Sequence[ProblemCode]] = ("database_unavailable",)
#: The problems of every operation that returns something made from the results of a job.
RESULTS: Final[Sequence[ProblemCode]] = (
    "job_not_found",
    "results_not_ready",
    "job_failed",
    "rate_limited",
    *DATABASE,
    *ALWAYS,
)

_ATTRIBUTE: Final = "videoqueue_operation"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """The description of a view. Path, method and id are those of its route.

    Attributes:
        scope: the scope that the caller needs; None if strangers may use it.
        responses: the successful responses by status.
        problems: the codes of its error responses.
        parameters: the parameters in the path and in headers.
        query: the schemas of the parameters in the query.
        body: returns the request body, given the schemas of the parameters; None if there is none.
        is_documented: whether the OpenAPI document has it. The addresses of the page are no interface for
            programs.
    """

    scope: Scope | None
    summary: str
    description: str
    responses: Mapping[str, Described]
    problems: Sequence[ProblemCode]
    parameters: Sequence[Described] = ()
    query: Sequence[type[Schema]] = ()
    body: Callable[[Described], Described] | None = None
    is_documented: bool = True


def operation(described: Operation) -> Callable[[View], View]:
    """Returns a decorator that attaches the description to a view; it stands below the route."""

    def attach(view: View) -> View:
        setattr(view, _ATTRIBUTE, described)
        return view

    return attach


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """Returns the description of a view; None if it has none."""
    found = getattr(view, _ATTRIBUTE, None)
    return found if isinstance(found, Operation) else None


def scope_of(view: Callable[..., Any]) -> Scope | None:
    """Returns the scope that a view needs; None if strangers may use it, `submit` without a description."""
    found = operation_of(view)
    return found.scope if found else "submit"


def header_parameter(name: str, description: str, schema: Described) -> Described:
    """Returns the description of an optional header of a request."""
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def json_response(description: str, schema: type[Schema], headers: Described | None = None) -> Described:
    """Returns the description of a JSON response with this schema."""
    return {
        "description": description,
        "headers": {**COMMON, **(headers or {})},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}},
    }


#: A client can cache the responses of an operation that has this parameter and this response.
IF_NONE_MATCH: Final = header_parameter(
    "If-None-Match", "The ETag of an earlier response.", {"type": "string"}
)
NOT_MODIFIED: Final[Described] = {"description": "The response has not changed.", "headers": CACHED}
