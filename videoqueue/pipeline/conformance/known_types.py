"""The type names that every plugin may use: a check and an example of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videoqueue.pipeline.definitions.faults import shown

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class KnownType:
    """The check and the example of a type.

    Attributes:
        fault: Takes a value and the image that it belongs to. Returns what is wrong with the value, or None.
        example: Takes an image, and whether something was found in it. Returns a value of the type.
    """

    fault: Callable[[object, Image], str | None]
    example: Callable[[Image, bool], object]


def json_fault(value: object) -> str | None:
    """Returns why a value cannot be stored as JSON and read back unchanged; None if it can."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        return f"JSON cannot represent it ({error}). Return plain texts, numbers, lists, dicts; no NaN."
    if json.loads(text) != value:
        return f"JSON turns it into {shown(json.loads(text))}. Return lists, and dicts with texts as keys."
    return None


def fingerprint(value: object) -> str | None:
    """Returns a text that differs if any part of the value or its order differs; None if there is none."""
    try:
        return json.dumps(value, default=_pixels)
    except (TypeError, ValueError, RecursionError):
        return None


def _pixels(value: object) -> list[object]:
    if not isinstance(value, np.ndarray):
        raise TypeError
    return [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]


def _image_fault(value: object, image: Image) -> str | None:
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3:
        return None
    return f"it is {shown(value)}. Return a NumPy array of uint8, (height, width, 3)."


def _text_fault(value: object, image: Image) -> str | None:
    return None if isinstance(value, str) else f"it is {shown(value)}. Give a str."


def _boxes_type(label: str) -> KnownType:
    """Returns the type of lists of dicts with a label of that name, a confidence and a box."""
    keys = (label, "confidence", "box")

    def fault(value: object, image: Image) -> str | None:
        if not isinstance(value, list):
            return f"it is {shown(value)}. Give a list."
        faults = (_entry_fault(entry, keys, image) for entry in value)
        return next((found for found in faults if found), None)

    def example(image: Image, found: bool) -> object:
        height, width = image.shape[:2]
        boxes = [[0, 0, width, height], [width // 4, height // 4, width // 2, height // 2]]
        entries = zip(("Größe 42", "person"), (0.5, 1.0), boxes, strict=True)
        return [dict(zip(keys, entry, strict=True)) for entry in entries] if found else []

    return KnownType(fault, example)


def _entry_fault(entry: object, keys: tuple[str, ...], image: Image) -> str | None:
    if not isinstance(entry, dict) or set(entry) != set(keys):
        return f"an entry is {shown(entry)}. Give a dict of {', '.join(keys)}."
    label, confidence, box = (entry[key] for key in keys)
    if not isinstance(label, str):
        return f"its {keys[0]} is {shown(label)}. Give a str."
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        return f"its confidence is {shown(confidence)}. Give a float from 0 to 1."
    if not isinstance(box, list) or len(box) != 4 or not all(type(side) is int for side in box):
        return f"its box is {shown(box)}. Give a list of four int, [x1, y1, x2, y2]."
    height, width = image.shape[:2]
    if not (0 <= box[0] <= box[2] <= width and 0 <= box[1] <= box[3] <= height):
        return (
            f"its box {box} is not inside the frame of {width} x {height}. "
            "Give 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height."
        )
    return None


KNOWN_TYPES = {
    "image": KnownType(_image_fault, lambda image, found: image),
    "text": KnownType(_text_fault, lambda image, found: "Größe 42\n字" if found else ""),
    "text_blocks": _boxes_type("text"),
    "detections": _boxes_type("label"),
}
