"""The text models compute the same bits on every processor: see scripts/exact/arithmetic.py."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.text_model_bits import exact_layers, read
from videoqueue.pipeline.plugins.ocr import models

MODELS = pytest.mark.parametrize("name", [models.DETECTOR, models.RECOGNIZER])
Values = npt.NDArray[np.float64]


def constant(output: Any) -> Values | None:
    """The values of a constant, also behind steps that only convert or reshape it."""
    step = output.get_node()
    if step.get_type_name() == "Constant":
        return np.asarray(step.data, np.float64)
    passed_on = step.get_type_name() in ("Convert", "Reshape")
    return constant(step.input_value(0)) if passed_on else None


def known(output: Any) -> Values:
    values = constant(output)
    assert values is not None
    return values


def is_power_of_two(values: Values | float) -> bool:
    mantissa, _ = np.frexp(np.asarray(values))
    return bool(np.all(mantissa == 0.5))


def before(step: Any, kind: str) -> Any:
    """The nearest operation of a kind that an operation's first input comes from."""
    source = step.input_value(0).get_node()
    return source if source.get_type_name() == kind else before(source, kind)


def rounded(error_function: Any) -> tuple[Any, bool]:
    """The FakeQuantize behind an error function; whether a product, so the whole GELU, is in between."""
    step, product = error_function, False
    while step.get_type_name() != "FakeQuantize":
        (step,) = (place.get_node() for place in step.output(0).get_target_inputs())
        product = product or step.get_type_name() == "Multiply"
    return step, product


@MODELS
def test_every_scale_is_a_power_of_two_or_a_few_quarters_of_one(name: str) -> None:
    model = read(name)
    steps = [step for step in model.get_ordered_ops() if step.get_type_name() == "FakeQuantize"]

    for step in steps:
        low, high = (known(step.input_value(place)) for place in (1, 2))
        scale = (high.max() - low.min()) / (step.get_levels() - 1)
        assert is_power_of_two(float(scale)), step.get_friendly_name()
        assert np.all(low / scale == np.rint(low / scale))
    for layer in exact_layers(model):
        scales = known(layer.input_value(1).get_node().input_value(1))
        assert all(numerator in (4, 5, 6, 7) for numerator in np.frexp(scales)[0].ravel() * 8)
    assert len(steps) > 50


@MODELS
def test_no_sum_of_two_products_overflows_without_vnni(name: str) -> None:
    layers = exact_layers(read(name))

    for layer in layers:
        weights = known(layer.input_value(1).get_node().input_value(0))
        # The convolution by channel does not add its products in pairs.
        largest = 127 if layer.get_type_name() == "GroupConvolution" else 64
        assert np.all(weights == np.rint(weights))
        assert np.abs(weights).max() <= largest, layer.get_friendly_name()
    assert len(layers) > 50


@MODELS
def test_float32_holds_every_sum_of_a_layer(name: str) -> None:
    for layer in exact_layers(read(name)):
        weights = np.abs(known(layer.input_value(1).get_node().input_value(0)))
        outputs = weights.shape[0] * (weights.shape[1] if weights.ndim == 5 else 1)
        scales = np.frexp(known(layer.input_value(1).get_node().input_value(1)))[0]
        # The scales are whole multiples of the step of which all sums are multiples.
        denominator = next(d for d in (1, 2, 4) if np.all(scales * 2 * d % 1 == 0))
        largest = weights.reshape(outputs, -1).sum(axis=1).max() * 255 * (2 * denominator - 1)

        assert largest < 2**24, layer.get_friendly_name()


@MODELS
def test_no_gelu_comes_near_the_middle_between_two_levels(name: str) -> None:
    """There, the error functions of two instruction sets would round to two levels."""
    model = read(name)
    steps = [step for step in model.get_ordered_ops() if step.get_type_name() == "Erf"]
    assert len(steps) == 13

    for error_function in steps:
        given, (result, is_gelu) = before(error_function, "FakeQuantize"), rounded(error_function)
        low, high = (float(known(given.input_value(place)).flat[0]) for place in (3, 4))
        rounded_low, rounded_high = (float(known(result.input_value(place)).min()) for place in (1, 2))
        step = (rounded_high - rounded_low) / (result.get_levels() - 1)
        grid = np.linspace(low, high, given.get_levels())
        factors = grid / 2 if is_gelu else np.ones_like(grid)
        levels = factors * [1 + math.erf(value / math.sqrt(2)) for value in grid] / step
        levels = levels[(levels > rounded_low / step) & (levels < rounded_high / step)]

        assert np.abs(levels - np.floor(levels) - 0.5).min() > 1e-4


def test_an_older_instruction_set_computes_the_same_bits() -> None:
    def printed(**environment: str) -> list[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.support.text_model_bits"],
            check=True,
            stdout=subprocess.PIPE,
            env=os.environ | environment,
            text=True,
        ).stdout.split()

    native = printed()

    assert printed(ONEDNN_MAX_CPU_ISA="AVX2") == native
    assert len(set(native)) == 3
