"""Starts a child process, with a pipe for its tasks, one for its messages and one for what it prints."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from videoqueue import failpoints, launch
from videoqueue.launch import child_environment
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.access import Cell
from videoqueue.sandbox.limits import SandboxLimits


@dataclass(frozen=True)
class Started:
    """A child process and the worker's ends of its pipes.

    Attributes:
        process: the process.
        requests: takes its tasks, and never blocks.
        replies: has its messages.
        output: the file descriptor of what it prints.
    """

    process: subprocess.Popen[bytes]
    requests: FileIO
    replies: FileIO
    output: int


def start_child(
    pipeline_options: PipelineOptions, limits: SandboxLimits, cell: Cell, scratch: Path
) -> Started:
    """Starts a child that leads its own session and ends with the thread that calls this.

    Args:
        pipeline_options: for its pipelines.
        limits: its limits.
        cell: what it may reach.
        scratch: its folder for temporary files.

    Returns:
        The child, and our ends of its pipes.

    Raises:
        OSError: the system has no process or no file descriptor left.
    """
    with ExitStack() as ends_of_child, ExitStack() as our_ends:
        request_read, request_write = _pipe(ends_of_child, our_ends)
        reply_read, reply_write = _pipe(our_ends, ends_of_child)
        output_read, output_write = _pipe(our_ends, ends_of_child)
        fds = (request_read, reply_write)
        options = _options(pipeline_options, limits, cell)
        arguments = (*map(str, (*fds, os.getpid())), json.dumps(options))
        process = subprocess.Popen(
            launch.command("videoqueue.sandbox.child", *arguments, readable=True),
            stdin=subprocess.DEVNULL,
            stdout=output_write,  # text that a plugin prints goes to the log
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            start_new_session=True,
            env=child_environment(os.environ) | {"TMPDIR": str(scratch)},
        )
        our_ends.pop_all()
    # A child that does not read, or fills the pipe itself, must not hold up the worker.
    os.set_blocking(request_write, False)
    return Started(
        process,
        os.fdopen(request_write, "wb", buffering=0),
        os.fdopen(reply_read, "rb", buffering=0),
        output_read,
    )


def _options(pipeline_options: PipelineOptions, limits: SandboxLimits, cell: Cell) -> dict[str, object]:
    return {
        "pipeline": asdict(pipeline_options),
        "limits": asdict(limits),
        "cell": asdict(cell),
        "failpoints": failpoints.armed(),
        "log_level": logging.getLogger().level,
    }


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """Opens a pipe, whose ends the stacks close."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write
