"""What the clients submit: good videos with their golden results, and hostile files with their reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.chaos.plugin import REFUSAL, ChaosPlugin
from tests.support.videos import spoil_samples
from videoqueue.jobs.results import encode
from videoqueue.pipeline.definitions.definition import load_definitions
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.pipeline.service import VideoFilePipelineService


@dataclass(frozen=True)
class Submission:
    """One file with its parameters, and what must become of it: exactly one of the last three is set."""

    name: str
    content: bytes
    parameters: Mapping[str, str] = field(default_factory=dict)
    #: The bytes of the `results` array.
    golden: bytes | None = None
    #: The code with which it is refused.
    refused: str | None = None
    #: What stands in the error message of the failed job.
    fails: str | None = None


def make_moving_video(path: Path, seed: int, frames: int) -> Path:
    """A small MP4 in which no frame is like another."""
    colours = np.random.default_rng(seed)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.time_base = Fraction(1, 10)
        for index in range(frames):
            blocks = colours.integers(0, 256, (6, 10, 3), np.uint8)
            picture = np.kron(blocks, np.ones((16, 16, 1), np.uint8))
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class Catalogue:
    """Made once for a run: good videos of different lengths and strides, and every kind of hostile file."""

    def __init__(self, folder: Path, pipelines: Path) -> None:
        self._folder = folder
        self._service = VideoFilePipelineService(
            load_definitions(pipelines), PluginRegistry(PluginOptions(), {"chaos": ChaosPlugin})
        )
        self.quick = self.make("quick", seed=1, frames=4)
        self.large = self.make("large", seed=9, frames=4)
        self.good = [
            self.make("slow", seed=2, frames=8),
            self.make("slow", seed=3, frames=14),
            self.make("slow", seed=4, frames=24),
            self.make("slow", seed=5, frames=30, frame_stride="3"),
            self.make("slow", seed=6, frames=20, max_frames="9"),
            self.make("quick", seed=7, frames=40),
        ]
        self.hostile = list(self._hostile())

    def make(self, pipeline: str, seed: int, frames: int, **options: str) -> Submission:
        """A good video of its own, with its golden results."""
        video = make_moving_video(self._folder / f"{seed}.mp4", seed, frames)
        stride, most = options.get("frame_stride", "1"), options.get("max_frames")
        # The tool that sleeps gives what the quick one gives.
        tool = "quick" if pipeline == "slow" else pipeline
        items = self._service.iter_file(video, tool, int(stride), None if most is None else int(most))
        return Submission(
            f"{pipeline}-{seed}",
            video.read_bytes(),
            {"pipeline_id": pipeline, **options},
            golden=b"[" + encode(list(items)) + b"]",
        )

    def _hostile(self) -> list[Submission]:
        good = self.quick.content
        spoiled = spoil_samples(make_moving_video(self._folder / "spoiled.mp4", 8, 6)).read_bytes()
        concat = b"ffconcat version 1.0\nfile other.mp4\n"
        return [
            Submission("truncated", good[: len(good) // 2], refused="truncated_mp4"),
            Submission("a script", concat, refused="not_mp4"),
            Submission("empty", b"", {"pipeline_id": "quick"}, refused="file_empty"),
            Submission("nowhere", good, {"pipeline_id": "nowhere"}, refused="unknown_pipeline"),
            Submission("no stride", good, {"frame_stride": "0"}, refused="invalid_parameter"),
            Submission("spoiled", spoiled, {"pipeline_id": "quick"}, fails="cannot be decoded"),
            Submission("refusing", good, {"pipeline_id": "refuse"}, fails=REFUSAL),
            Submission("eating", good, {"pipeline_id": "eat"}, fails="memory"),
        ]
