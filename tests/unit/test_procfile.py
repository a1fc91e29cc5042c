"""`videoqueue up` runs what the Procfile says."""

import shlex
import subprocess

from dramatiq.cli import make_argument_parser

from tests.support.stack import procfile
from videoqueue import launch
from videoqueue.settings import load_settings
from videoqueue.supervisor.stack import web_command, worker_command
from videoqueue.worker.__main__ import dramatiq_arguments


def arguments(name: str, environ: dict[str, str]) -> list[str]:
    """The Procfile's line as a shell would start it."""
    line = procfile()[name]
    shown = subprocess.run(
        ["bash", "-c", f"printf '%q ' {line}"], env=environ, capture_output=True, text=True, check=True
    )
    return shlex.split(shown.stdout)


def test_web_and_worker_are_started_as_the_procfile_says() -> None:
    assert web_command() == launch.command(*arguments("web", {}))
    python, *start, program = arguments("worker", {})
    assert (python, start) == ("python", ["-m", "videoqueue.launch"])
    assert worker_command() == launch.command(program)


def test_dramatiq_starts_as_many_processes_and_threads_as_the_settings_say() -> None:
    settings = load_settings({"VIDEOQUEUE_WORKER_PROCESSES": "2", "VIDEOQUEUE_WORKER_THREADS": "3"})
    parsed = make_argument_parser().parse_args(  # type: ignore[no-untyped-call]
        dramatiq_arguments(settings)
    )
    assert (parsed.broker, parsed.processes, parsed.threads) == ("videoqueue.worker.entry", 2, 3)
    assert (parsed.path, parsed.worker_shutdown_timeout, parsed.worker_fork_timeout) == ([], 10_000, 10)


def test_the_procfile_has_release_web_and_worker() -> None:
    assert list(procfile()) == ["release", "web", "worker"]
