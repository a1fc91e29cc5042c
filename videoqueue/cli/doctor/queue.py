"""Checks that the queue takes messages, and that it will keep them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from videoqueue.cli.doctor.findings import Examination, Finding, failed, not_checked, ok, size, warning
from videoqueue.cli.wording import counted
from videoqueue.errors import QueueUnavailableError, SettingsError, VideoqueueError

if TYPE_CHECKING:
    from dramatiq.brokers.redis import RedisBroker

_PAGE: Final = "docs/deploying.md#the-queue"
_START: Final = "Start the server, or correct host, port, user and password in REDIS_URL."
#: Share of maxmemory above which the queue counts as nearly full.
_NEARLY_FULL: Final = 0.9
_OLDEST: Final = 6


def check_queue(examination: Examination) -> Iterator[Finding]:
    """Yields whether a job could be announced, as `/readyz` checks it, and what the server is."""
    from videoqueue.broker import queued
    from videoqueue.services import build_queue
    from videoqueue.supervisor.embedded import running_queue

    if "REDIS_URL" in examination.invalid:
        yield not_checked("queue", "REDIS_URL is invalid", page="docs/settings.md")
        return
    settings = examination.settings
    url = settings.redis_url or running_queue(settings.data_path)
    if not url:
        yield _without_server()
        return
    try:
        broker = build_queue(replace(settings, redis_url=url))
        waiting = queued(broker)
    except SettingsError as error:
        yield failed("queue", str(error), "Correct REDIS_URL.", _PAGE)
    except QueueUnavailableError as error:
        yield _refused(examination, error)
    else:
        kind = "TLS without verification, " if _is_unverified(examination) else ""
        yield _accepting(broker, f"{kind}{counted(waiting, 'message')} waiting")


def _without_server() -> Finding:
    from videoqueue.supervisor.embedded import valkey_binary

    try:
        valkey_binary()
    except VideoqueueError:
        return failed(
            "queue",
            "REDIS_URL is not set, and there is no built-in Valkey for this machine.",
            "Set REDIS_URL to a Redis or Valkey server.",
            _PAGE,
        )
    return warning(
        "queue",
        "REDIS_URL is not set, and no `videoqueue up` runs in this data folder.",
        "Start `videoqueue up`, which has a queue of its own, or set REDIS_URL for `web` and `worker`.",
        _PAGE,
    )


def _refused(examination: Examination, error: QueueUnavailableError) -> Finding:
    from videoqueue.queue_faults import fault_of

    fault = fault_of(error.__cause__ or error)
    remedy = f"{fault.remedy}." if fault.remedy else _START
    return failed("queue", f"{fault.what} ({examination.masked(fault.reported)}).", remedy, _PAGE)


def _is_unverified(examination: Examination) -> bool:
    url = examination.settings.redis_url
    if not url.startswith("rediss:"):
        return False
    return examination.settings.redis_tls == "no-verify" or "ssl_cert_reqs=none" in url


def _accepting(broker: RedisBroker, state: str) -> Finding:
    """Returns the finding about a queue that takes messages now."""
    found = _information(broker)
    name = "Valkey" if "valkey_version" in found else "Redis"
    version = str(found.get("valkey_version") or found.get("redis_version") or "")
    server = f"{name} {version}".strip()
    most, used = int(found.get("maxmemory", 0)), int(found.get("used_memory", 0))
    policy = str(found.get("maxmemory_policy", "noeviction"))
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < _OLDEST:
        return failed("queue", f"{server} is too old.", f"Use Redis {_OLDEST} or later, or Valkey.", _PAGE)
    if found.get("redis_mode") == "cluster":
        return failed(
            "queue", f"{server} is a cluster.", "Use one server, or a primary with replicas.", _PAGE
        )
    if most and policy != "noeviction":
        return warning(
            "queue",
            f"{server} may evict messages: its maxmemory-policy is {policy}. Their jobs start late.",
            "Set maxmemory-policy to noeviction.",
            _PAGE,
        )
    if most and used > most * _NEARLY_FULL:
        return warning(
            "queue",
            f"{server} uses {size(used)} of {size(most)} (maxmemory), and then takes no message.",
            "Give it more memory, or remove other data.",
            _PAGE,
        )
    return ok("queue", f"{server} takes messages ({state}).")


def _information(broker: RedisBroker) -> Mapping[str, Any]:
    """Returns what INFO reports; nothing if the user may not ask, which the service does not need."""
    from videoqueue.queue_faults import FAULTS

    try:
        found: Mapping[str, Any] = broker.client.info()
    except FAULTS:
        return {}
    return found
