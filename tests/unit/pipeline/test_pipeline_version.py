"""What changes the version of a pipeline, and what does not."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from videoqueue.pipeline.definitions.definition import load_definitions
from videoqueue.pipeline.version import pipelines
from videoqueue.pipeline.version.pipelines import LIBRARIES, PACKAGES

ROOT = Path(__file__).resolve().parents[3]

_PLUGIN = """
from pathlib import Path
from typing import Any
from videoqueue.pipeline.plugin import Manifest, Tool
from {package}.helper import number

class Counter:
    manifest = Manifest("counter", "1.0", {{
        "count": Tool({{"image": "image"}}, {{"count": "number"}}),
        "recount": Tool({{"image": "image"}}, {{"recount": "number"}}),
    }})

    def __init__(self, options):
        for change in options.values.get("counter.change", "").split():
            Path(change).write_text("replaced while the plugin is loaded")

    def run_tool(self, tool, inputs):
        return {{tool: number}}
"""
#: Prints the version of the pipeline `count`, and again as a process that has it loaded tells it.
_TELL = """
import json, sys
from pathlib import Path
from typing import Any
from videoqueue.pipeline.service import build_service
from videoqueue.pipeline_options import PipelineOptions
order = json.loads(sys.argv[1])
versions = []
def change(files):
    for file in map(Path, files):
        file.write_text(file.read_text() + "\\n")
service = build_service(PipelineOptions(**order["options"]))
change(order["after_start"])
next(service.iter_file(order["video"], "count", on_version=versions.append))
change(order["after_load"])
for pipeline_id in ("count", "the_same"):
    next(service.iter_file(order["video"], pipeline_id, on_version=versions.append))
print(*versions)
"""


class Workshop:
    """A folder with a pipeline, the package of its plugin, and a model."""

    def __init__(self, folder: Path, video: Path) -> None:
        self.folder = folder
        self.video = video
        self.environ: dict[str, str] = {}
        self.options: dict[str, Any] = {
            "pipelines_dir": str(folder / "pipelines"),
            "plugin_values": {"counter.model": str(folder / "model.xml"), "counter.kind": "plain"},
        }
        self.definition: dict[str, Any] = {
            "id": "count",
            "description": "Counts.",
            "nodes": [
                {"id": "count", "plugin": "counter", "tool": "count"},
                {"id": "recount", "plugin": "counter", "tool": "recount"},
            ],
            "edges": [],
            "entry_nodes": ["count", "recount"],
            "output_nodes": ["count", "recount"],
        }
        (folder / "pipelines").mkdir(parents=True)
        self.write("packages/counting/__init__.py", "")
        self.write("packages/counting/helper.py", "number = 1")
        self.write("packages/counting/plugin.py", _PLUGIN.format(package="counting"))
        self.distribution("counting", "1.0", "Requires-Dist: Arith_metic>=1; python_version > '3'\n")
        self.write(
            "packages/counting-1.0.dist-info/entry_points.txt",
            "[videoqueue.plugins]\ncounter = counting.plugin:Counter\n",
        )
        self.distribution("arith-metic", "1.0", "Requires-Dist: nowhere\nRequires-Dist: x; extra == 'y'\n")
        self.write("model.xml", "<net/>")
        self.write("model.bin", "weights")
        self.write_definition()

    def write(self, name: str, content: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def distribution(self, name: str, version: str, more: str = "") -> None:
        folder = f"packages/{name.replace('-', '_')}-1.0.dist-info"
        self.write(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}")

    def write_definition(self, indent: int | None = None) -> None:
        for name in ("count", "the_same"):
            self.write(f"pipelines/{name}.json", json.dumps(self.definition | {"id": name}, indent=indent))

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def copy_service(self) -> Path:
        """Has the package run from a copy in this folder; the large files, of other plugins, stay behind."""
        ignored = shutil.ignore_patterns("weights", "*.onnx", "sample.mp4", "__pycache__")
        return shutil.copytree(ROOT / "videoqueue", self.folder / "packages" / "videoqueue", ignore=ignored)

    def run(
        self, after_start: Sequence[Path] = (), after_load: Sequence[Path] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Runs the pipeline in a process, which adds a line to the files in between."""
        order = {
            "options": self.options,
            "video": str(self.video),
            "after_start": list(map(str, after_start)),
            "after_load": list(map(str, after_load)),
        }
        return subprocess.run(
            [sys.executable, "-c", _TELL, json.dumps(order)],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder / "packages")} | self.environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def version(self, after_start: Sequence[Path] = (), after_load: Sequence[Path] = ()) -> str:
        done = self.run(after_start, after_load)
        assert done.returncode == 0, done.stderr
        (version,) = set(done.stdout.split())
        return version


@pytest.fixture
def workshop(tmp_path: Path, make_video: Callable[..., Path]) -> Workshop:
    from tests.support.small_videos import flat

    return Workshop(tmp_path / "workshop", make_video([flat(32, 32, 10)]))


def _options(workshop: Workshop, **changes: object) -> None:
    workshop.options |= changes


def _value(workshop: Workshop, name: str, value: str) -> None:
    workshop.options["plugin_values"] |= {name: value}


def _define(workshop: Workshop, **changes: object) -> None:
    workshop.definition |= changes
    workshop.write_definition()


