"""Variables that look like settings but are none: a misspelt name would otherwise be ignored silently."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches

from videoqueue.settings.loading import Settings

logger = logging.getLogger(__name__)

_PREFIX = "VIDEOQUEUE_"
#: The least similarity, from 0 to 1 (`difflib`), of a name with our prefix, and of one with another prefix.
#: The second is high because the environment contains the variables of other programs.
_SIMILAR, _VERY_SIMILAR = 0.6, 0.9
#: Kubernetes sets these in every container for a Service that is called `videoqueue` or `videoqueue-...`:
#: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://.*")


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the names of unknown variables, each with the nearest setting; '' if none is similar.

    Unknown are names that begin with VIDEOQUEUE_ in any case, and names that are almost a setting's, such as
    VIDEO_QUEUE_DATA_DIR.
    """
    known = [entry.metadata["name"] for entry in fields(Settings)]
    found = {}
    for name, value in sorted(environ.items()):
        if name in known or _is_service_link(name, value):
            continue
        nearest = _nearest(name.upper(), known)
        if name.upper().startswith(_PREFIX) or nearest:
            found[name] = nearest
    return found


def log_unknown_variables(environ: Mapping[str, str]) -> None:
    """Logs one warning for each unknown variable. Its value may be a secret and is not logged."""
    for name, nearest in unknown_variables(environ).items():
        about = {"variable": name} | ({"nearest_setting": nearest} if nearest else {})
        logger.warning("An environment variable is no setting and is ignored.", extra=about)


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _LINK_VALUE.fullmatch(value)))


def _nearest(name: str, known: list[str]) -> str:
    """Returns the most similar setting. The prefix does not count: all settings with it would be similar."""
    if not name.startswith(_PREFIX):
        prefixed = [setting for setting in known if setting.startswith(_PREFIX)]
        return next(iter(get_close_matches(name, prefixed, 1, _VERY_SIMILAR)), "")
    short = {setting.removeprefix(_PREFIX): setting for setting in known}
    matches = get_close_matches(name.removeprefix(_PREFIX), short, 1, _SIMILAR)
    return short[matches[0]] if matches else ""
