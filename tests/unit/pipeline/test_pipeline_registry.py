from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from videoqueue.errors import OutOfMemoryError, PipelineError
from videoqueue.pipeline.plugin import Manifest, Plugin, PluginOptions, Tool
from videoqueue.pipeline.registry import FaultyPluginError, PluginRegistry, reason

PLUGIN_MODULE = """
from videoqueue.pipeline.plugin import Manifest, Tool

class Plugin:
    manifest = Manifest("shiny", "1", {"shine": Tool({"image": "image"}, {"shine": "number"})})
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


def install(folder: Path, package: str, entry_point: str, module: str = PLUGIN_MODULE) -> None:
    (folder / f"{package}.py").write_text(module)
    information = folder / f"{package}-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[videoqueue.plugins]\n{entry_point} = {package}:Plugin\n")


def refusal(registry: PluginRegistry, name: str) -> str:
    with pytest.raises(PipelineError) as caught:
        registry.get(name)
    return str(caught.value)


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


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("ocr", "3 plugins are called 'ocr' (built in, package shiny_a, package shiny_b)"),
        ("shiny", "2 plugins are called 'shiny' (package shiny_a, package shiny_b)"),
    ],
)
def test_a_name_claimed_twice_is_refused_with_those_who_claim_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, claims: str
) -> None:
    install(tmp_path, "shiny_a", name)
    install(tmp_path, "shiny_b", name)
    monkeypatch.syspath_prepend(tmp_path)

    assert refusal(PluginRegistry(PluginOptions()), name) == (
        f"{claims}. Uninstall all but one, or rename them."
    )


def test_an_unknown_plugin_lists_the_known_ones() -> None:
    assert refusal(PluginRegistry(PluginOptions(), {"brightness": Brightness}), "x") == (
        "There is no plugin 'x'. Known plugins: brightness, ocr, yolo."
    )


def broken(options: PluginOptions) -> Plugin:
    raise OSError("/secret/model.onnx is gone")


def test_a_plugin_that_cannot_be_made_leaves_its_reason_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(PipelineError) as caught:
        PluginRegistry(PluginOptions(), {"broken": broken}).get("broken")

    assert str(caught.value) == (
        "Plugin 'broken' cannot be loaded. The log contains the reason; reinstalling it may help."
    )
    assert "OSError: /secret/model.onnx is gone" in caplog.text


def test_the_operator_is_told_the_reason_and_the_log_stays_empty(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PipelineError) as caught:
        PluginRegistry(PluginOptions(), {"broken": broken}).load("broken")

    assert reason(caught.value) == f"{caught.value} [OSError: /secret/model.onnx is gone]"
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("import nowhere", "[ModuleNotFoundError: No module named 'nowhere']"),
        ("def", "[SyntaxError: invalid syntax (shinypackage.py, line 1)]"),
        ("raise SystemExit(0)", "[SystemExit: 0]"),
        ("", "[AttributeError: module 'shinypackage' has no attribute 'Plugin']"),
    ],
)
def test_a_plugin_that_cannot_be_imported_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, told: str
) -> None:
    install(tmp_path, "shinypackage", "shiny", module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shinypackage", raising=False)

    with pytest.raises(PipelineError) as caught:
        PluginRegistry(PluginOptions()).manifest("shiny")

    assert reason(caught.value) == (
        "Plugin 'shiny' cannot be imported. The log contains the reason; "
        f"reinstall it together with what it needs. {told}"
    )


def test_a_plugin_says_itself_what_is_wrong_with_its_options() -> None:
    def choosy(options: PluginOptions) -> Plugin:
        raise PipelineError("Set choosy.model.")

    assert refusal(PluginRegistry(PluginOptions(), {"choosy": choosy}), "choosy") == "Set choosy.model."


GIVEN = {"image": "image"}
TOOL = Tool(GIVEN, {"x": "number"})
NAMES = "it takes 1 to 64 letters, digits, '_' and '-', not '_' or '-' first."
FAULTS: dict[str, tuple[Any, list[str]]] = {
    "none": (
        None,
        ["its manifest is None. Give it an attribute `manifest`, a videoqueue.pipeline.plugin.Manifest."],
    ),
    "another name": (
        Manifest("other", "1", {"t": TOOL}),
        ["it is installed as 'p' but calls itself 'other'. Rename one."],
    ),
    "no version": (Manifest("p", "", {"t": TOOL}), ["its version is ''. Give a text such as '1.0'."]),
    "a number as version": (
        Manifest("p", cast(Any, 1), {"t": TOOL}),
        ["its version is 1. Give a text such as '1.0'."],
    ),
    "a word as network": (
        Manifest("p", "1", {"t": TOOL}, network=cast(Any, "yes")),
        ["its network is 'yes'. Give True or False."],
    ),
    "no tools": (
        Manifest("p", "1", {}),
        ["its tools are {}. Give at least one: {name: Tool(inputs, outputs)}."],
    ),
    "a list of tools": (
        Manifest("p", "1", cast(Any, ["t"])),
        ["its tools are ['t']. Give at least one: {name: Tool(inputs, outputs)}."],
    ),
    "a tool no pipeline can name": (Manifest("p", "1", {"a b": TOOL}), [f"a tool is called 'a b': {NAMES}"]),
    "a tool that is a text": (
        Manifest("p", "1", {"t": cast(Any, "x")}),
        ["tool 't': it is 'x'. Give a videoqueue.pipeline.plugin.Tool."],
    ),
    "a tool without inputs": (
        Manifest("p", "1", {"t": Tool({}, {"x": "number"})}),
        ["tool 't': its inputs are {}. Give at least one: {name: type name}."],
    ),
    "a tool without outputs": (
        Manifest("p", "1", {"t": Tool(GIVEN, {})}),
        ["tool 't': its outputs are {}. Give at least one: {name: type name}."],
    ),
    "a type that is no text": (
        Manifest("p", "1", {"t": Tool(GIVEN, {"x": cast(Any, float)})}),
        ["tool 't': its outputs have 'x': <class 'float'>. Give two texts, name and type name."],
    ),
    "a frame of another type": (
        Manifest("p", "1", {"t": Tool({"image": "picture"}, {"x": "number"})}),
        ["tool 't': its input 'image' is the frame. Give it the type 'image', or another name."],
    ),
    "several": (
        Manifest("q", "", {"t": Tool(GIVEN, {})}),
        [
            "it is installed as 'p' but calls itself 'q'. Rename one.",
            "its version is ''. Give a text such as '1.0'.",
            "tool 't': its outputs are {}. Give at least one: {name: type name}.",
        ],
    ),
}


class Bare:
    """A plugin of which only the manifest matters."""

    def __init__(self, manifest: Any) -> None:
        self.manifest = manifest

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plugin_with_a_faulty_manifest_is_refused_with_every_fault(fault: str) -> None:
    manifest, faults = FAULTS[fault]

    with pytest.raises(FaultyPluginError) as caught:
        PluginRegistry(PluginOptions(), {"p": lambda options: Bare(manifest)}).get("p")

    assert list(caught.value.faults) == faults
    assert str(caught.value).startswith(f"Plugin 'p': {faults[0]}")


def test_a_plugin_that_no_pipeline_can_name_is_refused() -> None:
    manifest = Manifest("a b", "1", {"t": TOOL})

    assert refusal(PluginRegistry(PluginOptions(), {"a b": lambda options: Bare(manifest)}), "a b") == (
        f"Plugin 'a b': no pipeline can name it: {NAMES}"
    )


def test_a_refusal_says_where_the_other_faults_are_listed() -> None:
    registry = PluginRegistry(PluginOptions(), {"p": lambda options: Bare(FAULTS["several"][0])})

    assert refusal(registry, "p").endswith("(And 2 more; `videoqueue validate plugins` lists them.)")


def test_a_plugin_that_cannot_be_run_is_refused() -> None:
    idle: Any = type("Idle", (), {"manifest": Manifest("p", "1", {"t": TOOL})})

    assert refusal(PluginRegistry(PluginOptions(), {"p": lambda options: idle}), "p") == (
        "Plugin 'p': it has no method run_tool(tool, inputs). Add it."
    )


class Heavy(Bare):
    """Declares its manifest, and must not be made."""

    manifest = Manifest("heavy", "1", {"t": TOOL})

    def __init__(self, options: PluginOptions) -> None:
        raise AssertionError("made")


def test_a_declared_manifest_is_read_without_making_the_plugin() -> None:
    assert PluginRegistry(PluginOptions(), {"heavy": Heavy}).manifest("heavy") is Heavy.manifest


def test_a_declared_manifest_is_checked_as_well() -> None:
    with pytest.raises(FaultyPluginError, match="it is installed as 'light' but calls itself 'heavy'"):
        PluginRegistry(PluginOptions(), {"light": Heavy}).manifest("light")


def test_a_manifest_that_nobody_declares_is_the_made_plugins() -> None:
    registry = PluginRegistry(PluginOptions(), {"p": lambda options: Bare(Manifest("p", "1", {"t": TOOL}))})

    assert registry.manifest("p") is registry.get("p").manifest


def test_a_factory_that_declares_other_tools_than_its_plugin_has_is_refused() -> None:
    class Fickle(Bare):
        manifest = Manifest("p", "1", {"u": TOOL})

        def __init__(self, options: PluginOptions) -> None:
            super().__init__(Manifest("p", "1", {"t": TOOL}))

    assert refusal(PluginRegistry(PluginOptions(), {"p": Fickle}), "p") == (
        "Plugin 'p': its factory declares other tools than the plugin has. Declare the same."
    )


def test_a_version_may_be_known_only_when_the_plugin_is_made() -> None:
    class Trained(Bare):
        manifest = Manifest("p", "unknown", {"t": TOOL})

        def __init__(self, options: PluginOptions) -> None:
            super().__init__(Manifest("p", "model 7", {"t": TOOL}))

    assert PluginRegistry(PluginOptions(), {"p": Trained}).get("p").manifest.version == "model 7"


def test_a_plugin_that_could_not_be_made_for_want_of_memory_is_not_blamed() -> None:
    def create(options: PluginOptions) -> Brightness:
        try:
            raise RuntimeError("can't alloc")
        except RuntimeError as error:
            raise PipelineError("OpenVINO cannot run it. Export it again.") from error

    with pytest.raises(OutOfMemoryError, match="out of memory"):
        PluginRegistry(PluginOptions(), {"tight": create}).get("tight")
