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

_KEEP_NOTHING = """\
Binary::apt-get::APT::Keep-Downloaded-Packages "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };
"""


@dataclass
class Root:
    """A system in a folder, and what the next command in it gets.

    Attributes:
        place: the folder of the system and of the Debian that it begins with.
        binds: folders of this machine that commands see at the same place, such as packages for pip.
        environ: the variables that the Dockerfile sets.
        workdir: the working directory.
        user: user and group of the commands.
    """

    place: Path
    binds: Sequence[Path] = ()
    environ: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"

    @property
    def folder(self) -> Path:
        """The root folder of the system."""
        return self.place / "image"

    def begin(self, suite: str) -> None:
        """Makes the folder with a minimal Debian and nothing else, whatever an earlier run has left in it."""
        base = self.place / suite
        if not base.exists():
            bootstrap(base, suite)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        _run(["cp", "--archive", "--reflink=auto", str(base), str(self.folder)])

    def inside(self, path: str) -> Path:
        """Returns where a path of the system is on this machine."""
        return self.folder / str(Path(self.workdir, path)).lstrip("/")

    def command(
        self, words: Sequence[str], extra: Mapping[str, str] | None = None, *, is_service: bool = False
    ) -> list[str]:
        """Returns the command line that runs the words in the system.

        Args:
            words: the command.
            extra: variables beside those of the Dockerfile.
            is_service: whether the command is process 1 of its own namespace, can write only in /data and
                /tmp, and cannot gain any right, as in compose.yaml; otherwise it is a step of the build.
        """
        top = shlex.quote(str(self.folder))
        mounts = [
            f"mount -t proc proc {top}/proc",
            f"mount --rbind /sys {top}/sys",
            f"mount --rbind /dev {top}/dev",
        ]
        if is_service:
            mounts = [
                f"mount --bind {top} {top}",
                f"mount --bind {top}/data {top}/data",
                f"mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs {top}/tmp",
                f"mount -o remount,bind,ro {top}",
                *mounts,
            ]
        for bind in () if is_service else self.binds:
            place = f"{top}{shlex.quote(str(bind))}"
            mounts.append(f"mkdir -p {place} && mount --bind {shlex.quote(str(bind))} {place}")
        variables = [f"{name}={value}" for name, value in (self.environ | dict(extra or {})).items()]
        shell = ["sh", "-c", 'cd "$0" && exec "$@"', self.workdir, *words]
        confined = ("--no-new-privs", "--bounding-set=-all") if is_service else ()
        user, group = self.user.split(":")
        as_user = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *confined]
        entered = shlex.join(["chroot", str(self.folder), *as_user, "env", "-i", *variables, *shell])
        namespaces = ["--mount", "--pid", "--fork", "--kill-child"] if is_service else ["--mount"]
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


def bootstrap(folder: Path, suite: str) -> None:
    """Installs a minimal Debian, from the server that this machine gets its own Debian packages from.

    A run that was ended leaves nothing in the folder.
    """
    sites = _run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(SITE)", "Created-By: Packages"]
    )
    found = (line.removeprefix("Debian Debian ") for line in sites.stdout.splitlines())
    site = next((site for site in found if "://" in site and " " not in site), "")
    if not site:
        raise SystemExit(
            "check_container: apt has no source of Debian here; add one to /etc/apt/sources.list.d, and run "
            "apt-get update"
        )
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", suite, str(unfinished), site]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    # As in the image of an engine, packages are not kept after their installation.
    for kept in (unfinished / "var" / "cache" / "apt").rglob("*.*"):
        kept.unlink()
    (unfinished / "etc" / "apt" / "apt.conf.d" / "keep-nothing").write_text(_KEEP_NOTHING)
    unfinished.rename(folder)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True)
