"""With VIDEOQUEUE_LOG_FORMAT=json, every line is an object with the request, job and step it belongs to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.support import misbehaving
from tests.support.stack import Service, eventually, submit, wait_for
from tests.support.videos import make_video
from tests.system.test_up import running
from videoqueue.sandbox.access import Access
from videoqueue.sandbox.probe import walls_of

MISSPELT = {"VIDEOQUEUE_LEASE_SECOND": "30"}
ALWAYS = {"time", "level", "process", "message"}


def lines_of(log: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(line.keys() >= ALWAYS for line in lines)
    return lines


def warnings_of_unknown_variables(lines: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [
        (line["process"], line["variable"], line["nearest_setting"]) for line in lines if "variable" in line
    ]


def test_web_and_worker_each_log_one_warning_for_a_misspelt_setting(tmp_path: Path, redis_url: str) -> None:
    settings = {"REDIS_URL": redis_url, "VIDEOQUEUE_LOG_FORMAT": "json", "WEB_CONCURRENCY": "2"}
    service = Service(tmp_path / "service", settings | MISSPELT)
    service.start()
    service.stop()
    for name in ("web", "worker"):
        assert warnings_of_unknown_variables(lines_of(service.log(name))) == [
            (name, "VIDEOQUEUE_LEASE_SECOND", "VIDEOQUEUE_LEASE_SECONDS")
        ]
    messages = [str(line["message"]) for line in lines_of(service.log("worker"))]
    (walls,) = (message for message in messages if "sandbox" in message)
    assert walls == f"The sandbox of the child: {walls_of(Access())}."
    assert "Landlock ABI" in walls


def test_web_worker_and_child_name_request_job_attempt_node_plugin_and_tool(
    tmp_path: Path, redis_url: str
) -> None:
    packages, pipelines = misbehaving.install(tmp_path)
    settings = {
        "REDIS_URL": redis_url,
        "PYTHONPATH": str(packages),
        "VIDEOQUEUE_PIPELINES_DIR": str(pipelines),
        "VIDEOQUEUE_LOG_FORMAT": "json",
        "GUNICORN_CMD_ARGS": "--access-logfile -",
    }
    service = Service(tmp_path / "service", settings)
    service.start()
    try:
        with make_video(tmp_path / "v.mp4").open("rb") as stream:
            answer = requests.post(
                f"{service.url}/video/submit",
                data=stream,
                params={"pipeline_id": "raise_error"},
                headers={"Content-Type": "video/mp4", "X-Request-Id": "my-request"},
                timeout=60,
            )
        job_id = answer.json()["job_id"]
        assert wait_for(service.url, job_id, "failed")["status"] == "failed"
        eventually(lambda: "Job failed." in service.log("worker"), "the worker logs the end")
    finally:
        service.stop()
    web, worker = lines_of(service.log("web")), lines_of(service.log("worker"))

    assert {line["process"] for line in web} == {"web"}
    of_request = [line for line in web if line.get("request_id") == "my-request"]
    assert [(line["logger"], line.get("job_id")) for line in of_request] == [
        ("videoqueue.audit", job_id),
        ("videoqueue.api.acceptance", job_id),
        ("gunicorn.access", None),
    ]
    loggers = {str(line["logger"]).split("(")[0] for line in worker}
    assert {"dramatiq.MainProcess", "dramatiq.WorkerProcess", "videoqueue.worker.run_job"} <= loggers

    (started,) = [line for line in worker if line["message"] == "Job started."]
    (failed,) = [line for line in worker if line["message"] == "Job failed."]
    for line in (started, failed):
        assert (line["process"], line["job_id"], line["attempt"]) == ("worker", job_id, 1)
    assert isinstance(failed["seconds"], float)
    assert "The worker's log contains the reason." in str(failed["reason"])

    child, *_ = [line for line in worker if line["message"] == "A plugin failed."]
    assert (child["process"], child["job_id"], child["attempt"]) == ("child", job_id, 1)
    assert (child["node"], child["plugin"], child["tool"]) == ("run", "misbehaving", "raise_error")
    assert str(child["exception"]).startswith("Traceback (most recent call last):\n")
    assert str(child["exception"]).endswith("\nValueError: a plugin's own mistake")
    assert child["pid"] != started["pid"]


def test_up_logs_one_warning_for_a_misspelt_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"VIDEOQUEUE_LOG_FORMAT": "json", **MISSPELT}.items():
        monkeypatch.setenv(name, value)
    with running(tmp_path / "data") as up:
        eventually(lambda: "Worker ready." in up.log.read_text(), "the worker is ready")
    assert warnings_of_unknown_variables(lines_of(up.log.read_text())) == [
        ("up", "VIDEOQUEUE_LEASE_SECOND", "VIDEOQUEUE_LEASE_SECONDS")
    ]


def test_up_writes_objects_that_name_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOQUEUE_LOG_FORMAT", "json")
    with running(tmp_path / "data") as up:
        job_id = submit(up.url, make_video(tmp_path / "v.mp4"))
        wait_for(up.url, job_id, "completed")
    lines = lines_of(up.log.read_text())
    assert {"up", "valkey", "web", "worker"} <= {line["process"] for line in lines}
    messages = {line["process"]: line["message"] for line in lines}
    assert messages["up"] == "stopping; Ctrl-C again stops at once"
