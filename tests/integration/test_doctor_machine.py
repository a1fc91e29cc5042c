"""What `videoqueue doctor` finds on the machine: sandbox, memory, folder, disk, pipelines and models."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.examined import finding, findings
from tests.support.stack import folder_of_another_user
from videoqueue.cli.doctor.models import BUILT_IN
from videoqueue.errors import SettingsError
from videoqueue.pipeline import plugins
from videoqueue.sandbox import probe
from videoqueue.sandbox.access import Access, Walls
from videoqueue.settings import load_settings, load_valid_settings

GIB = 1024**3


def test_the_sandbox_of_this_machine_is_what_the_worker_logs() -> None:
    assert finding("sandbox", {"VIDEOQUEUE_SANDBOX": "required"}).message == (f"{probe.walls_of(Access())}.")


@pytest.mark.parametrize(("mode", "status"), [("auto", "warning"), ("required", "failed")])
def test_a_part_of_the_sandbox_that_the_system_lacks(
    mode: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    walls = Walls(seccomp=True, missing=("the kernel has no Landlock",))
    monkeypatch.setattr(probe, "walls_of", lambda _: walls)
    found = finding("sandbox", {"VIDEOQUEUE_SANDBOX": mode})
    assert found.status == status
    assert "the kernel has no Landlock" in found.message


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        (GIB // 10, "failed", "no worker starts"),
        (2**50, "warning", "the kernel then ends one of them"),
        (int(1.5 * GIB), "ok", "A child process may use 1.5 GiB"),
    ],
)
def test_the_memory_of_a_child_process(given: int, status: str, says: str) -> None:
    environ = {"VIDEOQUEUE_SANDBOX_MEMORY_BYTES": str(given), "VIDEOQUEUE_INFERENCE_THREADS": "2"}
    found = finding("memory", environ)
    assert found.status == status
    assert says in found.message


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"VIDEOQUEUE_RESERVE_BYTES": str(2**60)}, "failed", "uploads get 507"),
        (
            {"VIDEOQUEUE_RESERVE_BYTES": "0", "VIDEOQUEUE_MAX_UPLOAD_BYTES": str(2**60)},
            "warning",
            "no such video fits",
        ),
        ({"VIDEOQUEUE_RESERVE_BYTES": "0", "VIDEOQUEUE_MAX_UPLOAD_BYTES": "1"}, "ok", "are free in"),
        (
            {
                "VIDEOQUEUE_RESERVE_BYTES": str(2**60),
                "VIDEOQUEUE_STORAGE_URL": "s3://bucket/x",
                "DATABASE_URL": "postgresql://h/d",
            },
            "failed",
            "jobs may wait",
        ),
    ],
)
def test_the_space_of_a_disk(changes: Mapping[str, str], status: str, says: str, tmp_path: Path) -> None:
    found = finding("disk", {"VIDEOQUEUE_DATA_DIR": str(tmp_path), **changes})
    assert found.status == status
    assert says in found.message


@pytest.mark.parametrize(
    ("free", "status", "says"),
    [
        (16_383, "failed", "uploads get 507"),
        (16_384, "warning", "after 0 videos, uploads get 507"),
        (17_383, "warning", "17383 of 1000000 files (inodes) can still be made"),
        (17_384, None, ""),
    ],
)
def test_the_files_that_a_disk_can_have(
    free: int, status: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reserve of 1 GiB includes 16384 of them."""
    volume = SimpleNamespace(f_blocks=1000, f_frsize=GIB, f_bavail=900, f_files=1_000_000, f_favail=free)
    monkeypatch.setattr(os, "statvfs", lambda _: volume)
    environ = {"VIDEOQUEUE_DATA_DIR": str(tmp_path), "VIDEOQUEUE_RESERVE_BYTES": str(GIB)}
    space, *files = findings("disk", environ)
    assert space.status == "ok"
    assert [one.status for one in files] == ([status] if status else [])
    assert all(says in one.message and "inodes" in one.remedy for one in files)


def test_a_disk_without_a_limit_of_files_has_no_finding_about_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = SimpleNamespace(f_blocks=1000, f_frsize=GIB, f_bavail=900, f_files=0, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _: volume)
    assert finding("disk", {"VIDEOQUEUE_DATA_DIR": str(tmp_path)}).status == "ok"


def test_a_data_folder_that_the_service_cannot_use(tmp_path: Path) -> None:
    def of(path: Path) -> Any:
        return finding("data folder", {"VIDEOQUEUE_DATA_DIR": str(path)})

    assert of(tmp_path / "new" / "data").status == "ok"
    assert of(tmp_path).status == "ok"
    other = of(folder_of_another_user(tmp_path / "other"))
    assert (other.status, "belongs to the user" in other.message) == ("failed", True)
    (tmp_path / "file").touch()
    assert of(tmp_path / "file" / "data").status == "failed"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "other") == ["file"]


def test_a_pipeline_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{")
    broken = finding("pipelines", {"VIDEOQUEUE_PIPELINES_DIR": str(tmp_path)})
    assert (broken.status, "mine.json" in broken.message) == ("failed", True)
    missing = finding("pipelines", {"VIDEOQUEUE_DEFAULT_PIPELINE": "mine"})
    assert missing.message.startswith("VIDEOQUEUE_DEFAULT_PIPELINE='mine' cannot be used")


def test_the_files_of_the_built_in_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "plugins"
    shutil.copytree(plugins.__path__[0], whole, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(plugins, "__path__", [str(whole)])
    assert finding("models", {}).status == "ok"
    (whole / "ocr/weights/charset.txt").unlink()
    with (whole / "yolo/weights/nanodet-g_int8.bin").open("r+b") as weights:
        weights.write(b"changed")
    found = findings("models", {})
    assert [one.status for one in found] == ["failed", "failed"]
    assert "ocr/weights/charset.txt is missing" in found[0].message
    assert "yolo/weights/nanodet-g_int8.bin is not the file of this release" in found[1].message


def test_every_file_of_a_model_is_checked() -> None:
    folder = Path(plugins.__path__[0])
    files = {str(path.relative_to(folder)) for path in folder.glob("*/weights/*.[xb]*")}
    assert files - set(BUILT_IN) == set()


def test_a_model_of_your_own_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"no model")
    found = finding("models", {"VIDEOQUEUE_YOLO_MODEL": str(tmp_path / "mine.onnx")})
    assert found.status == "failed"
    assert "mine.onnx" in found.message


def test_valid_settings_are_read_although_others_are_invalid_or_contradict_each_other() -> None:
    given = {"PORT": "x", "VIDEOQUEUE_WEB_THREADS": "3", "VIDEOQUEUE_LEASE_SECONDS": "2"}
    given |= {"VIDEOQUEUE_OWNER_HEADER": "X-User"}
    settings, invalid = load_valid_settings(given)
    assert sorted(invalid) == ["PORT", "VIDEOQUEUE_LEASE_SECONDS", "VIDEOQUEUE_OWNER_HEADER"]
    assert settings == load_settings({"VIDEOQUEUE_WEB_THREADS": "3"})
    for name, message in invalid.items():
        with pytest.raises(SettingsError) as caught:
            load_settings({name: given[name]})
        assert str(caught.value) == message
    assert os.environ.get("PORT") is None
