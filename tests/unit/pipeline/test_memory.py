from __future__ import annotations

import errno

import pytest

from videoqueue.pipeline.memory import is_shortage


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("Exception from src/inference/src/cpp/core.cpp:109: std::bad_alloc"),
        RuntimeError("can't start new thread"),
        ValueError(
            "(-4:Insufficient memory) Failed to allocate 8294400 bytes in function 'OutOfMemoryError'"
        ),
    ],
    ids=str,
)
def test_a_failed_allocation_is_told(error: Exception) -> None:
    assert is_shortage(error)
    wrapped = ValueError("the frame cannot be read")
    wrapped.__cause__ = error
    assert is_shortage(wrapped)


@pytest.mark.parametrize(
    "error", [None, ValueError("bad"), OSError(errno.ENOENT, "x"), RuntimeError("memory")]
)
def test_other_errors_are_none(error: Exception | None) -> None:
    assert not is_shortage(error)
