"""Finds operations of an OpenVINO model, and replaces their constants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13

Values = npt.NDArray[np.float64]

# What is between a constant and the operation that takes it, without computing anything.
_PASSED_ON = ("Convert", "Identity", "Reshape", "Squeeze", "Unsqueeze")


def operations(model: openvino.Model, *kinds: str) -> Iterator[Any]:
    """Yields the operations of these kinds, each after those whose results it takes."""
    return (step for step in model.get_ordered_ops() if step.get_type_name() in kinds)


def bias_of(layer: Any) -> tuple[Any, int, Values] | None:
    """Returns the addition behind a layer, and which of its inputs is the bias, with its values."""
    following = only_consumer(layer)
    while following is not None and following.get_type_name() == "Identity":
        following = only_consumer(following)
    if following is None or following.get_type_name() != "Add":
        return None
    for place in (0, 1):
        values = constant(following.input_value(place))
        if values is not None:
            return following, place, values
    return None


def only_consumer(step: Any) -> Any:
    """Returns the operation that takes the result of a step; None if there are none or several."""
    consumers = list(step.output(0).get_target_inputs())
    return consumers[0].get_node() if len(consumers) == 1 else None


def constant(output: Any) -> Values | None:
    """Returns the values of an output; None if they depend on the input of the model."""
    step = output.get_node()
    if step.get_type_name() == "Constant":
        return np.asarray(step.data, np.float64)
    return constant(step.input_value(0)) if step.get_type_name() in _PASSED_ON else None


def replace(place: Any, value: npt.ArrayLike, kind: npt.DTypeLike = np.float32) -> None:
    """Makes an input of an operation a constant."""
    place.replace_source_output(opset13.constant(np.asarray(value, kind)).output(0))
