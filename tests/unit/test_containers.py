"""Dockerfile, compose.yaml and .dockerignore: who runs, what is pinned, and what is left out."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stack import procfile
from videoqueue.settings.unknown import unknown_variables

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from container.build import Image
from container.dockerfile import command_of_health_check, read

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = read(ROOT / "Dockerfile")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("release", "web", "worker")
PINNED = re.compile(r"[a-z]+(/[a-z]+)?:[a-z]*-?\d[\w.]*(-\w+)?")


def instruction(name: str) -> str:
    return [one.text for one in INSTRUCTIONS if one.name == name][-1]


def runs() -> str:
    return "\n".join(one.text for one in INSTRUCTIONS if one.name == "RUN")


def test_every_image_is_pinned_and_named_without_its_registry() -> None:
    images = [instruction("FROM"), *(service["image"] for service in SERVICES.values())]
    assert [image for image in images if not PINNED.fullmatch(image)] == []


def test_the_image_runs_as_an_ordinary_user_with_an_init_that_reaps() -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", instruction("USER"))
    names = [one.name for one in INSTRUCTIONS]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in ("RUN", "COPY"))
    assert instruction("ENTRYPOINT") == '["tini", "--"]'
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_commands_and_health_checks_are_in_exec_form() -> None:
    assert instruction("CMD").startswith("[")
    check = next(one for one in INSTRUCTIONS if one.name == "HEALTHCHECK")
    assert "/healthz" in command_of_health_check(check)[-1]
    for name, service in SERVICES.items():
        assert isinstance(service.get("command", []), list), name
        assert service.get("healthcheck", {}).get("test", ["CMD"])[0] == "CMD", name


def test_packages_are_those_of_the_requirements_checked_by_hash() -> None:
    assert re.search(r"pip .*install .*--require-hashes .*-r requirements\.txt", runs())
    requirements = (ROOT / "requirements.txt").read_text()
    pins = re.findall(r"^[a-z0-9][^\n]*==[^\n]*\n    --hash=sha256:[0-9a-f]{64}", requirements, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[a-z0-9]", requirements, re.MULTILINE)) > 20


def test_the_plugins_for_gpu_and_npu_are_removed_in_the_step_that_installs_them() -> None:
    (step,) = (one.text for one in INSTRUCTIONS if one.name == "RUN" and "requirements.txt" in one.text)
    for plugin in ("intel_gpu_plugin", "intel_npu_plugin"):
        assert f"libopenvino_{plugin}.so" in step
    for kept in ("intel_cpu_plugin", "ir_frontend", "onnx_frontend"):
        assert f"libopenvino_{kept}" not in step


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {word for one in INSTRUCTIONS if one.name == "COPY" for word in one.words[:-1]}
    assert allowed == copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_services_are_those_of_the_procfile() -> None:
    assert set(SERVICES) == {*procfile(), "postgres", "valkey"}
    for name, line in procfile().items():
        words = line.replace("'", "").split()
        command = [word for word in SERVICES[name]["command"] if word != "-P"]
        assert command == words


def test_our_services_are_confined_drain_and_restart() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["stop_grace_period"] == "35s"  # longer than the 30 s within which both end
        assert "user" not in service  # the image's
        assert "privileged" not in service


def test_every_service_that_stays_has_a_health_check_or_the_image_has() -> None:
    for name in ("worker", "postgres", "valkey"):
        assert SERVICES[name]["healthcheck"]["test"], name
    assert SERVICES["release"]["healthcheck"] == {"disable": True}
    assert "healthcheck" not in SERVICES["web"]


def test_web_and_worker_start_after_the_migration_and_share_every_setting() -> None:
    for name in ("web", "worker"):
        assert SERVICES[name]["depends_on"]["release"] == {"condition": "service_completed_successfully"}
    settings = [SERVICES[name]["environment"] for name in OURS]
    assert settings[0] == settings[1] == settings[2]
    assert unknown_variables(settings[0]) == {}
    assert {"DATABASE_URL", "REDIS_URL", "VIDEOQUEUE_STORAGE_URL"} <= set(settings[0])


def test_no_password_is_written_down_and_no_port_is_open_to_others() -> None:
    text = (ROOT / "compose.yaml").read_text()
    assert re.findall(r"PASSWORD: (?!\$\{POSTGRES_PASSWORD:\?)", text) == []
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_volume_is_declared() -> None:
    used = {volume.split(":")[0] for one in SERVICES.values() for volume in one.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", sorted({one.name for one in INSTRUCTIONS}))
def test_the_script_knows_every_instruction(name: str) -> None:
    assert callable(getattr(Image, f"_{name.lower()}"))
