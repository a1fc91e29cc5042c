"""A plugin with next to no work for the harness' workers: its result is a digest of the picture."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from videoqueue.errors import PermanentError
from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool

#: Long enough that a kill hits a job in the middle, short enough that many jobs run.
SLOW_SECONDS = 0.1
#: More than any limit that the harness sets; the pages are never touched, so without a limit it is harmless.
EATEN_BYTES = 3 * 1024**3
#: How often the tool `large` repeats the digest: four frames have more than a megabyte of results.
LARGE = 5000
REFUSAL = "The test plugin takes no picture."

_DIGEST = Tool({"image": "image"}, {"digest": "text"})


class ChaosPlugin:
    manifest = Manifest("chaos", "1.0", dict.fromkeys(("quick", "slow", "large", "refuse", "eat"), _DIGEST))

    def __init__(self, options: PluginOptions) -> None:
        pass

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        match tool:
            case "slow":
                time.sleep(SLOW_SECONDS)
            case "refuse":
                raise PermanentError(REFUSAL)
            case "eat":
                np.empty(EATEN_BYTES, np.uint8)
        digest = hashlib.sha256(inputs["image"]).hexdigest()
        return {"digest": digest * LARGE if tool == "large" else digest}