def _move_model(workshop: Workshop) -> None:
    shutil.copytree(workshop.folder, workshop.folder / "elsewhere", ignore=shutil.ignore_patterns("p*"))
    (workshop.folder / "elsewhere" / "model.xml").rename(workshop.folder / "elsewhere" / "net.xml")
    (workshop.folder / "elsewhere" / "model.bin").rename(workshop.folder / "elsewhere" / "net.bin")
    _value(workshop, "counter.model", str(workshop.folder / "elsewhere" / "net.xml"))


CHANGES: dict[str, Callable[[Workshop], object]] = {
    "the version in the plugin's manifest": lambda w: w.edit("packages/counting/plugin.py", '"1.0"', '"1.1"'),
    "another module of the plugin's package": lambda w: w.edit("packages/counting/helper.py", "1", "2"),
    "a file of data in the plugin's package": lambda w: w.write("packages/counting/labels.txt", "cat"),
    "the plugin's distribution": lambda w: w.distribution("counting", "1.1"),
    "a distribution that it requires": lambda w: w.distribution("arith-metic", "1.1"),
    "the model": lambda w: w.write("model.xml", "<net2/>"),
    "the weights beside the model": lambda w: w.write("model.bin", "other weights"),
    "an option's text": lambda w: _value(w, "counter.kind", "fancy"),
    "one more option": lambda w: _value(w, "counter.more", "1"),
    "the order of the outputs": lambda w: _define(w, output_nodes=["recount", "count"]),
    "an output less": lambda w: _define(
        w, nodes=w.definition["nodes"][:1], entry_nodes=["count"], output_nodes=["count"]
    ),
}
SAME: dict[str, Callable[[Workshop], object]] = {
    "nothing": lambda w: None,
    "the number of threads": lambda w: _options(w, inference_threads=3, decoder_threads=2),
    "the limits": lambda w: _options(w, max_pixels=10_000, max_frames=9, max_streams=3),
    "the limits of the check": lambda w: _options(w, check_limits={"samples": 1000, "steps": 10_000}),
    "the description": lambda w: _define(w, description="Counts well."),
    "the layout of the definition's file": lambda w: w.write_definition(indent=4),
    "the order in which nodes are listed": lambda w: _define(w, nodes=w.definition["nodes"][::-1]),
    "the place of the model": _move_model,
    "an option of another plugin": lambda w: _value(w, "yolo.family", "v8"),
    "a compiled module": lambda w: w.write("packages/counting/__pycache__/helper.pyc", "?"),
    "the seed of hashes": lambda w: w.environ.update(PYTHONHASHSEED="7"),
    "a distribution that nothing requires": lambda w: w.distribution("lonely", "1.0"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_version_changes_with(workshop: Workshop, change: Callable[[Workshop], object]) -> None:
    before = workshop.version()
    change(workshop)
    assert workshop.version() != before


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_the_version_stays_whatever_becomes_of(
    workshop: Workshop, change: Callable[[Workshop], object]
) -> None:
    before = workshop.version()
    change(workshop)
    assert workshop.version() == before


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("pipeline/decode/decoder.py", True),
        ("pipeline/decode/rotation.py", True),
        ("mp4/tracks.py", True),
        ("pipeline/plugins/openvino.py", True),
        ("pipeline/plugins/yolo/letterbox.py", False),
        ("pipeline/definitions/built_in/ocr_only.json", False),
        ("cli/process.py", False),
    ],
)
def test_the_version_covers_the_source_that_decides_results(
    workshop: Workshop, name: str, changes: bool
) -> None:
    service = workshop.copy_service()
    before = workshop.version()
    file = service / name
    file.write_text(file.read_text() + "\n")
    assert (workshop.version() != before) == changes


def test_the_version_changes_with_the_form_in_which_results_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So no older release continues chunks that it cannot read."""
    definition = load_definitions()["ocr_only"]
    before = pipelines.pipeline_version(definition, {}, {})
    monkeypatch.setattr(pipelines, "_STORED_FORM", "another")
    assert pipelines.pipeline_version(definition, {}, {}) != before


def test_the_version_covers_every_package_and_library_that_the_pipeline_imports() -> None:
    imported = {
        name
        for module in (ROOT / "videoqueue" / "pipeline").rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        for name in _imports(node)
    }
    ours = {name.split(".")[1] for name in imported if name.startswith("videoqueue.")}
    foreign = {name.split(".")[0] for name in imported} - sys.stdlib_module_names - {"videoqueue"}
    # Errors, limits and log lines determine no result; the options of plugins are part of the version.
    assert ours - {"errors", "logs", "pipeline_options"} <= set(PACKAGES)
    distributions = {"cv2": "opencv-python-headless"}
    assert {distributions.get(name, name) for name in foreign} == set(LIBRARIES)


def _imports(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str() as module, level=0):
            return [f"{module}.{alias.name}" for alias in node.names]
    return []


def test_the_version_is_that_of_what_was_loaded_not_of_what_has_replaced_it(workshop: Workshop) -> None:
    rotation = workshop.copy_service() / "pipeline" / "decode" / "rotation.py"
    helper = workshop.folder / "packages" / "counting" / "helper.py"
    before = workshop.version()
    assert workshop.version([rotation], [helper, workshop.folder / "model.bin"]) == before
    assert workshop.version() != before


def test_a_plugin_whose_files_change_while_it_is_loaded_is_refused_for_now(workshop: Workshop) -> None:
    model = workshop.folder / "model.xml"
    _value(workshop, "counter.change", str(model))
    done = workshop.run()
    assert (
        "TransientError: A file of plugin 'counter' was changed while the plugin was loaded." in done.stderr
    )
    assert done.stdout == ""
