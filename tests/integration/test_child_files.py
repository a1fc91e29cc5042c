"""The files of a child, for real: its video, whose space is free once deleted, and what Landlock needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import padded
from tests.support.small_volume import on_small_volume
from tests.support.stack import ROOT
from tests.support.videos import make_video

MB = 1024**2
#: Runs a task, deletes its video, and prints how many bytes that freed and how many children live.
DELETION = """
import json, os, shutil, sys
from contextlib import closing
from pathlib import Path

import psutil

from tests.support.sandboxes import limits_with, walls
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.protocol import Task
from videoqueue.sandbox.sandbox import Sandbox

work, pipelines = Path(sys.argv[1]), sys.argv[3]

def free():
    volume = os.statvfs(work)
    return volume.f_bavail * volume.f_frsize

video = Path(shutil.copy(sys.argv[2], work / "v.mp4"))
task = Task(path=str(video), pipeline_id="measure", frame_stride=1, max_frames=None, start_after=None)
options = PipelineOptions(pipelines_dir=pipelines)
with closing(Sandbox(options, limits_with(), walls(), lambda: work)) as sandbox:
    list(sandbox.run(task, lambda: False))
    before = free()
    video.unlink()
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    print(json.dumps({"freed": free() - before, "children": len(living)}))
"""
#: Confines a process, as a child does, under a filter that refuses one system call with EPERM.
REFUSED_CALL = """
import sys

from videoqueue.sandbox import probe, seccomp
from videoqueue.sandbox.kernel import no_new_privileges

no_new_privileges()
load, if_equal, give = 0x20, 0x15, 0x06
refuse, allow = 0x00050001, 0x7FFF0000
number = int(sys.argv[2])
seccomp.install([(load, 0, 0, 0), (if_equal, 0, 1, number), (give, 0, 0, refuse), (give, 0, 0, allow)])
probe.main(sys.argv[1])
open("/etc/passwd").close()
"""
LANDLOCK_CALLS = [444, 445, 446]


def test_a_deleted_video_needs_no_space_while_the_child_that_read_it_lives(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    packages, pipelines = folders
    video, volume = tmp_path / "v.mp4", tmp_path / "volume"
    video.write_bytes(padded(make_video(tmp_path / "short.mp4", frames=1).read_bytes(), 8 * MB))
    volume.mkdir()
    command = [sys.executable, "-c", DELETION, str(volume), str(video), str(pipelines)]
    command, variables = on_small_volume(command, volume, 32 * MB, tmp_path)
    path = os.pathsep.join(filter(None, [variables.get("PYTHONPATH"), str(packages), str(ROOT)]))
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["children"] == 1
    assert found["freed"] >= 8 * MB


def confined(mode: str, call: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", REFUSED_CALL, mode, str(call)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("call", LANDLOCK_CALLS)
def test_a_system_that_refuses_a_call_of_landlock_has_no_landlock(call: int) -> None:
    done = confined("auto", call)
    assert done.returncode == 0, done.stderr  # the file could be read: nothing is closed
    walls = json.loads(done.stdout)
    assert walls["landlock"] == 0
    assert "the kernel has no Landlock" in walls["missing"][0]


@pytest.mark.parametrize("call", LANDLOCK_CALLS)
def test_a_worker_that_requires_landlock_does_not_start_where_a_call_of_it_is_refused(call: int) -> None:
    done = confined("required", call)
    assert done.returncode == 1
    assert done.stderr.startswith("VIDEOQUEUE_SANDBOX=required cannot be used: the kernel has no Landlock")
