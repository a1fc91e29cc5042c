"""The direction of imports, and what importing a module may load."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_imports_go_one_way() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--config", "pyproject.toml", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("videoqueue.app", ["av", "openvino", "rapidocr", "cv2", "numpy", "boto3"]),
        ("videoqueue.pipeline.service", ["flask", "dramatiq", "sqlalchemy", "boto3", "redis", "openvino"]),
        ("videoqueue.pipeline.definitions.definition", ["av", "numpy", "openvino", "flask"]),
        ("videoqueue.sandbox.sandbox", ["flask", "dramatiq", "sqlalchemy", "boto3", "redis", "av"]),
        ("videoqueue.cli", ["flask", "dramatiq", "sqlalchemy", "boto3", "redis", "av", "requests", "tqdm"]),
    ],
)
def test_importing_a_module_stays_light(module: str, never: list[str]) -> None:
    code = f"import sys, {module}; print(*sorted(set({never}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
