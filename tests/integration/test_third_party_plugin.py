"""The plugin of docs/plugins.md, built and installed as its reader would, used from a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.videos import make_video

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "plugins.md").read_text()
BUILT_IN = "ok ocr_only: ocr.read\nok yolo_ocr: yolo.detect, ocr.read\nok yolo_only: yolo.detect\n"


@dataclass(frozen=True)
class Workplace:
    """A folder with the files of the page, and what is installed in it."""

    folder: Path

    @property
    def packages(self) -> Path:
        return self.folder / "packages"

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs `videoqueue` here, with the packages."""
        ours = {"PYTHONPATH": str(self.packages), "VIDEOQUEUE_INFERENCE_THREADS": "2"}
        return subprocess.run(
            [sys.executable, "-m", "videoqueue.cli", *command],
            cwd=self.folder,
            env={**os.environ, **ours, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def install(self, source: str) -> None:
        """What pip does with a folder, which not every environment has."""
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
        subprocess.run(
            [*build, str(self.folder)], cwd=self.folder / source, check=True, capture_output=True, timeout=120
        )
        (wheel,) = self.folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("third_party")
    for name, content in re.findall(
        r"^`([\w./]+)`:[^\n]*\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    workplace = Workplace(folder)
    workplace.install("plugin")
    make_video(folder / "clip.mp4", text="")
    return workplace


def shown(command: str) -> str:
    """What the page shows below a command."""
    (output,) = re.findall(rf"^\$ {re.escape(command)}\n((?:[^$`].*\n)*)", PAGE, re.MULTILINE)
    return str(output)


def test_the_page_has_three_files(workplace: Workplace) -> None:
    files = [str(file.relative_to(workplace.folder)) for file in workplace.folder.glob("p[il]*/*.*")]

    assert sorted(files) == [
        "pipelines/brightness.json",
        "plugin/pyproject.toml",
        "plugin/videoqueue_brightness.py",
    ]


def test_the_installed_plugin_is_valid(workplace: Workplace) -> None:
    done = workplace.run("validate", "plugins", "brightness")

    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        shown("videoqueue validate plugins brightness"),
        "",
    )


def test_the_pipeline_is_valid(workplace: Workplace) -> None:
    done = workplace.run("validate", "pipelines", "--pipelines-dir", "pipelines")

    expected = shown("videoqueue validate pipelines --pipelines-dir pipelines")
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")
    assert expected == BUILT_IN + "ok brightness: brightness.measure\n"


def test_a_video_is_processed_with_it(workplace: Workplace) -> None:
    done = workplace.run(
        *("process", "clip.mp4", "--pipeline-id", "brightness", "--max-frames", "1"),
        VIDEOQUEUE_PIPELINES_DIR="pipelines",
    )

    example = shown("videoqueue process clip.mp4 --pipeline-id brightness --max-frames 1")
    (item,) = json.loads(done.stdout)["results"]
    brightness = item["result"]["brightness"]
    assert (done.returncode, done.stderr) == (0, "")
    assert brightness == pytest.approx(255, abs=5)  # the encoder and the colour space take their share
    assert done.stdout == example.replace("128.0", str(brightness))


def test_without_the_package_the_pipeline_is_a_fault(workplace: Workplace) -> None:
    done = workplace.run("validate", "pipelines", "--pipelines-dir", "pipelines", PYTHONPATH="")

    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        BUILT_IN,
        "Pipeline file brightness.json, node 'measure': There is no plugin 'brightness'. "
        "Known plugins: ocr, yolo.\n",
    )


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            "from videoqueue.pipeline.plugin",
            "import nowhere\nfrom videoqueue.pipeline.plugin",
            "Plugin 'brightness' cannot be imported. The log contains the reason; reinstall it together with "
            "what it needs. [ModuleNotFoundError: No module named 'nowhere']",
        ),
        (
            '"""Load models here',
            'raise OSError("no model")\n        """Load models here',
            "Plugin 'brightness' cannot be loaded. The log contains the reason; reinstalling it may help. "
            "[OSError: no model]",
        ),
        (
            'name="brightness"',
            'name="light"',
            "Plugin 'brightness': it is installed as 'brightness' but calls itself 'light'. Rename one.",
        ),
        (
            'return {"brightness": ',
            'return {"light": ',
            "Plugin 'brightness', tool 'measure': frame 'text of 640x360': it returns 'light', its manifest "
            "declares 'brightness'. Make them equal.",
        ),
    ],
    ids=["not imported", "not made", "another name", "another output"],
)
def test_a_broken_plugin_is_one_line(
    workplace: Workplace, tmp_path: Path, old: str, new: str, fault: str
) -> None:
    packages = shutil.copytree(workplace.packages, tmp_path / "packages")
    module = packages / "videoqueue_brightness.py"
    module.write_text(module.read_text().replace(old, new))

    done = workplace.run("validate", "plugins", "brightness", PYTHONPATH=str(packages))

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{fault}\n")


def test_two_packages_that_bring_one_name_are_a_fault(workplace: Workplace, tmp_path: Path) -> None:
    packages = shutil.copytree(workplace.packages, tmp_path / "packages")
    (information,) = packages.glob("*.dist-info")
    other = shutil.copytree(information, packages / "other-1.0.dist-info")
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")

    done = workplace.run("validate", "plugins", "brightness", PYTHONPATH=str(packages))

    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "2 plugins are called 'brightness' (package other, package videoqueue-brightness). "
        "Uninstall all but one, or rename them.\n",
    )
