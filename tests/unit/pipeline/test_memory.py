from __future__ import annotations

import errno

import av
import pytest

from videoqueue.errors import OutOfMemoryError, PermanentError
from videoqueue.pipeline.memory import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("Exception from src/inference/src/cpp/core.cpp:109: std::bad_alloc"),
        RuntimeError("can't start new thread"),
        RuntimeError("[CPU] FullyConnected node with name 'MatMul.10' can't alloc"),
        RuntimeError("[CPU] Convolution node with name 'Conv.17' std::future_error: Broken promise"),
        RuntimeError("Exception from src/inference/src/dev/plugin.cpp:54:\nResource temporarily unavailable"),
        ImportError("libtbb.so.12: failed to map segment from shared object"),
        ImportError("libavcodec.so: cannot allocate memory in static TLS block"),
        ValueError("Unable to allocate 6 MiB for an array with shape (1080, 1920, 3)"),
        av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory", "v.mp4"),
        OutOfMemoryError("Frame 3"),
        ValueError(
            "(-4:Insufficient memory) Failed to allocate 8294400 bytes in function 'OutOfMemoryError'"
        ),
    ],
    ids=str,
)
def test_a_failed_allocation_is_told(error: Exception) -> None:
    assert is_out_of_memory(error)
    wrapped = ValueError("the frame cannot be read")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped)


@pytest.mark.parametrize(
    "error",
    [
        None,
        ValueError("bad"),
        OSError(errno.ENOENT, "x"),
        RuntimeError("memory"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
        PermanentError("The plugin's own words: out of memory"),
    ],
    ids=repr,
)
def test_other_errors_are_none(error: Exception | None) -> None:
    assert not is_out_of_memory(error)


def test_causes_that_go_in_a_circle_come_to_an_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_out_of_memory(first)
