"""The parameters of a request, validated one by one as they arrive."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, TypedDict, cast

from flask import Request
from marshmallow import Schema, ValidationError

from videoqueue.api.names import name_of_file
from videoqueue.api.problems import ApiError
from videoqueue.api.schemas import SubmitRequest
from videoqueue.errors import UnknownPipelineError

#: The maximum number of characters of an Idempotency-Key; the size of its column.
MAX_KEY: Final = 255


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

        Raises:
            ApiError: `invalid_parameter`; the message has the name, the value and what it takes.
            UnknownPipelineError: no pipeline has this id; the message has the ids of all pipelines.
        """
        if (name, place) in self._seen:
            raise ApiError("invalid_parameter", f"The parameter {name} is given twice. Send it once.")
        self._seen.add((name, place))
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
    given = {}
    for name, texts in request.args.lists():
        if len(texts) > 1:
            raise ApiError("invalid_parameter", f"The parameter {name[:100]} is given twice. Send it once.")
        given[name] = load_one(schema, name, texts[0])
    return given


def idempotency_key(request: Request) -> str | None:
    """Returns the Idempotency-Key of the request; None if it has none.

    Raises:
        ApiError: `invalid_parameter`, for an empty key or one of more than `MAX_KEY` characters.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise ApiError("invalid_parameter", f"The header Idempotency-Key takes 1 to {MAX_KEY} characters.")
    return key


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}...")
