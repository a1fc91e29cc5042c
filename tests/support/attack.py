"""Plays a worker whose child is attacked: `python -m tests.support.attack FOLDER USER OPTIONS`.

It becomes the user, prepares what the plugin `attacker` is after, runs the pipelines that OPTIONS names, and
prints a JSON object for each: the reports of its frames, or its error.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tests.support.attacker import install
from tests.support.sandboxes import limits_with
from tests.support.users import become
from tests.support.videos import make_video
from videoqueue.errors import VideoqueueError
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox.access import Access
from videoqueue.sandbox.protocol import Seen, Task
from videoqueue.sandbox.sandbox import Sandbox

_PR_SET_PTRACER, _ANYBODY = 0x59616D61, ctypes.c_ulong(-1)
_PER_LINUX32 = 8
_SECRET = ctypes.create_string_buffer(b"secret of the worker")


def prepare(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Makes the targets of the attack; their servers and the victim end with the stack."""
    data, home = folder / "data", folder / "home"
    for made in (data, home):
        made.mkdir(exist_ok=True)
    for file in (
        data / "videoqueue.db",
        data / "other.mp4",
        home / "key",
        data / "removable",
        data / "movable",
    ):
        file.write_text("content")
    abstract = f"videoqueue-{os.getpid()}"
    queue, web, datagrams = _ports(folder / "socket", abstract, stack)
    return {
        "address": ctypes.addressof(_SECRET),
        "victim": _victim(stack),
        "queue": queue,
        "web": web,
        "datagrams": datagrams,
        "unix": str(folder / "socket"),
        "abstract": abstract,
        "database": str(data / "videoqueue.db"),
        "other_video": str(data / "other.mp4"),
        "home": str(home),
        "folder": str(data),
        "removable": str(data / "removable"),
        "movable": str(data / "movable"),
        "code": str(folder / "packages" / "attacked.py"),
    }


def _victim(stack: ExitStack) -> int:
    """Starts a process beside the worker. Returns its id."""
    # Where Yama restricts ptrace(2), both say that anybody may.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
    code = f"import ctypes, time; ctypes.CDLL(None).prctl({_PR_SET_PTRACER}, ctypes.c_ulong(-1), 0, 0, 0); "
    victim = subprocess.Popen(
        [sys.executable, "-c", code + "print(flush=True); time.sleep(600)"], stdout=subprocess.PIPE
    )
    stack.callback(victim.wait)
    stack.callback(victim.kill)
    assert victim.stdout is not None
    victim.stdout.readline()
    return victim.pid


def _ports(path: Path, abstract: str, stack: ExitStack) -> list[int]:
    """Listens at the path, at the abstract address and on three ports: two of TCP, one of UDP."""
    addresses: list[tuple[int, int, Any]] = [
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        (socket.AF_UNIX, socket.SOCK_STREAM, str(path)),
        (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{abstract}"),
    ]
    servers = []
    for family, kind, address in addresses:
        server = stack.enter_context(socket.socket(family, kind))
        server.bind(address)
        if kind == socket.SOCK_STREAM:
            server.listen()
        servers.append(server)
    return [server.getsockname()[1] for server in servers[:3]]


def main(folder: Path, user: int, options: dict[str, Any]) -> None:
    become(user, folder)
    if options.get("processor") == "other":
        # uname(2) then names another processor, for which there is no list of system calls.
        ctypes.CDLL(None).personality(_PER_LINUX32)
    packages, pipelines = install(folder, network=options.get("network", False))
    os.environ["PYTHONPATH"] = str(packages)
    os.environ["HOME"] = str(folder / "home")
    with ExitStack() as stack:
        targets = prepare(folder, stack)
        work = folder / "data" / "work"
        work.mkdir()
        video = make_video(work / "v.mp4", frames=1)
        access = Access(
            mode=options.get("mode", "required"),
            newest_abi=options.get("newest_abi"),
            readable=tuple(str(folder / name) for name in options.get("readable", ())),
            hidden=(str(folder / "data"),),
            network_pipelines=frozenset(options.get("network_pipelines", ())),
        )
        plugins = {"attacker.targets": json.dumps(targets)}
        sandbox = Sandbox(
            PipelineOptions(pipelines_dir=str(pipelines), plugin_values=plugins),
            limits_with(),
            access,
            lambda: work,
        )
        stack.enter_context(closing(sandbox))
        for pipeline in options["pipelines"]:
            answer = _run(sandbox, video, pipeline) | {"rooms": _files(work)}
            sys.stdout.write(json.dumps(answer) + "\n")


def _run(sandbox: Sandbox, video: Path, pipeline: str) -> dict[str, Any]:
    task = Task(path=str(video), pipeline_id=pipeline, frame_stride=1, max_frames=None, start_after=None)
    try:
        reports = list(sandbox.run(task, lambda: False))
    except VideoqueueError as error:
        return {"error": str(error)}
    return {"results": [report.item["result"] for report in reports if isinstance(report, Seen)]}


def _files(work: Path) -> list[str]:
    """The names of what is left in the folders of children, the two empty folders excepted."""
    return sorted(str(path.relative_to(work)) for path in work.glob("child-*/*/**/*"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
