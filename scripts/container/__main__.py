"""Does the steps of the Dockerfile in a folder made by debootstrap, and runs the image's command there as
its user, on a root file system that cannot be written. Submits the sample with curl, sends SIGTERM while
the job runs, starts the image again, and compares the ETag of the results with that of this checkout.

Needs root, `apt install debootstrap curl`, and a few GB of disk space. With --compose, it builds the image
and runs compose.yaml with Docker, submits the sample in the same way, and removes everything.

Exit code 0 if all is well, 1 if something fails, 2 if it cannot be done here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from container.build import Image, left_out
from container.compose import composed, has_engine
from container.dockerfile import read
from container.root import Root
from container.service import etag_of, expected_etag, running, submit, wait_for

TOP = Path(__file__).resolve().parents[2]
SAMPLE = TOP / "videoqueue" / "cli" / "sample.mp4"
_NEEDED = ("debootstrap", "unshare", "chroot", "curl")


def main() -> int:
    """Builds, runs and compares. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="check_container", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--keep", type=Path, help="build in this folder, and keep it; its Debian is used again"
    )
    parser.add_argument("--bind", type=Path, action="append", default=[], help="a folder that pip needs")
    parser.add_argument("--compose", action="store_true", help="run compose.yaml with Docker instead")
    given = parser.parse_args()
    if given.compose:
        return _check_compose()
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        why = f"not installed: {', '.join(missing)}" if missing else "it needs root"
        print(f"check_container: cannot be done here: {why}", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vq-image-")))
        image = Image(Root(folder.absolute(), given.bind), TOP)
        image.build(read(TOP / "Dockerfile"))
        return _check(image)


def _check_compose() -> int:
    if not has_engine():
        print("check_container: cannot be done here: Docker with compose does not run", file=sys.stderr)
        return 2
    with composed(TOP) as (url, key):
        return _compare(etag_of(url, key, submit(url, key, SAMPLE)))


def _check(image: Image) -> int:
    size = image.root.size()
    (packages,) = image.root.folder.glob("srv/venv/lib/python3*/site-packages")
    print(f"check_container: {(size + left_out(packages)) / 1e6:.0f} MB with all of OpenVINO", flush=True)
    print(f"check_container: {size / 1e6:.0f} MB as built", flush=True)
    with running(image) as url:
        key = (image.root.folder / "data" / "api-key").read_text().strip()
        job = submit(url, key, SAMPLE)
        wait_for(url, key, job, "running")
    with running(image) as url:
        found = etag_of(url, key, job)
    return _compare(found)


def _compare(found: str) -> int:
    expected = expected_etag(SAMPLE)
    print(f"check_container: ETag {found}, {'as' if found == expected else 'NOT as'} in this checkout")
    return int(found != expected)


if __name__ == "__main__":
    sys.exit(main())
