"""The code on the page of the Python client is run against a real service, in the order of the page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leaks import ADMIN_KEY
from tests.support.stack import ROOT, Service, environment
from tests.support.videos import make_video, spoil_samples
from videoqueue.client import Client, JobFailedError

PAGE = (ROOT / "docs" / "client.md").read_text()
RECIPES = dict(re.findall(r"^```python (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def service(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that requires a key."""
    folder = tmp_path_factory.mktemp("recipes")
    settings = {"REDIS_URL": f"{valkey_server[:-1]}4", "VIDEOQUEUE_ADMIN_KEY": ADMIN_KEY}
    service = Service(folder, settings | {"VIDEOQUEUE_DEFAULT_PIPELINE": "ocr_only"})
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, ADMIN_KEY) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of the recipes."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "videos").mkdir()
    make_video(folder / "match.mp4", "HELLO 42")
    shutil.copy(folder / "match.mp4", folder / "videos" / "a.mp4")
    spoil_samples(make_video(folder / "videos" / "b.mp4"))
    (folder / "videos" / "c.mp4").write_bytes(b"no video")
    return folder


def run(name: str, service: Service, folder: Path) -> list[str]:
    """Runs a recipe, and returns the lines that it prints."""
    code = RECIPES[name].replace("http://127.0.0.1:8000", service.url)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env=environment({"VIDEOQUEUE_URL": service.url, "VIDEOQUEUE_API_KEY": ADMIN_KEY}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_every_recipe_prints_what_it_promises(service: Service, client: Client, folder: Path) -> None:
    assert run("first", service, folder) == ["0.0 HELLO 42", "0.1 HELLO 42", "0.2 HELLO 42"]

    for _ in range(2):
        lines = run("folder", service, folder)
        assert lines[0] == "a.mp4: 3 frames"
        assert re.match(r"b\.mp4: failed with \w+: \w", lines[1])
        assert lines[2].startswith("c.mp4: refused with not_mp4: ")
        assert len(list(client.jobs())) == 3

    assert [line.split()[1:] for line in run("table", service, folder)] == [["text", "HELLO", "42"]] * 3
    assert run("segments", service, folder) == ["0.0 s to 0.3 s: HELLO 42"]

    (job_id,) = run("pipe", service, folder)
    client.wait(job_id)
    assert [frame["frame_index"] for frame in client.frames(job_id)] == [0]
    assert client.job(job_id)["name"] == "a.mp4"

    (retried,) = run("retry", service, folder)
    assert retried in run("retry", service, folder)
    with pytest.raises(JobFailedError) as failed:
        client.wait(retried.split()[-1])
    assert failed.value.error_code == client.job(failed.value.job_id)["error_code"] is not None
    assert set(RECIPES) == {"first", "folder", "table", "segments", "pipe", "retry"}


def test_the_results_are_the_same_in_each_way_to_read_them(client: Client, folder: Path) -> None:
    job_id = client.submit(folder / "match.mp4")
    assert client.wait(job_id)["progress"] == 1.0
    frames = client.results(job_id)["results"]
    assert list(client.frames(job_id, page_size=1)) == frames
    assert list(client.frames(job_id, start=0.1, page_size=1)) == frames[1:]
    assert list(client.frames(job_id, end=0.1)) == frames[:1]
    client.video(job_id, folder / "again.mp4")
    assert (folder / "again.mp4").read_bytes() == (folder / "match.mp4").read_bytes()
    assert "ocr_only" in [pipeline["pipeline_id"] for pipeline in client.pipelines()]
    client.delete(job_id)
    assert job_id not in [job["job_id"] for job in client.jobs()]


def test_the_recipes_pass_the_strict_type_check(tmp_path: Path) -> None:
    """As in the code of a user: the package is installed, and not part of what is checked."""
    for name, code in RECIPES.items():
        (tmp_path / f"{name}.py").write_text(code)
    done = subprocess.run(
        [Path(sys.executable).with_name("mypy"), "--strict", "--config-file=", "--cache-dir=/dev/null", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("Success"), done.stdout
