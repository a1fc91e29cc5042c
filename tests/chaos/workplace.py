"""A virtual environment of the harness' own: this one's packages, this tree's code, and the test plugin."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
import venv
from importlib.metadata import entry_points
from pathlib import Path

from tests.chaos import plugin
from tests.chaos.plugin import ChaosPlugin
from tests.support.stack import ROOT

_COMMANDS = ("flask", "gunicorn", "dramatiq", "videoqueue")


class Workplace:
    """Where the Procfile's commands come from. A worker's child is shown no PYTHONPATH, so the plugin is
    installed as any other: with an entry point, where the interpreter looks."""

    def __init__(self, folder: Path, root: Path = ROOT, libraries: Path | None = None) -> None:
        """`root` is the tree of the code; `libraries` has its packages, by default those of this process."""
        self.folder = folder
        self.pipelines = folder / "pipelines"
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
        (packages,) = folder.glob("lib/python*/site-packages")
        self._plugin = packages / "chaos_plugin.py"
        inherited = (str(libraries or sysconfig.get_path("purelib")), str(root))
        (packages / "inherited.pth").write_text("\n".join(inherited))
        self._install_plugin(packages)
        for name in _COMMANDS:
            self._make_command(name)
        self.pipelines.mkdir()
        for tool in ChaosPlugin.manifest.tools:
            self._define_pipeline(tool)

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to run from here."""
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "VIDEOQUEUE_PIPELINES_DIR": str(self.pipelines),
        }

    def edit_plugin(self, old: str, new: str) -> None:
        """Replaces a text in the installed plugin, as its next release would."""
        source = self._plugin.read_text()
        assert old in source
        self._plugin.write_text(source.replace(old, new))

    def _install_plugin(self, packages: Path) -> None:
        shutil.copy(Path(plugin.__file__), self._plugin)
        information = packages / "chaos_plugin-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-plugin\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(
            "[videoqueue.plugins]\nchaos = chaos_plugin:ChaosPlugin\n"
        )

    def _make_command(self, name: str) -> None:
        (found,) = entry_points(group="console_scripts", name=name)
        command = self.folder / "bin" / name
        source = f"import sys\nfrom {found.module} import {found.attr}\nsys.exit({found.attr}())\n"
        command.write_text(f"#!{self.python}\n{source}")
        command.chmod(0o755)

    def _define_pipeline(self, tool: str) -> None:
        node = {"id": tool, "plugin": "chaos", "tool": tool}
        definition = {
            "id": tool,
            "description": f"The test plugin's tool {tool}.",
            "nodes": [node],
            "edges": [],
            "entry_nodes": [tool],
            "output_nodes": [tool],
        }
        (self.pipelines / f"{tool}.json").write_text(json.dumps(definition))
