from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from videoqueue.worker.workspace import Workspace


def test_a_process_has_a_folder_of_its_own_and_removes_it(tmp_path: Path) -> None:
    first, second = Workspace(tmp_path), Workspace(tmp_path)
    (first.folder() / "video.mp4").touch()
    assert first.folder() != second.folder()
    first.remove()
    assert list(tmp_path.glob("worker-*")) == [second.folder()]
    second.remove()


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from videoqueue.worker.workspace import Workspace\n"
        "workspace = Workspace(pathlib.Path(sys.argv[1]))\n"
        "(workspace.folder() / 'video.mp4').touch()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    assert len(list(tmp_path.glob("worker-*/video.mp4"))) == 1
    workspace = Workspace(tmp_path)
    folder = workspace.folder()
    assert list(tmp_path.glob("worker-*")) == [folder]
    workspace.remove()


def test_a_folder_that_something_removed_is_made_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    shutil.rmtree(workspace.folder().parent)
    assert workspace.folder().is_dir()
    assert workspace.folder() == workspace.folder()
    assert Workspace(tmp_path / "work").folder() != workspace.folder()
    assert workspace.folder().is_dir()


def test_a_folder_that_cannot_be_made_is_an_error_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    workspace = Workspace(tmp_path / "work")
    with pytest.raises(FileExistsError):
        workspace.folder()
    (tmp_path / "work").unlink()
    assert workspace.folder().is_dir()
