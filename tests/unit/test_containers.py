"""Dockerfile, compose.yaml and .dockerignore: who runs, what is pinned, and what is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.scripted_server import ScriptedServer, response
from tests.support.stack import free_port, procfile
from videoqueue.cli import cli
from videoqueue.settings.capacity import MAX_MEMORY, default_memory
from videoqueue.settings.unknown import unknown_variables

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from container.build import Image
from container.dockerfile import Instruction, command_of_health_check, read
from container.root import Root

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = read(ROOT / "Dockerfile")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("release", "web", "worker")
#: A suite of Debian, or a major release and the suite below it; then perhaps the digest of one image.
RELEASE = re.compile(r"(debian:[a-z]+-slim|[a-z]+(/[a-z]+)?:\d+-[a-z]+)(@sha256:[0-9a-f]{64})?")


def instruction(name: str) -> str:
    return [one.text for one in INSTRUCTIONS if one.name == name][-1]


def runs() -> str:
    return "\n".join(one.text for one in INSTRUCTIONS if one.name == "RUN")


def test_every_image_that_is_pulled_is_named_by_release_and_without_its_registry() -> None:
    pulled = [instruction("FROM"), *(SERVICES[name]["image"] for name in ("postgres", "valkey"))]
    assert [image for image in pulled if not RELEASE.fullmatch(image)] == []
    page = (ROOT / "docs" / "containers.md").read_text()
    assert [image for image in pulled if f"`{image}`" not in page] == []


def test_one_service_builds_the_image_of_this_release_and_no_other_one_can_pull_it() -> None:
    assert [name for name in SERVICES if "build" in SERVICES[name]] == ["release"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in OURS:
        assert SERVICES[name]["image"] == f"videoqueue:{version}"
        assert SERVICES[name]["pull_policy"] == "never"


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


def is_healthy(port: int) -> bool:
    """Runs the image's health check behind a proxy that does not respond."""
    check = next(one for one in INSTRUCTIONS if one.name == "HEALTHCHECK")
    command = [sys.executable if word == "python" else word for word in command_of_health_check(check)]
    environ = os.environ | {"PORT": str(port), "http_proxy": f"http://127.0.0.1:{free_port()}"}
    return subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0


def test_the_health_check_asks_the_web_process_itself_also_where_a_proxy_is_set() -> None:
    with ScriptedServer([response(200), response(503)]) as web:
        assert is_healthy(web.port)
        assert not is_healthy(web.port)
    assert [request.line for request in web.requests] == ["GET /healthz HTTP/1.1"] * 2
    assert not is_healthy(free_port())


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


def test_no_first_health_check_is_later_than_ten_seconds() -> None:
    for name, service in SERVICES.items():
        check = service.get("healthcheck", {})
        first = check.get("start_interval", check.get("interval", "0s"))
        assert int(re.fullmatch(r"(\d+)s", first)[1]) <= 10, name  # type: ignore[index]
    assert "--interval=10s" in instruction("HEALTHCHECK")


def test_web_and_worker_start_after_the_migration_and_share_every_setting() -> None:
    for name in ("web", "worker"):
        assert SERVICES[name]["depends_on"]["release"] == {"condition": "service_completed_successfully"}
    settings = [SERVICES[name]["environment"] for name in OURS]
    assert settings[0] == settings[1] == settings[2]
    assert unknown_variables(settings[0]) == {}
    assert {"DATABASE_URL", "REDIS_URL", "VIDEOQUEUE_STORAGE_URL"} <= set(settings[0])


def test_the_worker_has_the_memory_that_its_child_and_its_health_check_need() -> None:
    found = re.fullmatch(r"\$\{WORKER_MEMORY:-(\d+)m\}", SERVICES["worker"]["mem_limit"])
    assert found
    beside_the_health_check = (int(found[1]) - 256) * 1024**2
    assert default_memory(beside_the_health_check, 1, 1) == MAX_MEMORY
    assert SERVICES["web"]["mem_limit"]


def test_no_log_fills_the_disk() -> None:
    for name, service in SERVICES.items():
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name


def test_an_error_reply_of_the_queue_is_no_health() -> None:
    assert SERVICES["valkey"]["healthcheck"]["test"][1:] == ["valkey-cli", "-e", "ping"]


def test_every_variable_of_compose_is_on_the_page() -> None:
    names = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    page = (ROOT / "docs" / "containers.md").read_text()
    assert [name for name in sorted(names) if name not in page] == []


def test_the_commands_of_the_page_name_services_and_commands_that_exist() -> None:
    page = (ROOT / "docs" / "containers.md").read_text()
    called = re.findall(r"docker compose (?:exec|run)(?: --?\S+)* (\w+)(?: videoqueue (\w+))?", page)
    assert {service for service, _ in called} == {"postgres", "release", "web", "worker"}
    assert {command for _, command in called if command} <= set(cli.commands)


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


def test_the_script_builds_on_a_fresh_debian_each_time(tmp_path: Path) -> None:
    (tmp_path / "trixie" / "etc").mkdir(parents=True)
    (tmp_path / "trixie" / "etc" / "debian_version").write_text("13")
    (tmp_path / "image" / "data").mkdir(parents=True)
    image = Image(Root(tmp_path), ROOT)
    image.build([Instruction("FROM", f"debian:trixie-slim@sha256:{'0' * 64}")])
    files = [str(path.relative_to(tmp_path)) for path in sorted((tmp_path / "image").rglob("*"))]
    assert files == ["image/etc", "image/etc/debian_version"]
