"""Does the instructions of the Dockerfile in a root folder."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from container.dockerfile import Instruction, command_of_health_check
from container.root import Root


class Image:
    """What the instructions have made."""

    def __init__(self, root: Root, context: Path) -> None:
        self.root = root
        self.entrypoint: list[str] = []
        self.command: list[str] = []
        self.health_check: list[str] = []
        self._context = context

    def build(self, instructions: Sequence[Instruction]) -> None:
        """Does every instruction. Prints each."""
        for instruction in instructions:
            print(f"check_container: {instruction.name} {instruction.text[:100]}", flush=True)
            getattr(self, f"_{instruction.name.lower()}")(instruction)

    def _from(self, instruction: Instruction) -> None:
        found = re.fullmatch(r"debian:(\w+)-slim(@sha256:[0-9a-f]{64})?", instruction.text)
        if not found:
            raise SystemExit("check_container: FROM is not debian:SUITE-slim")
        self.root.begin(found[1])

    def _env(self, instruction: Instruction) -> None:
        self.root.environ |= dict(word.split("=", 1) for word in instruction.words)

    def _run(self, instruction: Instruction) -> None:
        self.root.run(["sh", "-c", instruction.text], self.root.lend_network())

    def _workdir(self, instruction: Instruction) -> None:
        self.root.workdir = instruction.text
        self.root.inside(".").mkdir(parents=True, exist_ok=True)

    def _copy(self, instruction: Instruction) -> None:
        *sources, target = instruction.words
        for name in sources:
            source, place = self._context / name, self.root.inside(target)
            if source.is_dir():
                shutil.copytree(
                    source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
                )
            else:
                shutil.copy(source, place)
        # An engine's files belong to root and are readable by all, whatever they are here.
        for path in (self.root.inside(target), *self.root.inside(target).rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)

    def _user(self, instruction: Instruction) -> None:
        self.root.user = instruction.text

    def _entrypoint(self, instruction: Instruction) -> None:
        self.entrypoint = instruction.words

    def _cmd(self, instruction: Instruction) -> None:
        self.command = instruction.words

    def _healthcheck(self, instruction: Instruction) -> None:
        self.health_check = command_of_health_check(instruction)

    def _volume(self, _: Instruction) -> None:
        """Without an engine a volume is a folder, which RUN has made."""

    _expose = _stopsignal = _volume


def left_out(packages: Path) -> int:
    """Returns the bytes of the files of OpenVINO that its package lists and the image does not have."""
    (record,) = packages.glob("openvino-*.dist-info/RECORD")
    entries = (line.rsplit(",", 2) for line in record.read_text().splitlines())
    return sum(
        int(size) for name, _, size in entries if size and not (packages / shlex.split(name)[0]).exists()
    )
