"""S3 with rights on a prefix only, and S3 that refuses, is slow or breaks off, in front of SeaweedFS."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis
from botocore.exceptions import ClientError

from servers.buckets import BUCKET, PREFIX, Bucket, bucket, refusing
from servers.outage import Outage, outage_checks
from servers.parts import Check, Options, at_most, contains
from servers.queues import any_queue
from servers.service import QUICK, SLOW, Deployment, deployed
from tests.support.serving import padded
from tests.support.stack import eventually
from tests.support.tcp_proxy import TcpProxy

_LARGE = 60_000_000


def checks(options: Options) -> Iterator[Check]:
    """Starts SeaweedFS and the service, and yields what was found.

    Raises:
        NotInstalled: there is no SeaweedFS.
    """
    with tempfile.TemporaryDirectory(prefix="check-s3-") as name, ExitStack() as close:
        folder = Path(name)
        folder.chmod(0o755)
        stored = close.enter_context(bucket(folder / "s3"))
        port = int(stored.url.rpartition(":")[2])
        proxy = close.enter_context(TcpProxy(("127.0.0.1", port)))
        settings = stored.environ(f"http://127.0.0.1:{proxy.port}")
        settings["REDIS_URL"] = close.enter_context(any_queue(folder / "queue"))
        yield from _policy(stored)
        service = close.enter_context(deployed(folder / "service", options, settings))
        yield from _rights(service, stored)
        yield from outage_checks(service, options, _refusal(proxy, stored))
        worker = service.process.log("worker")
        yield contains("the worker's log names the cause", "SlowDown", worker)
        yield from outage_checks(service, options, _slow(proxy, stored))
        yield from _broken_off(service, proxy)
        yield from _started_without(service, proxy, settings["REDIS_URL"])
        yield Check("no unfinished upload is left", 0, stored.unfinished())
        yield Check("the log names no bug", [], service.bugs()[:3])


def _refusal(proxy: TcpProxy, stored: Bucket) -> Outage:
    @contextmanager
    def fault() -> Iterator[None]:
        with refusing() as address, proxy.redirected(address):
            yield

    when = "while S3 refuses with SlowDown"
    return Outage(when, fault, "storage_unavailable", frozenset({503}), lambda: _videos(stored))


def _slow(proxy: TcpProxy, stored: Bucket) -> Outage:
    """Each piece waits for longer than the service waits for the check of the storage."""

    def fault() -> Any:
        return proxy.delayed(5.0)

    when = "while S3 takes 5 s for each response"
    allowed = frozenset({202, 503})
    return Outage(when, fault, "storage_unavailable", allowed, lambda: _videos(stored))


def _videos(stored: Bucket) -> int:
    return sum(key.startswith(f"{PREFIX}/inputs/") for key in stored.keys())  # noqa: SIM118 - no dictionary


def _policy(stored: Bucket) -> Iterator[Check]:
    """The server enforces the documented policy: all that the service does, and nothing else."""
    user = stored.user()
    allowed: dict[str, Callable[[], Any]] = {
        "PutObject": lambda: user.put_object(Bucket=BUCKET, Key=f"{PREFIX}/a", Body=b"1"),
        "GetObject": lambda: user.get_object(Bucket=BUCKET, Key=f"{PREFIX}/a"),
        "ListObjectsV2": lambda: user.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/"),
        "ListMultipartUploads": lambda: user.list_multipart_uploads(Bucket=BUCKET, Prefix=f"{PREFIX}/"),
        "CreateMultipartUpload and AbortMultipartUpload": lambda: user.abort_multipart_upload(
            Bucket=BUCKET,
            Key=f"{PREFIX}/b",
            UploadId=user.create_multipart_upload(Bucket=BUCKET, Key=f"{PREFIX}/b")["UploadId"],
        ),
        "DeleteObject": lambda: user.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/a"),
    }
    for name, call in allowed.items():
        yield Check(f"the documented policy allows {name} below the prefix", "200", _status(call))
    refused: dict[str, Callable[[], Any]] = {
        "HeadBucket": lambda: user.head_bucket(Bucket=BUCKET),
        "listing the whole bucket": lambda: user.list_objects_v2(Bucket=BUCKET),
        "writing outside the prefix": lambda: user.put_object(Bucket=BUCKET, Key="other/b", Body=b"1"),
        "reading outside the prefix": lambda: user.get_object(Bucket=BUCKET, Key="other/object"),
        "deleting outside the prefix": lambda: user.delete_object(Bucket=BUCKET, Key="other/object"),
        "a prefix that only begins alike": lambda: user.put_object(Bucket=BUCKET, Key=f"{PREFIX}2/b"),
    }
    for name, call in refused.items():
        yield Check(f"the documented policy refuses {name}", "403", _status(call))


def _status(call: Callable[[], Any]) -> str:
    try:
        call()
    except ClientError as error:
        return str(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return "200"


def _rights(service: Deployment, stored: Bucket) -> Iterator[Check]:
    told = service.until_says("ready")
    yield at_most("with these rights the service is ready, after seconds", 90, told)
    if told is None:  # else nothing else could be checked
        stored.allow_everything()
        service.process.stop("worker")
        service.process.start_process("worker")
        service.until_says("ready")
    answer = service.submit()
    yield Check("... and a job completes", "completed", service.outcome(answer))
    yield Check("... and its video is below the prefix", 1, _videos(stored))


def _broken_off(service: Deployment, proxy: TcpProxy) -> Iterator[Check]:
    """The connection breaks several times while a worker downloads a large video."""
    large = padded(service.video, _LARGE)
    answer = service.submit(QUICK, video=large)
    if answer.status_code != 202:
        yield Check("a large video is accepted", 202, answer.status_code)
        return
    before = proxy.replied
    with proxy.delayed(0.02):
        for share in (1, 2, 3):
            _await_bytes(proxy, before + share * _LARGE // 5)
            proxy.cut()
        found = service.ended(answer.json()["job_id"])
    yield Check("a job completes whose download broke off three times", "completed", found["status"])
    yield Check("... in its first attempt", 1, found.get("attempt", 1))
    yield at_most(
        "... and it went on where it broke off: MB read", 1.3 * _LARGE / 1e6, (proxy.replied - before) / 1e6
    )


def _await_bytes(proxy: TcpProxy, count: int) -> None:
    eventually(lambda: proxy.replied > count, "the worker downloads the video", 120)


def _started_without(service: Deployment, proxy: TcpProxy, queue: str) -> Iterator[Check]:
    """A worker that starts while S3 is away finds the jobs that the queue has lost."""
    stack = service.process
    stack.stop("worker")
    answers = [service.submit(SLOW) for _ in range(3)]
    with redis.Redis.from_url(queue) as client:
        client.flushall()
    with proxy.down():
        stack.start_process("worker")
        eventually(lambda: stack.log("worker").count("Worker ready.") >= 2, "the worker starts", 120)
        time.sleep(3)  # it has tried to use the storage
    outcomes = {service.outcome(answer, 90) for answer in answers}
    yield Check("a worker that started without S3 finds jobs that the queue lost", {"completed"}, outcomes)
