"""How much of a file is read before it is refused."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NO_LIMIT: Final = sys.maxsize


@dataclass(frozen=True, kw_only=True)
class CheckLimits:
    """The largest values that are accepted; the settings hold their defaults.

    Attributes:
        pixels: width x height of the chosen video track, in square pixels.
        tracks: tracks of any kind.
        samples: frames or packets of one track, and of all fragments together.
        audio_values: single values of a track of uncompressed audio.
        edits: entries of the edit list of a track.
        steps: effort of the check. A step takes about 0.1 us, the time to skip one box; the costs of
            everything else were measured in it.
        setting_names: The settings behind the limits, by names such as "max_samples". Error texts use them.
    """

    pixels: int = NO_LIMIT
    tracks: int = NO_LIMIT
    samples: int = NO_LIMIT
    audio_values: int = NO_LIMIT
    edits: int = NO_LIMIT
    steps: int = NO_LIMIT
    setting_names: Mapping[str, str] = field(default_factory=dict)

    def setting(self, name: str) -> str:
        """Returns the name of a setting for an error text; `name` itself when no setting is known."""
        return self.setting_names.get(name, name)
