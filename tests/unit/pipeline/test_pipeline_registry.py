from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from videoqueue.errors import PipelineError
from videoqueue.pipeline.plugin import Manifest, Plugin, PluginOptions, Tool
from videoqueue.pipeline.registry import PluginRegistry

PLUGIN_MODULE = """
from videoqueue.pipeline.plugin import Manifest

class Plugin:
    manifest = Manifest("shiny", "1", {})
    def __init__(self, options):
        self.threads = options.inference_threads
    def run_tool(self, tool, inputs):
        return {}
"""


class Brightness:
    manifest = Manifest("brightness", "1", {"mean": Tool({"image": "image"}, {"brightness": "number"})})

    def __init__(self, options: PluginOptions) -> None:
        self.options = options

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"brightness": float(inputs["image"].mean())}


def install(folder: Path, package: str, entry_point: str) -> None:
    (folder / f"{package}.py").write_text(PLUGIN_MODULE)
    information = folder / f"{package}-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[videoqueue.plugins]\n{entry_point} = {package}:Plugin\n")


def test_a_plugin_is_made_once_with_the_options() -> None:
    registry = PluginRegistry(PluginOptions(inference_threads=3), {"brightness": Brightness})

    plugin = registry.get("brightness")

    assert isinstance(plugin, Brightness)
    assert plugin.options.inference_threads == 3
    assert registry.get("brightness") is plugin


def test_an_installed_package_brings_its_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "shinypackage", "shiny")
    monkeypatch.syspath_prepend(tmp_path)

    plugin: Any = PluginRegistry(PluginOptions(inference_threads=2)).get("shiny")

    assert (plugin.manifest.name, plugin.threads) == ("shiny", 2)


@pytest.mark.parametrize("name", ["ocr", "shiny"])
def test_a_name_claimed_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    install(tmp_path, "shinypackage", name)
    install(tmp_path, "otherpackage", name)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(PipelineError, match=rf"plugins are called '{name}'"):
        PluginRegistry(PluginOptions()).get(name)


def test_an_unknown_plugin_lists_the_known_ones() -> None:
    with pytest.raises(PipelineError, match=r"no plugin 'x'\. Known plugins: brightness, .*ocr"):
        PluginRegistry(PluginOptions(), {"brightness": Brightness}).get("x")


def test_a_plugin_under_another_name_is_refused() -> None:
    with pytest.raises(PipelineError, match="installed as 'light' calls itself 'brightness'"):
        PluginRegistry(PluginOptions(), {"light": Brightness}).get("light")


def test_a_plugin_that_cannot_be_made_leaves_its_reason_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken(options: PluginOptions) -> Plugin:
        raise OSError("/secret/model.onnx is gone")

    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(PipelineError, match="'broken' cannot be loaded") as caught,
    ):
        PluginRegistry(PluginOptions(), {"broken": broken}).get("broken")

    assert ("/secret" in str(caught.value), "/secret/model.onnx" in caplog.text) == (False, True)
