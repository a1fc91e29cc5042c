"""The folders of one child: a scratch folder, and one for the videos of its tasks. The worker removes both.

A child may fill its scratch folder with anything that a file system allows, so nothing in it is trusted: no
link is followed, and no depth of folders stops the removal.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path


class Room:
    """Two empty folders below a new one in `parent`.

    Args:
        parent: an existing folder, in the file system of the videos: a video is linked, never copied.
        first: the video of the first task.

    Attributes:
        inputs: the paths that the child may read: the folder of its videos. Where the first video cannot be
            linked, also the path of that video. Landlock then keeps the file, also after its deletion, until
            the child ends. So such a child serves one task.
    """

    def __init__(self, parent: Path, first: str) -> None:
        """Makes the folders. OSError: they cannot be made; the disk may be full."""
        self._folder = Path(tempfile.mkdtemp(prefix="child-", dir=parent)).absolute()
        self._input = self._folder / "input"
        self.scratch = self._folder / "scratch"
        try:
            self._input.mkdir(mode=0o700)
            self.scratch.mkdir(mode=0o700)
        except OSError:
            self.remove()
            raise
        self.inputs: tuple[str, ...] = (str(self._input),)
        self._next: str | None
        try:
            self._next = self._linked(first)
        except OSError:
            self._next = first
            self.inputs = (first, *self.inputs)

    def admit(self, video: str) -> str:
        """Makes a video readable for the child. The first call is for the video of the first task.

        Returns:
            Its path for the child.

        Raises:
            OSError: the video can only be read by a new child: its file system has no hard links, or the
                folder is gone.
        """
        if self._next is not None:
            path, self._next = self._next, None
            return path
        return self._linked(video)

    def _linked(self, video: str) -> str:
        link = self._input / f"{uuid.uuid4().hex}.mp4"
        os.link(os.path.realpath(video), link)  # of a symbolic link, its target
        return str(link)

    def clear(self) -> None:
        """Empties both folders while the child lives.

        Raises:
            OSError, RecursionError: something in the scratch folder cannot be removed, or the child keeps its
                video; end the child, and call `remove`.
        """
        if len(self.inputs) > 1:
            raise OSError("The video could not be linked. The child would keep it after its deletion.")
        for folder in (self._input, self.scratch):
            with os.scandir(folder) as entries:
                for entry in list(entries):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        Path(entry.path).unlink()

    def remove(self) -> None:
        """Removes everything, after the child has ended."""
        remove_folder(self._folder)


def remove_folder(folder: Path) -> None:
    """Removes a folder that a hostile process has filled and that no process uses now; errors are ignored.

    Folders inside may be closed (mode 0), or nested so deep that no path reaches the innermost one: each is
    opened, its content is moved up, and it is removed.
    """
    left = [folder]
    while left:
        with suppress(OSError):
            entry = left.pop()
            if entry.is_symlink() or not entry.is_dir():
                entry.unlink()
                continue
            entry.chmod(0o700)
            if entry == folder:
                left += entry.iterdir()
            else:
                left += [_moved(inner, folder) for inner in entry.iterdir()]
                entry.rmdir()
    with suppress(OSError):
        folder.rmdir()


def _moved(path: Path, folder: Path) -> Path:
    if path.is_dir() and not path.is_symlink():
        path.chmod(0o700)  # a folder that is closed cannot be moved
    return path.rename(folder / uuid.uuid4().hex)
