"""A folder as the root of a system: made by debootstrap, entered by chroot in namespaces of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: What pip and apt of this machine are set up with holds for the build too.
_PASSED_ON = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@dataclass
class Root:
    """The system in `folder`, and what the next command in it gets.

    Attributes:
        folder: the folder.
        binds: folders of this machine that commands see at the same place, such as packages for pip.
        environ: the variables that the Dockerfile sets.
        workdir: the working directory.
        user: user and group of the commands.
    """

    folder: Path
    binds: Sequence[Path] = ()
    environ: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"

    def bootstrap(self, suite: str) -> None:
        """Installs a minimal Debian, from the server that this machine gets its own packages from."""
        sites = _run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]).stdout
        site = next((line for line in sites.splitlines() if "security" not in line), "")
        if not site:
            raise SystemExit("check_container: apt has no source here; add one to /etc/apt/sources.list.d")
        subprocess.run(
            ["debootstrap", "--variant=minbase", suite, str(self.folder), site],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for package in self.folder.glob("var/cache/apt/archives/*.deb"):  # which the base image does not have
            package.unlink()

    def inside(self, path: str) -> Path:
        """Returns where a path of the system is on this machine."""
        return self.folder / str(Path(self.workdir, path)).lstrip("/")

    def command(
        self, words: Sequence[str], extra: Mapping[str, str] | None = None, *, new_pids: bool = False
    ) -> list[str]:
        """Returns the command line that runs the words in the system.

        Args:
            words: the command.
            extra: variables beside those of the Dockerfile.
            new_pids: whether the command is process 1 of its own namespace.
        """
        top = shlex.quote(str(self.folder))
        mounts = [
            f"mount -t proc proc {top}/proc",
            f"mount --rbind /sys {top}/sys",
            f"mount --rbind /dev {top}/dev",
        ]
        for bind in self.binds:
            place = f"{top}{shlex.quote(str(bind))}"
            mounts.append(f"mkdir -p {place} && mount --bind {shlex.quote(str(bind))} {place}")
        variables = [f"{name}={value}" for name, value in (self.environ | dict(extra or {})).items()]
        shell = ["sh", "-c", 'cd "$0" && exec "$@"', self.workdir, *words]
        system = ["chroot", f"--userspec={self.user}", str(self.folder), "env", "-i", *variables]
        entered = shlex.join([*system, *shell])
        namespaces = ["--mount", "--pid", "--fork", "--kill-child"] if new_pids else ["--mount"]
        return ["unshare", *namespaces, "sh", "-c", f"set -e; {'; '.join(mounts)}; exec {entered}"]

    def run(self, words: Sequence[str], extra: Mapping[str, str] | None = None) -> None:
        """Runs a step of the build.

        Raises:
            SystemExit: it fails. The output is printed.
        """
        done = subprocess.run(
            self.command(words, extra), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            raise SystemExit(f"{done.stdout[-5000:]}\ncheck_container: failed: {shlex.join(words)[:200]}")

    def lend_network(self) -> dict[str, str]:
        """Copies into the system what this machine needs to reach others.

        Returns:
            The variables that a step of the build gets.
        """
        shutil.copy("/etc/resolv.conf", self.folder / "etc" / "resolv.conf")
        given = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        if authorities := given.get("PIP_CERT"):
            # Not in place of the system's own file, which a package makes.
            shutil.copy(authorities, self.folder / "tmp" / "authorities.crt")
            given["PIP_CERT"] = "/tmp/authorities.crt"
        return given

    def size(self) -> int:
        """Returns the size of all files in bytes."""
        printed = _run(["du", "--summarize", "--one-file-system", "--block-size=1", str(self.folder)]).stdout
        return int(printed.split()[0])


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True)
