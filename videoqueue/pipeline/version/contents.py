"""Hashes of files, and which files belong to a module or an option."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Files = Mapping[str, Path]

#: Suffixes of models whose weights may be in further files beside them, named after the model.
_MODELS = (".xml", ".onnx")
#: Device, inode, bytes, and times of the last changes; None for a file that cannot be examined.
_State = tuple[int, ...] | None


@dataclass(frozen=True)
class Contents:
    """The SHA-256 of each file as it was read; None for a file that could not be read."""

    digests: Mapping[str, str | None]
    _states: Mapping[Path, _State]

    @classmethod
    def of(cls, files: Files) -> Contents:
        """Returns the contents of the files, which it reads now."""
        # The state is read first, so that a change during the hashing is noticed later.
        states = {path: _state(path) for path in files.values()}
        return cls({name: _digest(path) for name, path in files.items()}, states)

    def is_current(self) -> bool:
        """Returns whether the files have not changed since they were read."""
        return all(_state(path) == state for path, state in self._states.items())


def files_below(folder: Path, *left_out: Path) -> Files:
    """Returns every file of the folder by its relative path, without hidden files and compiled modules."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(path.is_relative_to(other) for other in left_out)
        if not any(part.startswith((".", "__pycache__")) for part in path.relative_to(folder).parts)
    }


def files_of_module(name: str) -> Files:
    """Returns the files of the package that a module is or belongs to, or its own file. Imports nothing."""
    top, _, rest = name.partition(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:
        spec = None
    if spec is None:
        return {}
    for location in spec.submodule_search_locations or ():
        place = Path(location, *filter(None, rest.split(".")))
        if place.is_dir():
            return files_below(place)
        if any(place.parent.glob(f"{place.name}.*")):
            return files_below(place.parent)
    file = Path(spec.origin or "")
    return {file.name: file} if file.is_file() else {}


def files_of_option(value: str) -> Files:
    """Returns the files that an option's value names, with the weights beside a model; else none."""
    if not value:  # as a path, it would be the working directory
        return {}
    path = Path(value)
    try:
        if path.is_dir():
            return files_below(path)
        return {name: file for name, file in _with_weights(path) if file.is_file()}
    except (OSError, ValueError):  # too long for a path, or with a NUL in it
        return {}


def _with_weights(path: Path) -> Iterator[tuple[str, Path]]:
    """Yields the file and those beside it that belong to it, each with the part of its name that differs."""
    yield "", path
    if path.suffix in _MODELS and path.is_file():
        for other in sorted(path.parent.iterdir()):
            if other != path and other.name.startswith((f"{path.stem}.", f"{path.name}_")):
                yield other.name.removeprefix(path.stem), other


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return None


def _state(path: Path) -> _State:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
