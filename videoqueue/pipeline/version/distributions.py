"""The versions of installed distributions and of their requirements."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

#: Every plugin requires it. It is left out: the source of the pipeline and its libraries count separately.
_OURS = "videoqueue"


def installed_versions(*names: str) -> dict[str, str | None]:
    """Returns the version of each named distribution and of all their requirements; None if not installed."""
    found: dict[str, str | None] = {_OURS: None}
    waiting = list(names)
    while waiting:
        name = _normalized(waiting.pop())
        if name not in found:
            here = _find(name)
            found[name] = None if here is None else here.version
            waiting += [] if here is None else _required(here)
    del found[_OURS]
    return found


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _required(found: Distribution) -> list[str]:
    """Returns the required names for any platform, without those of extras."""
    names = []
    for requirement in found.requires or ():
        wanted, _, marker = requirement.partition(";")
        name = re.match(r"\s*([A-Za-z0-9._-]+)", wanted)
        if name and not re.search(r"\bextra\b", marker):
            names.append(name[1])
    return names


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
