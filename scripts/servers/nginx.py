"""Users of nginx as owners of jobs: the example of docs/deploying.md, with the real nginx and service."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from corpus.service import free_port, started

from servers.page import adapted, block, settings
from servers.parts import Check, Options, program
from servers.recorder import Recorder, recorder
from tests.support.certificate import write_certificate

SAMPLE = Path(__file__).resolve().parents[2] / "videoqueue" / "cli" / "sample.mp4"
#: As `htpasswd -B` writes them; the password of each user is "password-of-NAME".
USERS = """\
anna:$2y$05$abcdefghijklmnopqrstuumqmuCTRbscLMH1R4ypURWH4oR/0ypsa
bert:$2y$05$abcdefghijklmnopqrstuutv5XFBbX39aEtFYLpT0YoLoyBGIaVIi
"""
_CERTIFICATE, _KEY, _USERS = "site.pem", "site.key", "videoqueue.htpasswd"
_START_SECONDS = 20


@dataclass
class Site:
    """Where nginx serves the service and, with the same configuration, the recorder."""

    url: str
    recorded_url: str
    certificate: Path
    service_url: str
    recorder: Recorder

    def ask(self, method: str, path: str, user: str = "", **options: Any) -> requests.Response:
        """Sends a request to nginx, as the user if one is given."""
        return self._send(method, self.url + path, user, **options)

    def record(self, user: str, headers: dict[str, str]) -> None:
        """Sends a request that nginx passes on to the recorder."""
        self._send("GET", self.recorded_url, user, headers=headers)

    def _send(self, method: str, url: str, user: str, **options: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # else it reads passwords in ~/.netrc
            session.auth = (user, f"password-of-{user}") if user else None
            return session.request(method, url, verify=str(self.certificate), timeout=60, **options)


def checks(_options: Options) -> Iterator[Check]:
    """Starts nginx and the service, and yields what was found.

    Raises:
        NotInstalled: there is no nginx.
    """
    nginx = program("nginx", "nginx")
    with tempfile.TemporaryDirectory(prefix="check-nginx-") as name, recorder() as recording:
        folder = Path(name)
        with (
            started(folder / "service", service_settings()) as url,
            _nginx(nginx, folder, url, recording) as site,
        ):
            yield from _passwords(site)
            yield from _owners(site)
            yield from _headers(site)
            yield from _past_the_proxy(site)


def service_settings() -> dict[str, str]:
    """Returns the settings of the page, with the database, queue and storage of `videoqueue up`."""
    given = settings(block("DATABASE_URL=postgresql://videoqueue:PASSWORD@127.0.0.1/videoqueue"))
    for own in ("DATABASE_URL", "REDIS_URL", "VIDEOQUEUE_STORAGE_URL", "VIDEOQUEUE_DATA_DIR", "PORT"):
        del given[own]
    return given


def configuration(folder: Path, port: int, target: int) -> str:
    """Returns the server block of the page, for a port, files in the folder, and the port of the service."""
    changes = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/videos.example.com.pem": str(folder / _CERTIFICATE),
        "/etc/ssl/private/videos.example.com.key": str(folder / _KEY),
        "/etc/nginx/videoqueue.htpasswd": str(folder / _USERS),
        "proxy_pass http://127.0.0.1:8000;": f"proxy_pass http://127.0.0.1:{target};",
    }
    return adapted(block("server {"), changes)


def _passwords(site: Site) -> Iterator[Check]:
    answer = site.ask("GET", "/jobs")
    found = answer.status_code, answer.headers.get("WWW-Authenticate")
    yield Check("a request without a password is 401", (401, 'Basic realm="videoqueue"'), found)
    wrong = site.ask("GET", "/jobs", headers={"Authorization": "Basic YW5uYTp3cm9uZw=="})
    yield Check("a request with a wrong password is 401", 401, wrong.status_code)
    bearer = site.ask("GET", "/jobs", headers={"Authorization": f"Bearer vq_{12 * 'a'}_{43 * 'a'}"})
    yield Check("a key of the service instead of a password is 401", 401, bearer.status_code)
    upload = site.ask(
        "POST", "/video/submit", data=SAMPLE.read_bytes(), headers={"Content-Type": "video/mp4"}
    )
    yield Check("an upload without a password is 401", 401, upload.status_code)


def _owners(site: Site) -> Iterator[Check]:
    jobs = {}
    for user in ("anna", "bert"):
        with SAMPLE.open("rb") as video:
            answer = site.ask("POST", "/video/submit", user, files={"file": video})
        yield Check(f"{user} submits a video", 202, answer.status_code)
        jobs[user] = str(answer.json().get("job_id"))
    for user, other in (("anna", "bert"), ("bert", "anna")):
        yield Check(f"{user} lists only their own job", [jobs[user]], _listed(site, user))
        yield Check(
            f"{user} reads their own job", 200, site.ask("GET", f"/jobs/{jobs[user]}", user).status_code
        )
        for method, path in (("GET", "/video/status/"), ("GET", "/video/results/"), ("DELETE", "/jobs/")):
            foreign, unknown = (
                _code(site.ask(method, path + job_id, user)) for job_id in (jobs[other], str(uuid.uuid4()))
            )
            yield Check(
                f"{method} {path} of a job of {other} is for {user} as if there was none", unknown, foreign
            )
        forged = _listed(site, user, {"X-Remote-User": other, "X_Remote_User": other})
        yield Check(f"{user} cannot name {other} as the owner", [jobs[user]], forged)
    deleted = site.ask("DELETE", f"/jobs/{jobs['anna']}", "anna")
    yield Check("anna deletes her own job", 204, deleted.status_code)
    yield Check("bert still has his job", [jobs["bert"]], _listed(site, "bert"))


def _listed(site: Site, user: str, headers: dict[str, str] | None = None) -> list[str]:
    answer = site.ask("GET", "/jobs", user, headers=headers)
    if answer.status_code != 200:
        return [f"status {answer.status_code}"]
    return [job["job_id"] for job in answer.json()["jobs"]]


def _code(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"] if answer.content else ""


def _headers(site: Site) -> Iterator[Check]:
    sent = {
        "X-Remote-User": "bert",
        "X_Remote_User": "bert",
        "X-Request-Id": "of-the-client",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-For": "192.0.2.1",
    }
    site.record("anna", sent)
    last = site.recorder.last
    yield Check("the password is not passed on", [], last("Authorization"))
    yield Check("the owner is the user of nginx", ["anna"], last("X-Remote-User"))
    yield Check("the client's spelling with underscores is not passed on", [], last("X_Remote_User"))
    yield Check("the scheme is that of the connection", ["https"], last("X-Forwarded-Proto"))
    yield Check("the address is added to the client's", ["192.0.2.1, 127.0.0.1"], last("X-Forwarded-For"))
    yield Check("the request id is nginx's", False, "of-the-client" in last("X-Request-Id"))


def _past_the_proxy(site: Site) -> Iterator[Check]:
    direct = requests.get(f"{site.service_url}/jobs", timeout=60)
    yield Check("a request that comes not from nginx has no owner and is 401", 401, direct.status_code)
    port = int(site.service_url.rpartition(":")[2])
    with socket.socket() as other:
        # Any address but 127.0.0.1 stands for the network.
        refused = other.connect_ex(("127.0.0.2", port)) != 0
    yield Check("the service listens on 127.0.0.1 only", True, refused)


@contextmanager
def _nginx(program: str, folder: Path, service_url: str, recording: Recorder) -> Iterator[Site]:
    certificate = folder / _CERTIFICATE
    write_certificate(certificate, folder / _KEY)
    (folder / _USERS).write_text(USERS)
    ports = free_port(), free_port()
    targets = int(service_url.rpartition(":")[2]), recording.server_port
    servers = [configuration(folder, port, target) for port, target in zip(ports, targets, strict=True)]
    file = folder / "nginx.conf"
    file.write_text(_whole(folder, servers))
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")])
    try:
        for port in ports:
            _await_listening(process, port, folder / "error.log")
        url, recorded_url = (f"https://127.0.0.1:{port}" for port in ports)
        yield Site(url, recorded_url, certificate, service_url, recording)
    finally:
        process.terminate()
        process.wait()


def _whole(folder: Path, servers: list[str]) -> str:
    """What Debian's /etc/nginx/nginx.conf has around the server blocks, with paths in the folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    user = f"user {pwd.getpwuid(os.getuid()).pw_name};\n" if os.getuid() == 0 else ""
    head = f"{user}daemon off;\npid {folder / 'nginx.pid'};\nevents {{}}\n"
    return f"{head}http {{\naccess_log off;\n{paths}\n" + "\n".join(servers) + "}\n"


def _await_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"check_servers: nginx did not start.\n{log.read_text()[-2000:]}")
