"""Names of the classes: the operator's file, else those in the model, else those of COCO."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.yolo.network import Network

# T.-Y. Lin et al.: Microsoft COCO, 2014, arXiv 1405.0312; its 80 classes, in the order all YOLO models use.
_COCO = Path(__file__).parent / "coco.txt"


def known_names(labels_file: str | None, network: Network) -> list[str] | None:
    """The names somebody has given, or None. The operator's file wins: it may mend or translate the model's.

    Raises:
        PipelineError: the file, or what the model has instead, cannot be read.
    """
    if labels_file:
        return _read(Path(labels_file))
    if "names" in network.metadata:
        return _parse(network)
    return None


def labels_for(names: Sequence[str] | None, classes: int | None, network: Network) -> Sequence[str]:
    """One name for each class of the model; `classes` is None if the model's outputs do not tell.

    Raises:
        PipelineError: there are more or fewer names than classes, or none for classes other than COCO's.
    """
    if names is None:
        coco = _read(_COCO)
        if classes == len(coco):
            return coco
        count = "an unknown number of" if classes is None else str(classes)
        raise network.fault(
            f"it has {count} classes and no names for them. "
            "Set VIDEOQUEUE_YOLO_LABELS to a file with one name a line."
        )
    if classes is not None and len(names) != classes:
        raise network.fault(
            f"it has {classes} classes, but there are {len(names)} names. "
            f"Set VIDEOQUEUE_YOLO_LABELS to a file of {classes} lines, one name a line."
        )
    return names


def _read(file: Path) -> list[str]:
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise _flaw(
            file, f"cannot be read: {error.strerror}. Set VIDEOQUEUE_YOLO_LABELS to a text file."
        ) from error
    except UnicodeDecodeError as error:
        raise _flaw(file, "is no UTF-8 text. Save it as UTF-8, one name a line.") from error
    while names and not names[-1]:
        names.pop()
    if not all(names):
        raise _flaw(file, f"has nothing in line {names.index('') + 1}. It must have one name a line.")
    if not names:
        raise _flaw(file, "is empty. It must have one name a line.")
    return names


def _parse(network: Network) -> list[str]:
    """`names` in a model: a list, or a dict {class: name} as Ultralytics has it, in Python's notation."""
    try:
        names = ast.literal_eval(network.metadata["names"])
        if isinstance(names, dict):
            names = [names[number] for number in range(len(names))]
        if isinstance(names, list) and names:
            return [str(name) for name in names]
    except (ValueError, SyntaxError, KeyError, RecursionError):
        pass
    raise network.fault(
        "the class names in its metadata cannot be read. "
        "Set VIDEOQUEUE_YOLO_LABELS to a file with one name a line."
    )


def _flaw(file: Path, what: str) -> PipelineError:
    return PipelineError(f"The file of class names {file.name} {what}")
