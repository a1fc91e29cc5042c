"""A whole job through a queue with TLS and a self-signed certificate: web announces, a worker fetches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.faulty_queue import Certificate
from tests.support.stack import Service, eventually, results, submit, wait_for
from tests.support.tcp_proxy import TcpProxy
from tests.support.videos import make_video

#: So long that a job which is done was announced by web, and its message fetched by the worker.
NO_SWEEP = {"VIDEOQUEUE_ANNOUNCE_SECONDS": "3600"}


@contextmanager
def service_with_tls(folder: Path, redis_url: str, query: str, **settings: str) -> Iterator[Service]:
    port = int(redis_url.rsplit(":", 1)[1].split("/")[0])
    with TcpProxy(("127.0.0.1", port), Certificate(folder).context) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}/5{query.format(folder=folder)}"
        service = Service(folder / "data", {"REDIS_URL": url} | NO_SWEEP | settings)
        service.start()
        try:
            yield service
        finally:
            service.stop()


@pytest.mark.parametrize(
    ("query", "setting"), [("", "no-verify"), ("?ssl_ca_certs={folder}/queue.pem", "verify")]
)
def test_a_job_completes(tmp_path: Path, redis_url: str, query: str, setting: str) -> None:
    with service_with_tls(tmp_path, redis_url, query, VIDEOQUEUE_REDIS_TLS=setting) as service:
        job_id = submit(service.url, make_video(tmp_path / "video.mp4"), pipeline_id="ocr_only")
        assert wait_for(service.url, job_id, "completed", "failed")["status"] == "completed"
        assert results(service.url, job_id)
        assert requests.get(f"{service.url}/readyz", timeout=10).json()["degraded"] == []
        assert "TLS" not in service.log("web") + service.log("worker")


def test_without_trust_web_and_worker_name_the_handshake_and_what_to_set(
    tmp_path: Path, redis_url: str
) -> None:
    with service_with_tls(tmp_path, redis_url, "") as service:
        submit(service.url, make_video(tmp_path / "video.mp4"))
        hint = "VIDEOQUEUE_REDIS_TLS=no-verify"
        eventually(lambda: hint in service.log("web"), "web names the setting")
        eventually(lambda: hint in service.log("worker"), "the worker names the setting")
        assert "Traceback" not in service.log("web") + service.log("worker")
        assert requests.get(f"{service.url}/readyz", timeout=10).json()["degraded"] == ["queue_unavailable"]
