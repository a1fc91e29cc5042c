from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from videoqueue.worker.workspace import Workspace


def test_a_process_has_a_folder_of_its_own_and_removes_it(tmp_path: Path) -> None:
    first, second = Workspace(tmp_path), Workspace(tmp_path)
    (first.path / "video.mp4").touch()
    assert first.path != second.path
    first.remove()
    assert not first.path.exists()
    assert second.path.exists()
    second.remove()


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from videoqueue.worker.workspace import Workspace\n"
        "workspace = Workspace(pathlib.Path(sys.argv[1]))\n"
        "(workspace.path / 'video.mp4').touch()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    assert len(list(tmp_path.glob("worker-*/video.mp4"))) == 1
    workspace = Workspace(tmp_path)
    assert list(tmp_path.glob("worker-*")) == [workspace.path]
    workspace.remove()
