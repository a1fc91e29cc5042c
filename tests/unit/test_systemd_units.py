"""The systemd units of the deploying page: they parse, start what the Procfile starts, and are confined."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.stack import procfile

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "deploying.md").read_text()
SECTION = PAGE.partition("## One machine, with systemd and nginx")[2].partition("\n## ")[0]

Unit = dict[str, dict[str, list[str]]]


def block_after(words: str) -> list[str]:
    """Returns the indented lines behind the paragraph with these words."""
    (rest,) = re.findall(rf"^{re.escape(words)}.*?\n\n((?:    .*\n|\n)+)", SECTION, re.M)
    return [line.removeprefix("    ") for line in rest.rstrip().split("\n")]


def parsed(lines: list[str]) -> Unit:
    """As systemd.syntax(7) says: sections in brackets, then assignments."""
    unit: Unit = {}
    for line in filter(None, lines):
        if found := re.fullmatch(r"\[(Unit|Service|Install)\]", line):
            section = unit[found[1]] = defaultdict(list)
            continue
        name, separator, value = line.partition("=")
        assert separator, line
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name), line
        assert value == value.strip(), line
        section[name].append(value)
    return unit


WEB = parsed(block_after("`/etc/systemd/system/videoqueue-web.service`:"))
CHANGES = parsed(["[Service]", *block_after("`/etc/systemd/system/videoqueue-worker.service` is the same")])
WORKER = {**WEB["Service"], **CHANGES["Service"]}
CONFINED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ReadWritePaths": "/var/lib/videoqueue",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0077",
}


@pytest.mark.parametrize("name", CONFINED)
def test_web_and_worker_are_confined(name: str) -> None:
    assert WEB["Service"][name] == WORKER[name] == [CONFINED[name]]


def test_the_worker_s_child_can_still_confine_itself() -> None:
    """The filter names the calls that `@system-service` lacks; the namespaces are those of a child."""
    (calls,) = WORKER["SystemCallFilter"]
    (namespaces,) = WORKER["RestrictNamespaces"]
    assert {
        "@system-service",
        "seccomp",
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
    } <= set(calls.split())
    assert not calls.startswith("~")
    assert set(namespaces.split()) == {"user", "net", "ipc"}
    assert "MemoryDenyWriteExecute" not in WORKER, "OpenVINO compiles models"


def test_an_option_is_given_once() -> None:
    assert [name for section in WEB.values() for name, values in section.items() if len(values) > 1] == []


@pytest.mark.parametrize("process", ["web", "worker"])
def test_a_unit_starts_what_the_procfile_starts(process: str) -> None:
    (command,) = (WEB["Service"] if process == "web" else WORKER)["ExecStart"]
    program, *arguments = shlex.split(command)
    assert Path(program).is_absolute()
    assert [Path(program).name, *arguments] == shlex.split(procfile()[process])[-len(arguments) - 1 :]
    assert "ExecStartPre" not in CHANGES["Service"]
    assert WEB["Service"]["KillMode"] == ["mixed"]


def test_the_units_may_write_where_their_settings_say() -> None:
    settings = dict(line.split("=", 1) for line in block_after("`/etc/videoqueue.env`"))
    assert settings["VIDEOQUEUE_DATA_DIR"] == WEB["Service"]["ReadWritePaths"][0]
    assert settings["VIDEOQUEUE_STORAGE_URL"].startswith(f"file://{settings['VIDEOQUEUE_DATA_DIR']}/")
    assert WEB["Service"]["StateDirectory"] == [Path(settings["VIDEOQUEUE_DATA_DIR"]).name]
