from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.videos import make_video
from videoqueue.errors import VideoqueueError
from videoqueue.worker.workspace import Workspace, workspace_of_command


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


def test_the_command_process_removes_all_files_of_its_child_and_those_of_a_killed_command(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    packages, pipelines = folders
    work = tmp_path / f"videoqueue-{os.geteuid()}-work"
    left = work / "worker-killed" / "child-killed"
    left.mkdir(parents=True)
    (left / "video.mp4").touch()
    work.chmod(0o700)
    video = make_video(tmp_path / "v.mp4", frames=1)
    command = [sys.executable, "-m", "videoqueue.cli", "process", str(video), "--pipeline-id", "leave_files"]
    variables = {
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(packages),
        "VIDEOQUEUE_PIPELINES_DIR": str(pipelines),
        "VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"),
    }
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(work.glob("*")) == [work / ".lock"]


def test_a_command_uses_no_folder_that_others_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"videoqueue-{os.geteuid()}-work").mkdir(mode=0o755)
    with pytest.raises(VideoqueueError, match="not a private folder of this user"), workspace_of_command():
        pass
