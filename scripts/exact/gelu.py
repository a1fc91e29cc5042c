"""Makes a GELU that is rounded to 8 bits the same on every processor.

GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415) needs the error function. Each instruction set computes it
with another polynomial, and the results differ in the seventh digit. Rounded to 8 bits they are equal, unless
they are near the middle between two levels. Here the input is rounded first, to a grid so coarse that all its
values can be looked at. A grid is chosen on which no result is near the middle between two levels.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import openvino
from openvino import opset13

from exact.graph import Values, only_consumer, operations

#: The least distance of a result from the middle between two levels, in levels. Processors differ by 0.00002.
LEAST_MARGIN = 1e-4
# How many steps of the grid make one level of the result, and by which share of a step the grid is moved.
_PARTS, _OFFSETS = (16, 32, 8), (0.5, 0.25, 0.75, 0.375, 0.625)
# GELU of anything below is 0 when it is rounded; above the largest level it is the largest level.
_BOTTOM, _BEYOND = -8.0, 1.0
# Operations between the error function and the rounding of the result: an addition and two products.
_MOST_BETWEEN = 6


class _Grid(NamedTuple):
    margin: float
    step: float
    offset: float
    steps: int


def round_inputs_of_gelu(model: openvino.Model) -> int:
    """Inserts a FakeQuantize in front of each GELU whose result is rounded to 8 bits.

    Args:
        model: A model in which every scale is a power of two; it is changed.

    Returns:
        How many GELUs it has changed.

    Raises:
        ValueError: No grid keeps all results of a GELU away from the middle between two levels.
    """
    found = [(step, result) for step in operations(model, "Erf") if (result := _rounded_result(step))]
    for step, result in found:
        low, high = (result.input_value(place).get_node().data for place in (1, 2))
        grid = _best_grid(float(low.min()), float(high.max()), result.get_levels())
        if grid.margin < LEAST_MARGIN:
            raise ValueError(
                f"{step.get_friendly_name()}: no grid is far enough from the middle of two levels"
            )
        _insert(step, grid)
    model.validate_nodes_and_infer_types()
    return len(found)


def _margin(grid: Values, low: float, high: float, levels: int) -> float:
    """Returns how near a GELU of the grid's values comes to the middle between two levels, in levels."""
    results = np.asarray([value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in grid])
    within = results[(results > low) & (results < high)] * (levels - 1) / (high - low)
    return float(np.abs(np.abs(within - np.floor(within)) - 0.5).min())


def _best_grid(low: float, high: float, levels: int) -> _Grid:
    grids = []
    for parts, offset in itertools.product(_PARTS, _OFFSETS):
        step = (high - low) / (levels - 1) / parts
        count = int((high + _BEYOND - _BOTTOM) / step)
        values = np.asarray(_BOTTOM + (np.arange(count + 1) + offset) * step, np.float64)
        grids.append(_Grid(_margin(values, low, high, levels), step, offset, count))
    return max(grids)


def _insert(error_function: Any, grid: _Grid) -> None:
    source = _before(_before(error_function).get_node())
    consumers = list(source.get_target_inputs())
    top, moved = _BOTTOM + grid.steps * grid.step, grid.offset * grid.step
    ends = (_BOTTOM, top, _BOTTOM + moved, top + moved)
    ranges = [opset13.constant(np.full((1, 1, 1, 1), end, np.float32)) for end in ends]
    rounded = opset13.fake_quantize(source, *ranges, grid.steps + 1)
    for consumer in consumers:
        consumer.replace_source_output(rounded.output(0))


def _before(step: Any) -> Any:
    """Returns the output that a step takes, before steps that change nothing."""
    output = step.input_value(0)
    while output.get_node().get_type_name() == "Identity":
        output = output.get_node().input_value(0)
    return output


def _rounded_result(error_function: Any) -> Any:
    """Returns the FakeQuantize that rounds the result of a GELU; None if there is none."""
    step = error_function
    for _ in range(_MOST_BETWEEN):
        step = only_consumer(step)
        if step is None or step.get_type_name() == "FakeQuantize":
            return step
    return None
