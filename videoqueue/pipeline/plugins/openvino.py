"""Compiled OpenVINO models that many threads may call.

OpenVINO must be imported through this module: it keeps OpenVINO from contacting its vendor.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

# Importing OpenVINO would start a thread and a forked process that report to Google Analytics, and write into
# the home folder. If its telemetry package cannot be imported, it uses a stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

Array = npt.NDArray[np.float32]
#: Height and width of a picture in pixels.
Size = tuple[int, int]
# A video has one frame size, rarely two.
_MAX_SIZES = 2


class CompiledModel:
    """A compiled model that any number of threads may call; each call keeps one processor thread busy.

    A call never distributes its work over threads: the order of the sums, and so the result, would depend on
    their number.

    Args:
        core: Compiles the model; see `new_core`.
        model: The model.
        threads: How many calls compute at once.
        properties: Further properties of OpenVINO.
    """

    def __init__(
        self,
        core: openvino.Core,
        model: openvino.Model,
        threads: int,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._compiled = core.compile_model(
            model,
            "CPU",
            {
                "NUM_STREAMS": threads,
                "INFERENCE_NUM_THREADS": threads,
                # With pinning, every process would bind its first thread to the same core.
                "ENABLE_CPU_PINNING": False,
                # By default, processors with bfloat16 use it, and return other results than the others.
                "INFERENCE_PRECISION_HINT": "f32",
                **(properties or {}),
            },
        )
        self._outputs = len(model.outputs)
        # A request holds the buffers of one inference. With a single request threads would wait for each
        # other, and requests per thread would accumulate, because every video has its own threads.
        self._idle: deque[Any] = deque()

    @contextmanager
    def run(self, tensor: npt.NDArray[Any]) -> Iterator[list[Array]]:
        """Runs the model on one input tensor.

        Returns:
            A context manager with the outputs. Their memory is reused after the `with` block.
        """
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.infer([tensor], share_inputs=True, share_outputs=True)
            yield [request.get_output_tensor(index).data for index in range(self._outputs)]
        finally:
            self._idle.append(request)


class ModelsBySize:
    """A model that is compiled for each picture size; the last used ones are kept.

    Any number of threads may call it. A model that is dropped lives until the calls that use it end.

    Args:
        compile_for: Compiles the model for a size.
    """

    def __init__(self, compile_for: Callable[[Size], CompiledModel]) -> None:
        self._compile_for = compile_for
        self._compiling = threading.Lock()
        self._models: OrderedDict[Size, CompiledModel] = OrderedDict()

    def get(self, size: Size) -> CompiledModel:
        """Returns the model for a size. Compiling it takes some tenths of a second."""
        with self._compiling:
            if size not in self._models:
                # Before the new one, so that their memory never adds up.
                while len(self._models) >= _MAX_SIZES:
                    self._models.popitem(last=False)
                self._models[size] = self._compile_for(size)
            self._models.move_to_end(size)
            return self._models[size]


def new_core() -> openvino.Core:
    """Returns an object that reads and compiles models. Call this from one thread only."""
    # The first tensor of a process initialises OpenVINO's binding to numpy. Two threads that both create the
    # first one deadlock: one holds the interpreter's lock, the other that of the binding.
    openvino.Tensor(np.zeros(1, np.float32), shared_memory=True)
    return openvino.Core()
