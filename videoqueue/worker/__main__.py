"""Starts the worker: `python -m videoqueue.launch videoqueue.worker`.

Dramatiq's command with the counts of processes and threads from the settings. Dramatiq's master process knows
no settings, so the format of its log is set here, before it starts.
"""

from __future__ import annotations

import videoqueue.search_path  # noqa: F401 - first: it removes the working directory from the search path

# isort: split
import os
import sys

from dramatiq.cli import main, make_argument_parser

from videoqueue import launch, log_setup
from videoqueue.errors import SettingsError
from videoqueue.settings import Settings, load_settings
from videoqueue.settings.unknown import log_unknown_variables

#: Milliseconds. Jobs are released within a second; without a limit, Dramatiq tries for ten minutes to
#: acknowledge their messages while the queue is down.
_SHUTDOWN_MILLISECONDS = 10_000
#: Milliseconds, the least that Dramatiq takes. Its master waits so long for its processes before it starts
#: forks (there are none). A longer wait hides their first lines, and never ends if one is killed in it.
_START_MILLISECONDS = 10


def dramatiq_arguments(settings: Settings) -> list[str]:
    """Returns the arguments of Dramatiq's command."""
    counts = ["--processes", str(settings.worker_processes), "--threads", str(settings.worker_threads)]
    # An empty --path: Dramatiq's default is the working directory.
    limits = ["--worker-shutdown-timeout", str(_SHUTDOWN_MILLISECONDS)]
    limits += ["--worker-fork-timeout", str(_START_MILLISECONDS)]
    return ["videoqueue.worker.entry", "--path", *counts, *limits]


def start() -> int:
    """Runs Dramatiq's master until it ends.

    Returns:
        The exit code.

    Raises:
        SystemExit: a setting cannot be used; the message is one line.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        raise SystemExit(f"videoqueue: {error}") from None
    log_setup.configure("worker", settings.log_level, settings.log_format)
    log_unknown_variables(os.environ)
    # On SIGHUP Dramatiq replaces its process by this command line.
    sys.argv = launch.command("videoqueue.worker")
    parser = make_argument_parser()  # type: ignore[no-untyped-call]
    code: int = main(parser.parse_args(dramatiq_arguments(settings)))  # type: ignore[no-untyped-call]
    return code


if __name__ == "__main__":
    sys.exit(start())
