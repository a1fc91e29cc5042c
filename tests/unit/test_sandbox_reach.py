"""What the walls of a child are called, what it can read of a folder with code, and how its folders go."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import eventually
from videoqueue.pipeline.definitions.definition import load_definitions
from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.pipeline.version.contents import files_of_option
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.access import Access, Cell, Walls
from videoqueue.sandbox.landlock import LIST, READ
from videoqueue.sandbox.landlock import Access as Right
from videoqueue.sandbox.reach import rules
from videoqueue.sandbox.room import MAX_DEPTH, MAX_ENTRIES, Room, remove_folder
from videoqueue.settings import load_settings
from videoqueue.worker.factory import networked, sandbox_access


@pytest.mark.parametrize(
    ("walls", "text"),
    [
        (
            Walls(landlock=4, seccomp=True, namespaces=("user", "network", "ipc")),
            "Landlock ABI 4, seccomp, user, network and ipc namespaces",
        ),
        (Walls(landlock=7, seccomp=True, namespaces=("ipc",)), "Landlock ABI 7, seccomp, ipc namespaces"),
        (Walls(landlock=1), "Landlock ABI 1, no seccomp, no namespaces"),
        (
            Walls(seccomp=True, namespaces=("network", "ipc")),
            "no Landlock, seccomp, network and ipc namespaces",
        ),
    ],
)
def test_the_walls_are_one_line(walls: Walls, text: str) -> None:
    assert str(walls) == text


def found(folder: Path, readable: tuple[str, ...], hidden: tuple[str, ...]) -> dict[str, Right]:
    given = rules(Cell(mode="auto", readable=readable, hidden=hidden))
    return {
        str(rule.path.relative_to(folder)): rule.access for rule in given if rule.path.is_relative_to(folder)
    }


def test_a_folder_with_code_is_split_around_the_data(tmp_path: Path) -> None:
    for made in ("app/package", "app/var/objects", "app/deep/data", "app/deep/code"):
        (tmp_path / made).mkdir(parents=True)
    for made in ("app/main.py", "app/jobs.db", "app/jobs.db-wal"):
        (tmp_path / made).touch()
    (tmp_path / "app" / "link").symlink_to("var")
    hidden = tuple(str(tmp_path / "app" / name) for name in ("var", "deep/data", "jobs.db", "jobs.db-wal"))

    assert found(tmp_path, readable=(str(tmp_path / "app"),), hidden=hidden) == {
        "app": LIST,
        "app/package": READ,
        "app/main.py": READ,
        "app/deep": LIST,
        "app/deep/code": READ,
    }


def test_what_is_itself_part_of_the_data_is_not_readable(tmp_path: Path) -> None:
    (tmp_path / "var" / "models").mkdir(parents=True)
    hidden = (str(tmp_path / "var"),)
    assert found(tmp_path, readable=hidden, hidden=hidden) == {}
    assert found(tmp_path, readable=(str(tmp_path / "var" / "models"),), hidden=hidden) == {
        "var/models": READ
    }


def test_models_and_pipelines_of_the_operator_are_readable_and_the_data_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    for name in ("model.onnx", "model.onnx.data", "key"):
        (tmp_path / name).touch()
    settings = load_settings(
        {
            "VIDEOQUEUE_DATA_DIR": str(tmp_path / "var"),
            "DATABASE_URL": f"sqlite:///{tmp_path}/jobs.db",
            "VIDEOQUEUE_STORAGE_URL": f"file://{tmp_path}/videos",
            "VIDEOQUEUE_YOLO_MODEL": str(tmp_path / "model.onnx"),
            "VIDEOQUEUE_PIPELINES_DIR": str(tmp_path / "pipelines"),
            "VIDEOQUEUE_SANDBOX_READ": f"{tmp_path}/key:{tmp_path}/pipelines",
        }
    )
    cell = sandbox_access(settings).cell(settings.pipeline_options, "", (), network=False)
    own = [path.removeprefix(f"{tmp_path}/") for path in cell.readable]
    assert own == ["pipelines", "model.onnx", "model.onnx.data", "key", "pipelines"]
    assert [path.removeprefix(f"{tmp_path}/") for path in cell.hidden] == [
        "var",
        *("jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db-journal"),
        "videos",
    ]


class Networked:
    """A plugin whose manifest asks for the network."""

    manifest = Manifest("lookup", "1", {"ask": Tool({"image": "image"}, {"text": "text"})}, network=True)

    def __init__(self, options: PluginOptions) -> None:
        self.options = options

    def run_tool(self, tool: str, inputs: Mapping[str, Any]) -> Mapping[str, object]:
        raise NotImplementedError


def test_an_option_without_a_value_opens_nothing_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").touch()
    monkeypatch.chdir(tmp_path)
    options = PipelineOptions(plugin_values={"own.label": ""})
    assert Access().cell(options, "scratch", (), network=False).readable == ()
    assert files_of_option("") == {}
    assert files_of_option(".") == {"secret": Path("secret")}


@pytest.mark.parametrize(("setting", "names"), [("allowed", {"ask"}), ("off", set())])
def test_a_pipeline_gets_the_network_if_a_manifest_asks_and_the_operator_allows_it(
    tmp_path: Path, setting: str, names: set[str]
) -> None:
    node = {"id": "ask", "plugin": "lookup", "tool": "ask"}
    ends = {"edges": [], "entry_nodes": ["ask"], "output_nodes": ["ask"]}
    definition = {"id": "ask", "description": "Asks.", "nodes": [node]} | ends
    (tmp_path / "ask.json").write_text(json.dumps(definition))
    registry = PluginRegistry(PluginOptions(), {"lookup": Networked})
    settings = load_settings({"VIDEOQUEUE_PLUGIN_NETWORK": setting})
    assert networked(settings, load_definitions(tmp_path), registry) == names


def test_the_default_of_an_access_uses_what_the_system_has() -> None:
    cell = Access().cell(PipelineOptions(), "/scratch", ("/video",), network=False)
    assert (cell.mode, cell.readable, cell.newest_abi) == ("auto", (), None)


def test_a_folder_is_removed_however_a_process_has_filled_it(tmp_path: Path) -> None:
    """Closed folders, links that lead out of it, and folders nested deeper than a path can be long."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    made = Room(tmp_path, "")
    (made.scratch / "link").symlink_to(tmp_path / "kept")
    (made.scratch / "file").touch(mode=0)
    (made.scratch / "closed" / "inner").mkdir(parents=True)
    (made.scratch / "closed").chmod(0)
    here = os.open(made.scratch, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)

    made.remove()
    eventually(lambda: [path.name for path in tmp_path.iterdir()] == ["kept"], "the folder is removed")
    assert (tmp_path / "kept" / "file").exists()


