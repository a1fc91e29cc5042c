"""Prints a SHA-256 of what the built-in detector returns, to compare processors.

    python scripts/detection/outputs.py [FRAMES]

One line for each of FRAMES frames of the sample video (default: 2): the number of the frame, the SHA-256 of
the model's outputs, bit for bit, and that of the detections. With one thread. It needs only the requirements
of videoqueue, so that it also runs under an emulator:

    qemu-x86_64 -cpu Haswell .venv/bin/python scripts/detection/outputs.py
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from videoqueue.pipeline.decode.decoder import open_video  # noqa: E402
from videoqueue.pipeline.plugin import PluginOptions  # noqa: E402
from videoqueue.pipeline.plugins.yolo import YoloPlugin  # noqa: E402
from videoqueue.pipeline.plugins.yolo.network import Network  # noqa: E402

SAMPLE = ROOT / "videoqueue" / "cli" / "sample.mp4"
#: Frames that are so far apart show different pictures.
STEP = 10


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else 2
    plugin = YoloPlugin(PluginOptions(inference_threads=1))
    with open_video(SAMPLE) as video:
        for frame in video.frames():
            if frame.index % STEP == 0 and frame.index < count * STEP:
                print(frame.index, *_digests(plugin, frame.image()), flush=True)


def _digests(plugin: YoloPlugin, image: np.ndarray[Any, Any]) -> tuple[str, str]:
    bits = hashlib.sha256()
    run = Network.run

    def recorded(self: Network, picture: np.ndarray[Any, Any]) -> Any:
        outputs = run(self, picture)
        for output in outputs:
            bits.update(output.tobytes())
        return outputs

    with patch.object(Network, "run", recorded):
        found = plugin.run_tool("detect", {"image": image})
    return bits.hexdigest(), hashlib.sha256(json.dumps(found).encode()).hexdigest()


if __name__ == "__main__":
    main()
