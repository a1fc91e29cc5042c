"""The default number of inference threads and the default memory of a child process.

The constants are measured with `yolo_ocr` on 1080p: the maximum that RLIMIT_DATA counted, rounded up. Larger
frames need more, smaller ones less; `docs/operations.md` has the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_MIB = 1024**2
#: One video cannot keep more threads busy, and each costs memory.
MAX_THREADS = 8
#: The memory of a child process on a machine with enough of it; bytes.
MAX_MEMORY = 2048 * _MIB
# Bytes for Python, libraries and models; for each of the first two threads; and for each further thread.
_MODELS, _FIRST_THREADS, _FURTHER_THREAD = 576 * _MIB, 224 * _MIB, 56 * _MIB
# OpenVINO keeps one copy of the weights and makes another in its own layout.
_COPIES_OF_A_MODEL = 2
# Bytes for the worker's main process, and for each worker process.
_MASTER, _WORKER = 32 * _MIB, 96 * _MIB


def needed_memory(threads: int, models: Iterable[str] = ()) -> int:
    """Returns the minimum memory of a child process that processes 1080p, in bytes.

    Args:
        threads: the number of inference threads, at least 1.
        models: the paths of models that replace built-in ones; empty ones are ignored.
    """
    own = _COPIES_OF_A_MODEL * sum(Path(model).stat().st_size for model in models if model)
    return _MODELS + _FIRST_THREADS * min(threads, 2) + _FURTHER_THREAD * max(0, threads - 2) + own


def default_memory(usable: int | None, processes: int, children: int) -> int:
    """Returns the memory of each child process, in bytes. All processes together fit into the usable memory.

    Args:
        usable: the memory of the machine or container, in bytes; None when it is unknown.
        processes: the number of worker processes.
        children: the number of child processes of all workers.
    """
    if usable is None:
        return MAX_MEMORY
    return max(_MIB, min(MAX_MEMORY, (usable - _MASTER - _WORKER * processes) // children))


def default_threads(cores: int, children: int, memory: int, models: Iterable[str] = ()) -> int:
    """Returns the number of inference threads of each child process: its share of the cores.

    It is lower when the memory does not suffice.

    Args:
        cores: the number of cores.
        children: the number of child processes of all workers.
        memory: the memory of one child process, in bytes.
        models: as in `needed_memory`.
    """
    threads = max(1, min(cores, MAX_THREADS) // children)
    while threads > 1 and needed_memory(threads, models) > memory:
        threads -= 1
    return threads
