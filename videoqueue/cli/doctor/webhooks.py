"""Checks webhooks: whether the receiver can be reached, and which events it has not accepted. Sends none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from videoqueue.cli.doctor.database import SHARE, obstacle
from videoqueue.cli.doctor.findings import Examination, Finding, not_checked, ok, warning
from videoqueue.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from videoqueue.jobs.webhooks import Summary

_SETTINGS: Final = ("VIDEOQUEUE_WEBHOOK_URL", "VIDEOQUEUE_WEBHOOK_SECRET")
_PAGE: Final = "docs/webhooks.md"
_PROMISES: Final = "docs/webhooks.md#what-is-promised"
#: Parts of the reasons why a receiver cannot be reached, with what to do.
_REMEDIES: Final = (
    ("looked up", "Correct the host in VIDEOQUEUE_WEBHOOK_URL, or the resolver of this machine."),
    ("certificate", "Set SSL_CERT_FILE to a file with the receiver's authority, or renew the certificate."),
)
_ELSE: Final = "Start the receiver, let this machine reach it, or correct VIDEOQUEUE_WEBHOOK_URL."


def check_webhooks(examination: Examination) -> Iterator[Finding]:
    """Yields what keeps webhooks from being accepted, or that there are none or the receiver is there."""
    if invalid := next((name for name in _SETTINGS if name in examination.invalid), None):
        remedy = "Correct it; `videoqueue webhooks secret` prints a new secret."
        yield not_checked("webhooks", f"{invalid} is invalid", remedy, _PAGE)
        return
    if not examination.settings.webhook_url:
        yield _without_receiver(_events(examination))
        return
    receiver = _receiver(examination)
    if isinstance(receiver, Finding):
        yield receiver
    events = _events(examination)
    if events is not None and (trouble := _trouble(events, examination)):
        yield trouble
    elif isinstance(receiver, str):
        waiting = "not counted" if events is None else events.waiting
        yield ok("webhooks", f"{receiver} accepts connections. Events that wait for a try: {waiting}.")


def _without_receiver(events: Summary | None) -> Finding:
    if events is None or not events.waiting:
        return ok("webhooks", "None are sent: VIDEOQUEUE_WEBHOOK_URL is not set.")
    return warning(
        "webhooks",
        f"VIDEOQUEUE_WEBHOOK_URL is not set here. Events that wait for a try: {events.waiting}.",
        "Run this command with the settings of the worker. If they have no URL either, set it.",
        _PAGE,
    )


def _receiver(examination: Examination) -> str | Finding:
    """Connects to the receiver, by TLS if its URL says so, and sends nothing more.

    Returns:
        Its name and port; a finding if it cannot be reached.
    """
    from videoqueue.maintenance.delivery import NoResponseError, Receiver

    receiver = Receiver(examination.settings.webhook_url, (), examination.seconds * SHARE)
    try:
        receiver.reach()
    except NoResponseError as error:
        why = examination.masked(str(error))
        remedy = next((remedy for words, remedy in _REMEDIES if words in why), _ELSE)
        # No failure: it is not a part of the service, and containers are restarted after one.
        message = f"{receiver.address} cannot be reached: {why}. Events wait."
        return warning("webhooks", message, remedy, _PAGE)
    return receiver.address


def _events(examination: Examination) -> Summary | None:
    """Returns which events are stored; None if the database is not usable, which another check reports."""
    from videoqueue.jobs.deadline import set_deadline
    from videoqueue.jobs.webhooks import WebhookEvents
    from videoqueue.services import build_engine

    if obstacle(examination):
        return None
    set_deadline(examination.seconds * SHARE)
    engine = build_engine(examination.settings, pool_size=1)
    try:
        return WebhookEvents(engine).summary()
    except DatabaseUnavailableError:
        return None
    finally:
        engine.dispose()
        set_deadline(None)


def _trouble(events: Summary, examination: Examination) -> Finding | None:
    """Returns the finding about events that were not accepted; None if there are none."""
    if not events.failed and not events.given_up:
        return None
    example = f" For example: {examination.masked(events.error)}." if events.error else ""
    return warning(
        "webhooks",
        f"Events given up: {events.given_up}; waiting after a try that failed: {events.failed}.{example}",
        "`videoqueue webhooks list` says why; `videoqueue webhooks retry --all` sends them again.",
        _PROMISES,
    )
