"""Parameters of a request, checked one by one as they become known."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from marshmallow import Schema, ValidationError

from videoqueue.api.problems import ApiError
from videoqueue.api.schemas import SubmitRequest
from videoqueue.errors import UnknownPipelineError


class SubmitParameters:
    """What is to be done with a video: `add` what was given, then take `values`."""

    def __init__(self, pipelines: Collection[str], default_pipeline: str) -> None:
        self._pipelines = pipelines
        self._values: dict[str, Any] = {}
        self._seen: set[tuple[str, str]] = set()
        self._default = {"pipeline_id": default_pipeline}

    def add(self, name: str, text: str, place: Literal["form", "query"]) -> None:
        """Form fields, which come later, outdo the query.

        Raises ApiError or UnknownPipelineError: the parameter, what was given and what it takes.
        """
        if (name, place) in self._seen:
            raise ApiError("invalid_parameter", f"The parameter {name} is given twice. Send it once.")
        self._seen.add((name, place))
        value = load_one(SubmitRequest, name, text, also=("file",))
        if name == "pipeline_id" and value not in self._pipelines:
            known = ", ".join(sorted(self._pipelines))
            raise UnknownPipelineError(f"There is no pipeline {shortened(value)}. Known: {known}.")
        self._values[name] = value

    @property
    def values(self) -> dict[str, Any]:
        defaults: dict[str, Any] = SubmitRequest().load({})
        return defaults | self._default | self._values


def load_one(schema: type[Schema], name: str, text: str, also: tuple[str, ...] = ()) -> Any:
    """One parameter by its schema. Raises ApiError `invalid_parameter`."""
    fields = schema().fields
    if name not in fields:
        known = ", ".join(sorted((*fields, *also)))
        raise ApiError("invalid_parameter", f"There is no parameter {shortened(name)}. Known: {known}.")
    try:
        return schema(only=(name,)).load({name: text})[name]
    except ValidationError as error:
        messages: dict[str, list[str]] = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise ApiError(
            "invalid_parameter", f"{name}={shortened(text)} cannot be used: {name} {messages[name][0]}."
        ) from None


def shortened(text: str) -> str:
    """A client's text as it may be repeated to it."""
    return repr(text if len(text) <= 100 else f"{text[:100]}...")
