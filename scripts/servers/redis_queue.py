"""Redis that is full, read-only or emptied, and a user with the rights that the documentation names."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers.outage import Outage, outage_checks
from servers.page import rights_of_redis
from servers.parts import Check, Options, at_most, contains, program
from servers.queues import RedisServer, redis_server
from servers.service import SLOW, Deployment, deployed

_ACCEPTED = frozenset({202})


def checks(options: Options) -> Iterator[Check]:
    """Starts Redis and the service, and yields what was found.

    Raises:
        NotInstalled: there is no Redis.
    """
    program("redis-server", "redis-server")
    with tempfile.TemporaryDirectory(prefix="check-redis-") as name, ExitStack() as close:
        folder = Path(name)
        folder.chmod(0o755)
        server = close.enter_context(redis_server(folder / "redis"))
        server.allow(*rights_of_redis("secret"))
        url = server.url.replace("://", "://videoqueue:secret@")
        service = close.enter_context(deployed(folder / "service", options, {"REDIS_URL": url}))
        told = service.until_says("ready")
        yield at_most("with the rights of the documentation the service is ready, after seconds", 60, told)
        yield Check("... and a job completes", "completed", service.outcome(service.submit()))
        yield from _without_a_right(service, server)
        yield from outage_checks(
            service, options, Outage("while Redis is full", server.full, "queue_unavailable", _ACCEPTED)
        )
        yield contains(
            "the log names the cause", "command not allowed when used memory", service.log().decode()
        )
        yield from outage_checks(
            service,
            options,
            Outage("while Redis is a replica", server.replica, "queue_unavailable", _ACCEPTED),
        )
        yield from _emptied(service, server)


def _without_a_right(service: Deployment, server: RedisServer) -> Iterator[Check]:
    @contextmanager
    def refused(rule: str) -> Iterator[None]:
        server.allow(rule)
        try:
            yield
        finally:
            server.allow(*rights_of_redis("secret"))

    for rule in ("-@write", "-@scripting", "resetkeys"):
        with refused(rule):
            told = service.until_says("queue_unavailable", 20)
            answer = service.submit()
        yield at_most(f"/readyz says queue_unavailable without a right ({rule}), after seconds", 5, told)
        yield Check(f"a job that is submitted without it ({rule})", 202, answer.status_code)
        service.until_says("ready")
        yield Check(f"... completes when the right is back ({rule})", "completed", service.outcome(answer))


def _emptied(service: Deployment, server: RedisServer) -> Iterator[Check]:
    answers = [service.submit(SLOW) for _ in range(20)]
    server.admin.flushall()
    outcomes = {service.outcome(answer) for answer in answers}
    yield Check("jobs complete after Redis was emptied", {"completed"}, outcomes)
    yield Check("the log names no bug", [], service.bugs()[:3])
