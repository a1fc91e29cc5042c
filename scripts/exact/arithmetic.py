"""Makes the arithmetic of a quantised model exact, so that every processor computes the same bits.

A model quantised by NNCF has scales of any size. Products and sums with them are rounded, in another order by
each instruction set, and a value near the middle between two levels becomes the one on one processor and the
other on the next. Here every scale of values becomes a power of two, every scale of weights a power of
two times 4, 5, 6 or 7, and every bias a multiple of the smallest step of the sum that it is added to. Float32
holds all products, sums and biases of such a layer exactly, in any order.

What stays in float32, such as a transformer, still depends on the instruction set in its last bits.

Works on OpenVINO models in which NNCF has inserted FakeQuantize steps. Weights have 7 of their 8 bits: on
processors without VNNI the sum of two products of 8 bits saturates. Weights of a convolution by channel
have all 8: their products are not added in pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13

from exact.graph import Values, bias_of, constant, operations, replace

_LARGEST_WEIGHT, _LARGEST_WEIGHT_BY_CHANNEL = 64, 127
_WEIGHTED = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
# Scales of weights are a power of two times n/4, n/2 or n; the first that float32 has room for.
_DENOMINATORS = (4, 2, 1)
# Whole numbers below are exact in float32.
_LARGEST_INPUT, _EXACT = 255, 2**24
# What hands its input on, or parts of it, without computing anything.
_UNCHANGED = (
    "Identity",
    "Interpolate",
    "MaxPool",
    "Pad",
    "Relu",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "VariadicSplit",
)
# A range may be this much asymmetric and still be taken for a symmetric one.
_NEARLY_SYMMETRIC = 0.01
_TINY = 1e-9


def make_exact(model: openvino.Model, source: openvino.Model) -> int:
    """Changes the scales, weights and biases of a quantised model.

    Args:
        model: The quantised model; it is changed.
        source: The model from which it was made, with the same names of the operations. Weights are rounded
            anew from it.

    Returns:
        The number of layers with weights that are exact now; layers that stay in float32 do not count.
    """
    scales = {step.get_friendly_name(): _snap(step) for step in operations(model, "FakeQuantize")}
    originals = {step.get_friendly_name(): step for step in source.get_ordered_ops()}
    count = 0
    for layer in operations(model, *_WEIGHTED):
        if not _is_exact(layer):
            continue
        weights = constant(originals[layer.get_friendly_name()].input_value(1))
        if weights is None:
            raise ValueError(f"{layer.get_friendly_name()} has no constant weights in the source")
        weight_scales = _replace_weights(layer, weights)
        _replace_bias(layer, weight_scales, _scale_of(layer.input_value(0), scales))
        count += 1
    model.validate_nodes_and_infer_types()
    return count


def correct_biases(model: openvino.Model, source: openvino.Model, inputs: Sequence[npt.ArrayLike]) -> None:
    """Adds to every bias of an exact model what the rounding has taken from the mean of each channel.

    Layers are corrected in their order, because each changes the ones behind it. The biases stay exact.

    Args:
        model: The model that `make_exact` has changed; it is changed.
        source: The model from which it was made.
        inputs: The inputs to compute the means with.
    """
    scales = {step.get_friendly_name(): _scale(step) for step in operations(model, "FakeQuantize")}
    for layer in operations(model, *_WEIGHTED):
        found = bias_of(layer)
        input_scale = _scale_of(layer.input_value(0), scales)
        if not _is_exact(layer) or found is None or input_scale is None:
            continue
        following, place, bias = found
        name = following.get_friendly_name()
        missing = _means(source, name, inputs) - _means(model, name, inputs)
        replace(following.input(place), bias + missing.reshape(bias.shape))
        weight_scales = constant(layer.input_value(1).get_node().input_value(1))
        if weight_scales is None:
            raise ValueError(f"{layer.get_friendly_name()} has no constant scales")
        _replace_bias(layer, weight_scales, input_scale)


def _means(model: openvino.Model, name: str, inputs: Sequence[npt.ArrayLike]) -> Values:
    """Returns the mean of each channel of an operation's output."""
    copy = model.clone()
    step = next(step for step in copy.get_ordered_ops() if step.get_friendly_name() == name)
    part = openvino.Model([step.output(0)], copy.get_parameters(), name)
    run = openvino.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    means = []
    for values in inputs:
        output = np.asarray(run(values)[0], np.float64)
        axes = (0, 2, 3) if output.ndim == 4 else tuple(range(output.ndim - 1))
        means.append(output.mean(axis=axes))
    return np.asarray(np.mean(means, axis=0), np.float64)


def _scale(quantise: Any) -> float:
    low, high = (constant(quantise.input_value(place)) for place in (1, 2))
    if low is None or high is None:
        raise ValueError(f"{quantise.get_friendly_name()} has no constant range")
    levels: int = quantise.get_levels()
    return float(high.max() - low.min()) / (levels - 1)


