"""The names of the classes: from the operator's file, else from the model, else those of COCO."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugins.yolo.network import Network

# T.-Y. Lin et al.: Microsoft COCO, 2014, arXiv 1405.0312; its 80 classes, in the order all YOLO models use.
_COCO = Path(__file__).parent / "coco.txt"


def known_names(labels_file: str | None, network: Network) -> list[str] | None:
    """Returns the names from the operator's file or from the model; None if there are none.

    The file has priority, because it may correct or translate the names in the model.

    Raises:
        PipelineError: The file, or the names in the model, cannot be read.
    """
    if labels_file:
        return _read(Path(labels_file), network.settings.labels)
    if "names" in network.metadata:
        return _parse(network)
    return None


def labels_for(names: Sequence[str] | None, classes: int | None, network: Network) -> Sequence[str]:
    """Returns one name for each class of the model.

    Args:
        names: The known names; None if there are none.
        classes: The number of classes; None if the outputs of the model do not show it.
        network: The model.

    Raises:
        PipelineError: The number of names is not the number of classes, or there are no names and the classes
            are not those of COCO.
    """
    setting = network.settings.labels
    if names is None:
        coco = _read(_COCO, setting)
        if classes == len(coco):
            return coco
        count = "an unknown number of" if classes is None else str(classes)
        raise network.error(
            f"it has {count} classes and no names for them. Set {setting} to a file with one name a line."
        )
    if classes is not None and len(names) != classes:
        raise network.error(
            f"it has {classes} classes, but there are {len(names)} names. "
            f"Set {setting} to a file of {classes} lines, one name a line."
        )
    return names


def _read(file: Path, setting: str) -> list[str]:
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise _error(file, f"cannot be read: {error.strerror}. Set {setting} to a text file.") from error
    except UnicodeDecodeError as error:
        raise _error(file, "is not UTF-8 text. Save it as UTF-8, one name a line.") from error
    while names and not names[-1]:
        names.pop()
    if not all(names):
        raise _error(file, f"has nothing in line {names.index('') + 1}. It must have one name a line.")
    if not names:
        raise _error(file, "is empty. It must have one name a line.")
    return names


def _parse(network: Network) -> list[str]:
    """Returns `names` of a model, a list or Ultralytics' dict {class: name}, both in Python syntax."""
    try:
        names = ast.literal_eval(network.metadata["names"])
        if isinstance(names, dict):
            names = [names[number] for number in range(len(names))]
        if isinstance(names, list) and names:
            return [str(name) for name in names]
    except (ValueError, SyntaxError, KeyError, RecursionError):
        pass
    raise network.error(
        "the class names in its metadata cannot be read. "
        f"Set {network.settings.labels} to a file with one name a line."
    )


def _error(file: Path, what: str) -> PipelineError:
    return PipelineError(f"The file of class names {file.name} {what}")
