"""Files in the working directory that are called like a module: none of our programs runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path

import pytest

from tests.support.stack import (
    ROOT,
    Service,
    environment,
    eventually,
    family,
    free_port,
    submit,
    wait_for,
    wait_until_gone,
)
from tests.support.videos import make_video

#: Packages and start files that are looked for and need not be there.
OPTIONAL = [
    "brotli",
    "brotlicffi",
    "colorama",
    "dotenv",
    "eventlet",
    "gevent",
    "h2",
    "hiredis",
    "orjson",
    "psycopg_c",
    "psycopg2",
    "pysqlite2",
    "setproctitle",
    "simplejson",
    "sitecustomize",
    "usercustomize",
    "ujson",
    "uvloop",
    "watchdog",
    "zstandard",
    "gunicorn.conf",
]
PLANTED = """\
import os
os.close(os.open({ran!r} + "/" + {name!r}, os.O_CREAT | os.O_WRONLY))
"""


@dataclass(frozen=True)
class Field:
    """A working directory full of such files; each that is run leaves a trace."""

    folder: Path
    traces: Path

    def ran(self) -> list[str]:
        return sorted(trace.name for trace in self.traces.iterdir())


@pytest.fixture(scope="session")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every module but ours, and those that `python -m` itself loads before it runs anything."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.py").write_text("import sys; print(*sys.modules)")
    loaded = subprocess.run(
        [sys.executable, "-S", "-m", "probe"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.split()
    installed = {name for name in packages_distributions() if name.isidentifier()} - {"videoqueue"}
    return sorted((installed | sys.stdlib_module_names | set(OPTIONAL)) - set(loaded))


@pytest.fixture
def field(tmp_path: Path, names: list[str]) -> Field:
    folder, traces = tmp_path / "field", tmp_path / "traces"
    folder.mkdir()
    traces.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(PLANTED.format(ran=str(traces), name=name))
    return Field(folder, traces)


@pytest.fixture(scope="session")
def requirements_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commands of an environment in which all is installed but videoqueue itself."""
    folder = tmp_path_factory.mktemp("platform") / "venv"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "inherited.pth").write_text(sysconfig.get_path("purelib"))
    for name in ("flask", "gunicorn", "dramatiq"):
        (found,) = entry_points(group="console_scripts", name=name)
        command = folder / "bin" / name
        source = f"import sys\nfrom {found.module} import {found.attr}\nsys.exit({found.attr}())\n"
        command.write_text(f"#!{folder / 'bin' / 'python'}\n{source}")
        command.chmod(0o755)
    return folder / "bin"


@contextmanager
def running(service: Service) -> Iterator[Service]:
    try:
        service.release()
        service.start()
        yield service
    finally:
        service.stop()


def complete_a_job(url: str, folder: Path) -> None:
    job_id = submit(url, make_video(folder / "v.mp4", frames=4), pipeline_id="yolo_ocr")
    assert wait_for(url, job_id, "completed", "failed")["status"] == "completed"


def test_the_procfile_runs_nothing_of_the_working_directory(
    field: Field, tmp_path: Path, redis_url: str
) -> None:
    with running(Service(tmp_path / "data", {"REDIS_URL": redis_url}, cwd=field.folder)) as service:
        complete_a_job(service.url, tmp_path)
    assert field.ran() == []


def test_the_procfile_runs_where_only_requirements_are_installed_and_runs_the_app_folder_s_package_alone(
    field: Field, tmp_path: Path, redis_url: str, requirements_only: Path
) -> None:
    for name in ("videoqueue", "migrations"):
        shutil.copytree(ROOT / name, field.folder / name)
    settings = {"REDIS_URL": redis_url, "PATH": f"{requirements_only}{os.pathsep}{os.environ['PATH']}"}
    with running(Service(tmp_path / "data", settings, cwd=field.folder)) as service:
        complete_a_job(service.url, tmp_path)
        assert str(field.folder / "videoqueue") in " ".join(family(service.pid("worker"))[-1].cmdline())
        for arguments in (["--version"], ["jobs", "list"]):
            done = service.run(["python", "-m", "videoqueue", *arguments])
            assert (done.returncode, done.stderr) == (0, "")
    assert field.ran() == []


COMMAND = [str(Path(sys.executable).with_name("videoqueue"))]
#: As COMMAND; but for itself it has no PYTHONPATH, so that the programs it starts are the ones to judge.
WITH_RELATIVE_PATHS = [
    *(sys.executable, "-P", "-c"),
    "import os, runpy, sys; os.environ['PYTHONPATH'] = ':.:../field:'; "
    "sys.argv[0] = 'videoqueue'; runpy.run_module('videoqueue', run_name='__main__')",
]


@pytest.mark.parametrize("command", [COMMAND, WITH_RELATIVE_PATHS], ids=["plain", "with relative paths"])
def test_up_runs_nothing_of_the_working_directory(field: Field, tmp_path: Path, command: list[str]) -> None:
    port = free_port()
    log = tmp_path / "up.log"
    with log.open("wb") as stream:
        up = subprocess.Popen(
            [*command, "up", "--port", str(port), "--data-dir", "../data"],
            env=environment({}),
            cwd=field.folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        eventually(lambda: "videoqueue is ready at" in log.read_text(), "up is ready")
        complete_a_job(f"http://127.0.0.1:{port}", tmp_path)
    finally:
        below = family(up.pid)[1:]
        up.terminate()
        up.wait(40)
        wait_until_gone(below)
    assert field.ran() == []


@pytest.mark.parametrize(
    "program",
    [
        [sys.executable, "-m", "videoqueue", "process"],
        [sys.executable, "-m", "videoqueue.cli", "process"],
        [str(Path(sys.executable).with_name("videoqueue")), "process"],
    ],
    ids=["python -m videoqueue", "python -m videoqueue.cli", "videoqueue"],
)
def test_the_command_runs_nothing_of_the_working_directory(
    field: Field, tmp_path: Path, program: list[str]
) -> None:
    video = make_video(tmp_path / "v.mp4", frames=2)
    done = subprocess.run(
        [*program, str(video)], cwd=field.folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, field.ran()) == (0, []), done.stderr


@pytest.mark.parametrize(
    "script", [["check_corpus", "--help"], ["check_servers", "--help"], ["validate_governance", "--list"]]
)
def test_scripts_run_nothing_of_the_working_directory(field: Field, script: list[str]) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / script[0], *script[1:]],
        cwd=field.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, field.ran()) == (0, []), done.stderr
