"""The parameters of a request, validated one by one as they arrive."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, Literal, TypedDict, cast
from urllib.parse import parse_qsl

from flask import Request
from marshmallow import Schema, ValidationError

from videoqueue.api.names import name_of_file
from videoqueue.api.problems import ApiError
from videoqueue.api.schemas import SubmitRequest
from videoqueue.errors import UnknownPipelineError

#: The maximum number of characters of an Idempotency-Key; the size of its column.
MAX_KEY: Final = 255
#: The parameters whose value people type. Browsers send an input that nobody filled in as an empty field.
EMPTY_IS_NONE: Final = ("frame_stride", "max_frames", "name")
#: No value of a header may have them (RFC 9110, section 5.5). Postgres stores no NUL and no lone surrogates.
_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


class SubmitValues(TypedDict):
    """The validated parameters of a submission; `max_frames` is None for all frames, `name` for no name."""

    pipeline_id: str
    frame_stride: int
    max_frames: int | None
    name: str | None


class SubmitParameters:
    """The parameters of a submission: `add` each that the client sent, then read `values`."""

    def __init__(self, pipelines: Collection[str], default_pipeline: str) -> None:
        self._pipelines = pipelines
        self._values: dict[str, object] = {}
        self._seen: set[tuple[str, str]] = set()
        self._default: dict[str, object] = {"pipeline_id": default_pipeline}

    def add(self, name: str, text: str, place: Literal["form", "query"]) -> None:
        """Validates a parameter. A form field replaces a parameter of the query, which arrives first.

        An empty form field of `EMPTY_IS_NONE` counts as not sent.

        Raises:
            ApiError: `invalid_parameter`; the message has the name, the value and what it takes.
            UnknownPipelineError: no pipeline has this id; the message has the ids of all pipelines.
        """
        if (name, place) in self._seen:
            raise ApiError("invalid_parameter", f"The parameter {name} is given twice. Send it once.")
        self._seen.add((name, place))
        if place == "form" and name in EMPTY_IS_NONE and not text.strip():
            return
        value = load_one(SubmitRequest, name, text, also=("file",))
        if name == "pipeline_id" and value not in self._pipelines:
            raise UnknownPipelineError(text, self._pipelines)
        if name != "name" or value is not None:
            self._values[name] = value

    def suggest_name(self, file_name: str) -> None:
        """Makes the file name of the video the default of the parameter `name`."""
        self._default["name"] = name_of_file(file_name)

    @property
    def values(self) -> SubmitValues:
        """Returns every parameter, with the default of each that was not sent."""
        return cast(SubmitValues, SubmitRequest().load({}) | self._default | self._values)


def query_parameters(request: Request) -> list[tuple[str, str]]:
    """Returns the names and values in the query. Undecodable bytes are replaced with U+FFFD."""
    query = request.query_string.decode(errors="replace")
    return parse_qsl(query, keep_blank_values=True, errors="replace")


def require_no_parameters(request: Request) -> None:
    """Checks that the query is empty.

    Raises:
        ApiError: `invalid_parameter`; the message has the name of the first parameter.
    """
    for name, _ in query_parameters(request):
        raise ApiError(
            "invalid_parameter",
            f"There is no parameter {_shortened(name)} here: this address takes none. Leave it out.",
        )


def load_one(schema: type[Schema], name: str, text: str, also: tuple[str, ...] = ()) -> object:
    """Validates one parameter.

    Args:
        schema: the schema with a field for each known parameter.
        name: the name of the parameter.
        text: its value as the client sent it.
        also: further names for the message about an unknown parameter.

    Returns:
        The value, with the type that the field of the schema has.

    Raises:
        ApiError: `invalid_parameter`.
    """
    fields = schema().fields
    if name not in fields:
        known = ", ".join(sorted((*fields, *also)))
        raise ApiError("invalid_parameter", f"There is no parameter {_shortened(name)}. Known: {known}.")
    try:
        values: dict[str, object] = schema(only=(name,)).load({name: text})
    except ValidationError as error:
        messages: dict[str, list[str]] = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise ApiError(
            "invalid_parameter", f"{name}={_shortened(text)} cannot be used: {name} {messages[name][0]}."
        ) from None
    return values[name]


def query_of(request: Request, schema: type[Schema]) -> Mapping[str, object]:
    """Returns the validated parameters of the query, without those that were not sent.

    Raises:
        ApiError: `invalid_parameter`, also if one is given twice.
    """
    given: dict[str, object] = {}
    for name, text in query_parameters(request):
        if name in given:
            raise ApiError("invalid_parameter", f"The parameter {name[:100]} is given twice. Send it once.")
        given[name] = load_one(schema, name, text)
    return given


def idempotency_key(request: Request) -> str | None:
    """Returns the Idempotency-Key of the request; None if it has none.

    Raises:
        ApiError: `invalid_parameter`, for an empty key, one of more than `MAX_KEY` characters, or one with
            control characters.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and (not 1 <= len(key) <= MAX_KEY or _CONTROL.search(key)):
        raise ApiError(
            "invalid_parameter",
            f"The header Idempotency-Key takes 1 to {MAX_KEY} characters, no control characters.",
        )
    return key


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}...")
