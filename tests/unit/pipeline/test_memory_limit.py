"""What the pipeline makes of a limit of memory, in a process of its own with one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.damage import moving, zero
from tests.support.small_videos import MakeVideo

#: Limits this process to what it has and some MiB; `allocate(n)` takes n MiB.
LIMITED = """
import mmap, resource, sys, threading
import av, numpy
from videoqueue.errors import OutOfMemoryError
from videoqueue.pipeline.decode.limits import DecodeLimits
from videoqueue.pipeline.decode.decoder import open_video
from videoqueue.pipeline.frame_pool import FramePool
from videoqueue.pipeline.memory import MemoryMark, is_out_of_memory

MIB = 1 << 20

def read(file):
    with open_video(file) as video:
        return [frame.index for frame in video.frames()]

def allocate(count):
    return mmap.mmap(-1, count * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

def limit(room):
    with open("/proc/self/status") as status:
        data = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (data * 1024 + room * MIB,) * 2)

file = sys.argv[1]
"""


def run(code: str, file: Path | str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED + code, str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_process_knows_how_near_it_was_seen_to_its_limit() -> None:
    code = (
        "mark = MemoryMark()\n"
        "mark.look()\n"
        "print(mark.came_near(10**15))\n"
        "limit(200)\n"
        "mark = MemoryMark()\n"
        "mark.look()\n"
        "print(mark.came_near(190 * MIB), mark.came_near(210 * MIB))\n"
        "more = allocate(150)\n"
        "mark.look()\n"
        "more.close()\n"
        "mark.look()\n"
        "print(mark.came_near(40 * MIB), mark.came_near(60 * MIB))\n"
    )
    assert run(code) == "False\nFalse True\nFalse True\n"


def test_an_unknown_error_of_native_code_near_the_limit_is_a_shortage() -> None:
    code = (
        "limit(200)\n"
        "error = RuntimeError('could not create a primitive')\n"
        "print(is_out_of_memory(error))\n"
        "more = allocate(150)\n"
        "print(is_out_of_memory(error), is_out_of_memory(ValueError('a bug')))\n"
    )
    assert run(code) == "False\nTrue False\n"


def test_a_frame_that_may_be_lost_for_want_of_memory_is_not_left_out(make_video: MakeVideo) -> None:
    """FFmpeg may hide a failed allocation, and a frame is missing as if the video were damaged."""
    file = zero(make_video(moving(12)), [5])
    code = (
        "print(read(file) != [])\n"
        "limit(200)\n"
        "print(read(file) != [])\n"
        "more = allocate(190)\n"
        "try:\n"
        "    read(file)\n"
        "except OutOfMemoryError as error:\n"
        "    print(error)\n"
    )
    lines = run(code, file).splitlines()
    assert lines[:2] == ["True", "True"]
    assert lines[2].startswith("A frame cannot be decoded: it needs more memory")


def test_threads_without_room_end_the_video_and_leave_none_behind() -> None:
    """`Thread.start` waits for ever for a thread that cannot allocate its first objects."""
    code = (
        "pool = FramePool(iter(()), lambda index: True, print, 3)\n"
        "limit(12)\n"
        "try:\n"
        "    pool.__enter__()\n"
        "except MemoryError as error:\n"
        "    print(error, threading.active_count())\n"
    )
    assert run(code) == "16777216 bytes cannot be allocated 1\n"
