"""How many inference threads and how much memory a child process gets, from what the machine has.

The numbers are measured: `yolo_ocr` on 1080p, the most that RLIMIT_DATA counted, rounded up. A larger frame
needs more, a smaller one less; `docs/operations.md` has the table.
"""

from __future__ import annotations

from pathlib import Path

_MIB = 1024**2
#: More threads cost memory, and one video cannot keep them busy.
MOST_THREADS = 8
#: A child's memory where the machine has plenty.
USUAL_MEMORY = 2048 * _MIB
# What Python, libraries and models need, each of the first two threads, and each further one.
_MODELS, _FIRST_THREADS, _FURTHER_THREAD = 576 * _MIB, 224 * _MIB, 56 * _MIB
# OpenVINO keeps a copy of the weights and packs another.
_COPIES_OF_A_MODEL = 2
# The worker's main process, and each process that it starts.
_MASTER, _WORKER = 32 * _MIB, 96 * _MIB


def needed_memory(threads: int, model: str = "") -> int:
    """Returns the least bytes for a child process that reads 1080p with so many threads.

    Args:
        threads: inference threads, at least 1.
        model: path of a YOLO model that takes the place of the built-in one; empty for none.
    """
    own = _COPIES_OF_A_MODEL * Path(model).stat().st_size if model else 0
    return _MODELS + _FIRST_THREADS * min(threads, 2) + _FURTHER_THREAD * max(0, threads - 2) + own


def default_memory(usable: int | None, processes: int, children: int) -> int:
    """Returns the bytes for each child process, so that the worker processes and their children fit.

    Args:
        usable: bytes of memory of the machine or container; None when not known.
        processes: worker processes, each of which needs memory too.
        children: child processes of all of them.
    """
    if usable is None:
        return USUAL_MEMORY
    return max(_MIB, min(USUAL_MEMORY, (usable - _MASTER - _WORKER * processes) // children))


def default_threads(cores: int, children: int, memory: int, model: str = "") -> int:
    """Returns the inference threads of each child process: its share of the cores, as its memory allows."""
    threads = max(1, min(cores, MOST_THREADS) // children)
    while threads > 1 and needed_memory(threads, model) > memory:
        threads -= 1
    return threads
