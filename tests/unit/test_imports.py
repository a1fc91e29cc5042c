"""The direction of imports, and what importing a module may load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_HEAVY = ["flask", "sqlalchemy", "dramatiq", "redis", "boto3", "av", "cv2", "openvino", "numpy", "rapidocr"]


def test_imports_go_one_way() -> None:
    program = str(Path(sys.executable).with_name("lint-imports"))
    command = [program, "--config", "pyproject.toml", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("videoqueue.app", ["av", "openvino", "rapidocr", "cv2", "numpy", "boto3"]),
        ("videoqueue.pipeline.service", ["flask", "dramatiq", "sqlalchemy", "boto3", "redis", "openvino"]),
        ("videoqueue.pipeline.definitions.definition", ["av", "numpy", "openvino", "flask"]),
        ("videoqueue.sandbox.sandbox", ["flask", "dramatiq", "sqlalchemy", "boto3", "redis", "av"]),
        ("videoqueue.client", [*_HEAVY, "click", "tqdm", "marshmallow", "gunicorn"]),
        ("videoqueue.cli", ["flask", "dramatiq", "sqlalchemy", "boto3", "redis", "av", "requests", "tqdm"]),
    ],
)
def test_importing_a_module_stays_light(module: str, never: list[str]) -> None:
    code = f"import sys, {module}; print(*sorted(set({never}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_client_loads_nothing_else_of_this_package() -> None:
    code = "import sys, videoqueue.client; print(*(name for name in sys.modules if 'videoqueue' in name))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split()) - {"videoqueue"}
    assert [name for name in loaded if not name.startswith("videoqueue.client")] == []
    assert (ROOT / "videoqueue" / "__init__.py").read_text() == ""


def test_a_worker_loads_nothing_of_the_web_application(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "VIDEOQUEUE_DATA_DIR": str(tmp_path),
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    code = (
        "import sys, videoqueue.worker.entry; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} | "
        "{name for name in sys.modules if name.startswith('videoqueue.')}))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "videoqueue.worker.run_job" in loaded
    web = {"flask", "flask_sqlalchemy", "flask_migrate", "werkzeug", "gunicorn", "marshmallow", "apispec"}
    assert loaded & web == set()
    assert [name for name in loaded if name.startswith(("videoqueue.api", "videoqueue.app"))] == []
