"""A volume of a few megabytes for a service: its own tmpfs or, where that cannot be mounted, a pretended one.

A mount needs namespaces: those of root, or of an ordinary user where the system allows them. Elsewhere
statvfs(3) is replaced in the processes of the service; uploads are then refused in the same way.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_AS_ROOT = ["unshare", "--mount"]
_AS_USER = ["unshare", "--map-root-user", "--mount"]
_PRETENDED = """
import os
from types import SimpleNamespace

def _statvfs(_folder, folder={folder!r}, size={size}):
    used = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                used += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    free = max(0, size - used)
    return SimpleNamespace(f_blocks=size, f_frsize=1, f_bavail=free, f_files=0, f_favail=0)

os.statvfs = _statvfs
"""


def on_small_volume(
    command: list[str], folder: Path, size: int, scratch: Path
) -> tuple[list[str], dict[str, str]]:
    """Returns a command that runs `command` with a volume of `size` bytes at `folder`, and its variables.

    Args:
        command: the command.
        folder: an empty folder.
        size: the size of the volume in bytes.
        scratch: a folder for a file that the command needs.
    """
    mount = f'mount -t tmpfs -o size={size},mode=700 tmpfs "$0"'
    for unshare in (_AS_ROOT, _AS_USER):
        if _succeeds([*unshare, "sh", "-c", mount, str(folder)]):
            return [*unshare, "sh", "-c", f'{mount} && exec "$@"', str(folder), *command], {}
    (scratch / "sitecustomize.py").write_text(_PRETENDED.format(folder=str(folder), size=size))
    return command, {
        "PYTHONPATH": os.pathsep.join([str(scratch), *filter(None, [os.environ.get("PYTHONPATH")])])
    }


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
