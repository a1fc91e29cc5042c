"""`videoqueue up` runs what the Procfile says."""

import shlex
import subprocess

import pytest

from tests.support.stack import procfile
from videoqueue import launch
from videoqueue.settings import load_settings
from videoqueue.supervisor.stack import web_command, worker_command


def arguments(name: str, environ: dict[str, str]) -> list[str]:
    """The Procfile's line as a shell would start it."""
    line = procfile()[name]
    shown = subprocess.run(
        ["bash", "-c", f"printf '%q ' {line}"], env=environ, capture_output=True, text=True, check=True
    )
    return shlex.split(shown.stdout)


@pytest.mark.parametrize(
    "environ", [{}, {"VIDEOQUEUE_WORKER_PROCESSES": "2", "VIDEOQUEUE_WORKER_THREADS": "3"}]
)
def test_web_and_worker_are_started_as_the_procfile_says(environ: dict[str, str]) -> None:
    settings = load_settings(environ)
    assert web_command() == launch.command(*arguments("web", environ))
    python, *start, program = arguments("worker", environ)[:4]
    assert (python, start) == ("python", ["-m", "videoqueue.launch"])
    assert worker_command(settings) == launch.command(program, *arguments("worker", environ)[4:])


def test_the_procfile_has_release_web_and_worker() -> None:
    assert list(procfile()) == ["release", "web", "worker"]
