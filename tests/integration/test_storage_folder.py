"""What only a storage in a folder has: files, their rights, a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import HOUR, KEY, Folder, folder, put, unchecked
from videoqueue.errors import (
    StorageFullError,
    StorageUnavailableError,
)

__all__ = ["folder"]


def test_a_killed_writer_leaves_a_file_that_nobody_sees_until_it_is_stale(folder: Folder) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from videoqueue.storage import open_storage\n"
        f"writer = open_storage('', Path(sys.argv[1])).open_writer({KEY!r}).__enter__()\n"
        "writer.write(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(folder.root)], check=False)
    assert killed.returncode == -9
    (left,) = folder.left()
    assert left.startswith("inputs/.part-")
    assert not folder.storage.exists(KEY)
    folder.age(left, 2 * HOUR)
    assert list(folder.storage.list_older_than(HOUR)) == []
    assert folder.storage.remove_stale(3 * HOUR) == 0
    assert folder.storage.remove_stale(HOUR) == 1
    assert folder.left() == []


def test_a_folder_that_is_gone_does_not_make_its_objects_look_deleted(folder: Folder, tmp_path: Path) -> None:
    put(folder.storage, KEY, b"x")
    folder.root.rename(tmp_path / "not mounted")
    for use in (
        folder.storage.exists,
        folder.storage.delete,
        lambda key: folder.storage.download(key, tmp_path / "copy", unchecked),
    ):
        with pytest.raises(StorageUnavailableError):
            use(KEY)


def test_files_are_for_their_owner_only(folder: Folder) -> None:
    put(folder.storage, KEY, b"x")
    modes = [oct(path.stat().st_mode & 0o777) for path in (folder.root, folder.root / KEY)]
    assert modes == ["0o700", "0o600"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fsync", "open"])
def test_a_full_disk_is_said_to_be_full_and_leaves_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, call: str, code: Any
) -> None:
    folder.storage.check()

    def full(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageFullError) as caught:
        put(folder.storage, KEY, b"x")
    monkeypatch.undo()
    assert str(folder.root) not in str(caught.value)
    assert folder.left() == []


def test_the_file_is_synced_before_the_rename_and_the_folder_after(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.storage.check()
    seen = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        seen.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        fsync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        seen.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    put(folder.storage, KEY, b"x")
    assert seen == ["folder", "file", "rename", "folder"]