def test_a_room_is_emptied_between_two_tasks(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.touch()
    made = Room(tmp_path, str(video))
    made.admit(str(video))
    link = Path(made.admit(str(video)))
    assert link.samefile(video)
    (made.scratch / "folder" / "inner").mkdir(parents=True)
    (made.scratch / "link").symlink_to(video)
    made.clear()
    assert [list(Path(folder).iterdir()) for folder in (made.scratch, link.parent)] == [[], []]
    assert video.exists()


def files(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / str(number)).touch()


def nested(folder: Path, depth: int) -> None:
    folder.joinpath(*["deep"] * depth).mkdir(parents=True)


def test_a_folder_with_as_many_entries_as_are_removed_at_once_is_emptied(tmp_path: Path) -> None:
    made = Room(tmp_path, "absent")
    made.inputs = made.inputs[-1:]
    files(made.scratch, MAX_ENTRIES - MAX_DEPTH + 1)
    nested(made.scratch, MAX_DEPTH - 1)
    made.clear()
    assert list(made.scratch.iterdir()) == []


def in_three_folders(folder: Path) -> None:
    for name in "abc":
        (folder / name).mkdir()
        files(folder / name, MAX_ENTRIES // 3)


@pytest.mark.parametrize(
    "fill",
    [
        lambda folder: files(folder, MAX_ENTRIES + 1),
        in_three_folders,
        lambda folder: nested(folder, MAX_DEPTH),
    ],
    ids=["files", "files in folders", "levels"],
)
def test_more_than_is_removed_at_once_costs_the_child(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    made = Room(tmp_path, "absent")
    made.inputs = made.inputs[-1:]
    fill(made.scratch)
    with pytest.raises(OSError, match="more than 1000 files, or 16 levels of folders"):
        made.clear()


def test_many_files_are_removed_by_a_thread_for_which_the_job_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removing = threading.Event()
    unlink = Path.unlink

    def held(path: Path) -> None:
        if threading.current_thread().name == "removal":
            removing.wait()
        unlink(path)

    monkeypatch.setattr(Path, "unlink", held)
    made = Room(tmp_path, "absent")
    files(made.scratch, 3 * MAX_ENTRIES)
    made.remove()
    assert len(list(made.scratch.iterdir())) >= 2 * MAX_ENTRIES
    removing.set()
    eventually(lambda: list(tmp_path.iterdir()) == [], "the folder is removed")


def test_a_child_reads_its_first_video_by_a_link_and_has_no_rule_for_the_file(tmp_path: Path) -> None:
    """The rule of a file would keep its content, after its deletion, until the child ends."""
    video = tmp_path / "v.mp4"
    video.touch()
    (tmp_path / "symbolic.mp4").symlink_to("v.mp4")
    for path in (video, tmp_path / "symbolic.mp4"):
        made = Room(tmp_path, str(path))
        link = Path(made.admit(str(path)))
        assert link.samefile(video)
        assert not link.is_symlink()
        assert made.inputs == (str(link.parent),)
        made.remove()
    assert video.stat().st_nlink == 1


def test_a_child_whose_first_video_cannot_be_linked_reads_it_in_place_and_ends_after_its_task(
    tmp_path: Path,
) -> None:
    video = Path("/proc/self/status")  # in another file system
    made = Room(tmp_path, str(video))
    assert made.admit(str(video)) == str(video)
    assert str(video) in made.inputs
    with pytest.raises(OSError, match="could not be linked"):
        made.clear()


def test_removing_a_folder_that_is_gone_does_nothing(tmp_path: Path) -> None:
    remove_folder(tmp_path / "gone")
