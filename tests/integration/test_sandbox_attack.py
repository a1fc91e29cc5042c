"""Hostile code in a real child, as root and as an ordinary user: every line of attack is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import ROOT
from tests.support.users import users

Attack = Callable[..., list[dict[str, Any]]]

#: What a kernel without Landlock leaves open: the files. Calls on processes and sockets stay refused.
FILES = {
    *("read_files_of_parent", "read_database", "write_database", "read_other_video", "read_home"),
    *("read_key_at_home", "create_file", "create_folder", "remove_file", "rename_file", "change_code"),
    "write_variable_of_kernel",
}
#: What Landlock alone refuses, where there is no list of system calls for the processor.
BY_LANDLOCK = {
    *("read_environ_of_parent", "read_files_of_parent", "read_root_of_parent", "read_memory_of_parent"),
    *("copy_memory_of_parent", "trace_victim", "run_program", "connect_queue", "connect_web", "listen"),
    *("read_database", "write_database", "truncate_database", "read_other_video", "read_home"),
    *("read_key_at_home", "create_file", "create_folder", "remove_file", "rename_file", "link_file"),
    *("link_folder", "make_pipe", "change_code", "truncate_code", "write_variable_of_kernel"),
}


@pytest.fixture
def attack() -> Iterator[Attack]:
    """Runs pipelines of the attacker in a worker's child; returns what the worker prints of each."""
    folders = []

    def run(user: int, *pipelines: str, **options: Any) -> list[dict[str, Any]]:
        folders.append(Path(tempfile.mkdtemp(prefix="vq-")))  # the folders of pytest are closed to others
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.support.attack", str(folders[-1]), str(user)),
                json.dumps({"pipelines": pipelines} | options),
            ],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    yield run
    for folder in folders:
        shutil.rmtree(folder)


def outcomes(answer: dict[str, Any]) -> dict[str, str]:
    (result,) = answer["results"]
    found: dict[str, str] = result["outcomes"]
    assert len(found) > 40
    return found


def lines(found: dict[str, str], outcome: str) -> set[str]:
    return {line for line, given in found.items() if given == outcome}


@pytest.mark.parametrize("user", users())
def test_every_line_of_attack_is_refused(attack: Attack, user: int) -> None:
    (answer,) = attack(user, "attack")
    found = outcomes(answer)
    assert lines(found, "refused") == set(found)
    assert answer["results"][0]["owned"]["user"] == user
    assert answer["results"][0]["calls"] == [], "calls that only the filter refuses"


@pytest.mark.parametrize("user", users())
def test_every_line_of_attack_succeeds_without_the_sandbox(attack: Attack, user: int) -> None:
    (answer,) = attack(user, "attack", mode="off")
    found = outcomes(answer)
    assert lines(found, "done") == set(found)
    assert {"io_uring_setup", "memfd_create", "keyctl", "shmget"} <= set(answer["results"][0]["calls"])


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("user", users())
def test_every_line_is_refused_under_each_version_of_landlock(attack: Attack, user: int, abi: int) -> None:
    (answer,) = attack(user, "attack", newest_abi=abi)
    found = outcomes(answer)
    assert lines(found, "refused") == set(found)


@pytest.mark.parametrize("user", users())
def test_without_landlock_only_files_are_open(attack: Attack, user: int) -> None:
    (answer,) = attack(user, "attack", mode="auto", newest_abi=0)
    found = outcomes(answer)
    assert lines(found, "done") == FILES
    assert lines(found, "refused") == set(found) - FILES


@pytest.mark.parametrize("user", users())
def test_on_other_processors_landlock_alone_closes_files_and_connections(attack: Attack, user: int) -> None:
    (answer,) = attack(user, "attack", mode="auto", processor="other")
    assert lines(outcomes(answer), "refused") >= BY_LANDLOCK


@pytest.mark.parametrize("part", [{"processor": "other"}, {"newest_abi": 0}], ids=["seccomp", "landlock"])
def test_a_child_without_a_required_part_reads_no_video(attack: Attack, part: dict[str, Any]) -> None:
    (answer,) = attack(os.geteuid(), "attack", mode="required", **part)
    assert answer["error"] == "The process that reads the video ended with exit code 1."


def test_a_plugin_has_its_scratch_folder_which_is_emptied_after_each_task(attack: Attack) -> None:
    first, second = attack(os.geteuid(), "attack", "attack")
    owned = first["results"][0]["owned"]
    assert second["results"][0]["owned"] == owned, "the same child"
    assert owned["home"] == owned["scratch"]
    assert first["rooms"] == second["rooms"] == []


def test_the_operator_opens_more_for_reading_but_not_the_data(attack: Attack) -> None:
    (answer,) = attack(os.geteuid(), "attack", readable=["home", "data"])
    found = outcomes(answer)
    assert lines(found, "done") == {"read_home", "read_key_at_home"}
    assert lines(found, "refused") == set(found) - lines(found, "done")


@pytest.mark.parametrize(
    ("tool", "reason"),
    [
        ("fork", "it tried to start a process, which the sandbox refuses."),
        ("signal_victim", "it tried to send a signal to a process, which the sandbox refuses."),
        (
            "read_database",
            "it tried to read a file or folder that is closed to it, which the sandbox refuses. "
            "VIDEOQUEUE_SANDBOX_READ names the files and folders that plugins may read besides their own.",
        ),
        (
            "create_file",
            "it tried to write or change a file outside its scratch folder, which the sandbox refuses. "
            "Plugins write temporary files into the folder of TMPDIR.",
        ),
        *(
            (
                tool,
                "it tried to open a network connection, which the sandbox refuses. Plugins may use the "
                "network if their manifest has network=True and the operator has set "
                "VIDEOQUEUE_PLUGIN_NETWORK=allowed.",
            )
            for tool in ("connect_queue", "resolve_name")
        ),
    ],
)
def test_the_error_of_the_job_names_the_plugin_and_what_was_refused(
    attack: Attack, tool: str, reason: str
) -> None:
    (answer,) = attack(os.geteuid(), tool)
    assert answer["error"] == (
        f"Frame 0: Step 'run' (tool '{tool}' of plugin 'attacker') failed: {reason} "
        "The worker's log contains the reason."
    )


@pytest.mark.parametrize("user", users())
def test_only_a_pipeline_with_the_network_opens_connections_and_gets_nothing_else(
    attack: Attack, user: int
) -> None:
    open_, closed = attack(user, "connect_queue", "fork", network_pipelines=["connect_queue"])
    assert open_["results"][0]["outcome"] == "done"
    assert "start a process" in closed["error"]
    (answer,) = attack(user, "attack", network_pipelines=["attack"])
    found = outcomes(answer)
    assert lines(found, "done") == {"connect_queue", "connect_web", "send_datagram"}
    assert lines(found, "refused") == set(found) - lines(found, "done")