def _snap(quantise: Any) -> float:
    """Changes the range of a FakeQuantize to one scale, a power of two, for all channels. Returns it."""
    low, high = (constant(quantise.input_value(place)) for place in (1, 2))
    if low is None or high is None:
        raise ValueError(f"{quantise.get_friendly_name()} has no constant range")
    least, most = float(low.min()), float(high.max())
    steps = quantise.get_levels() - 1
    scale = 2.0 ** math.ceil(math.log2((most - least) / steps) - _TINY)
    if least >= 0:
        zero = 0
    elif abs(least + most) <= _NEARLY_SYMMETRIC * (most - least):
        zero = (steps + 1) // 2
    else:
        zero = min(steps, math.ceil(-least / scale))
    bottom, top = -zero * scale, (steps - zero) * scale
    for place, value in ((1, bottom), (2, top), (3, bottom), (4, top)):
        replace(quantise.input(place), np.full(low.shape, value))
    return scale


def _replace_weights(layer: Any, weights: Values) -> Values:
    """Rounds the weights of a layer to multiples of powers of two. Returns the scale of each channel."""
    multiply = layer.input_value(1).get_node()
    given, shape = constant(multiply.input_value(1)), list(multiply.input_value(0).get_shape())
    if given is None or shape != list(weights.shape):
        raise ValueError(f"{layer.get_friendly_name()} is not laid out as NNCF does it")
    by_channel = layer.get_type_name() == "GroupConvolution"
    largest = _LARGEST_WEIGHT_BY_CHANNEL if by_channel else _LARGEST_WEIGHT
    axes = tuple(axis for axis, size in enumerate(given.shape) if size == 1)
    for denominator in _DENOMINATORS:
        scales = _best_scales(weights, axes, largest, denominator)
        integers = _rounded(weights, scales, largest)
        numerator = 2 * denominator - 1
        if np.abs(integers).sum(axis=axes).max() * _LARGEST_INPUT * numerator < _EXACT:
            break
    else:
        raise ValueError(f"{layer.get_friendly_name()}: float32 does not hold its sums")
    replace(multiply.input(0), integers, np.int8)
    converted = opset13.convert(multiply.input_value(0), "f32")
    multiply.input(0).replace_source_output(converted.output(0))
    replace(multiply.input(1), scales)
    return scales


def _best_scales(weights: Values, axes: tuple[int, ...], largest: int, denominator: int) -> Values:
    """Returns for each channel the scale with the least error.

    The candidates are those from half the range to no clipping. A smaller scale clips the largest weights,
    but it rounds the others better.
    """
    peak = np.maximum(np.abs(weights).max(axis=axes, keepdims=True), _TINY)
    power = np.exp2(np.floor(np.log2(peak / largest)))
    parts = np.arange(denominator, 2 * denominator + 1) / denominator
    candidates = [power * part for part in (*parts[:-1] / 2, *parts)]
    errors = [
        ((_rounded(weights, scale, largest) * scale - weights) ** 2).sum(axis=axes, keepdims=True)
        for scale in candidates
    ]
    return np.asarray(np.choose(np.argmin(errors, axis=0), candidates), np.float64)


def _rounded(weights: Values, scales: Values, largest: int) -> Values:
    return np.asarray(np.clip(np.rint(weights / scales), -largest, largest), np.float64)


def _replace_bias(layer: Any, weight_scales: Values, input_scale: float | None) -> None:
    found = bias_of(layer)
    if input_scale is None or found is None:
        return
    following, place, bias = found
    sums = input_scale * _steps_of(weight_scales).reshape(1, -1, 1, 1)
    if layer.get_type_name() == "MatMul":
        sums = sums.reshape(-1)
    replace(following.input(place), np.rint(bias / sums) * sums)


def _steps_of(scales: Values) -> Values:
    """Returns for each scale the power of two of which it is a whole multiple."""
    powers = np.exp2(np.floor(np.log2(scales)))
    denominator = next(d for d in reversed(_DENOMINATORS) if np.all(scales / powers * d % 1 == 0))
    return np.asarray(powers / denominator, np.float64)


def _is_exact(layer: Any) -> bool:
    return bool(layer.input_value(1).get_node().get_type_name() == "Multiply")


def keep_in_16_bits(model: openvino.Model, least: int = 10_000) -> None:
    """Stores the constants in float32 with at least so many values in 16 bits; the file is smaller."""
    for step in operations(model, "Constant"):
        if step.get_element_type() == openvino.Type.f32 and step.data.size >= least:
            converted = opset13.convert(opset13.constant(np.asarray(step.data, np.float16)), "f32")
            for consumer in step.output(0).get_target_inputs():
                consumer.replace_source_output(converted.output(0))


def _scale_of(output: Any, scales: dict[str, float]) -> float | None:
    """Returns the number of which all values of an output are multiples; None if there is none."""
    step = output.get_node()
    kind = step.get_type_name()
    if kind == "FakeQuantize":
        return scales[step.get_friendly_name()]
    if kind in _UNCHANGED:
        return _scale_of(step.input_value(0), scales)
    if kind == "Concat":
        found = [_scale_of(source.get_source_output(), scales) for source in step.inputs()]
        known = [scale for scale in found if scale is not None]
        return min(known) if len(known) == len(found) else None
    return None
