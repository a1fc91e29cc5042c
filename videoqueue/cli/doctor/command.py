"""The command, and what it prints."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

import click

from videoqueue.cli.doctor.configuration import check_pipelines, check_settings
from videoqueue.cli.doctor.database import NAMES, check_database
from videoqueue.cli.doctor.findings import STATUSES, Examination, Finding, worst
from videoqueue.cli.doctor.machine import check_disk, check_folder, check_memory, check_sandbox
from videoqueue.cli.doctor.models import check_models
from videoqueue.cli.doctor.queue import check_queue
from videoqueue.cli.doctor.running import Check, run_checks
from videoqueue.cli.doctor.storage import check_storage
from videoqueue.cli.doctor.webhooks import check_webhooks
from videoqueue.cli.option_types import Number
from videoqueue.logs import escape
from videoqueue.settings import Settings, load_valid_settings

_AGAIN: Final = "Run `videoqueue doctor --timeout 60`, because the machine may be busy."
_TROUBLE: Final = "docs/operations.md#troubleshooting"

CHECKS: Final = (
    Check(("settings",), check_settings, _AGAIN, "docs/settings.md"),
    Check(("data folder",), check_folder, "Look whether its volume responds.", _TROUBLE),
    Check(
        NAMES,
        check_database,
        "Look whether the server responds; correct the host and port in DATABASE_URL.",
        "docs/deploying.md#unavailable-backends",
    ),
    Check(
        ("queue",),
        check_queue,
        "Look whether the server responds; correct the host and port in REDIS_URL.",
        "docs/deploying.md#the-queue",
    ),
    Check(
        ("storage",),
        check_storage,
        "Look whether the storage responds; correct AWS_ENDPOINT_URL_S3, or the volume of the folder.",
        "docs/deploying.md#s3",
    ),
    Check(
        ("webhooks",),
        check_webhooks,
        "Look whether the receiver and the resolver of names respond; correct VIDEOQUEUE_WEBHOOK_URL.",
        "docs/webhooks.md",
        late="warning",
    ),
    Check(("disk",), check_disk, "Look whether the volume responds.", "docs/deploying.md#disk-space"),
    Check(("memory",), check_memory, _AGAIN, "docs/operations.md#size-of-a-worker"),
    Check(("sandbox",), check_sandbox, _AGAIN, "docs/deploying.md#the-sandbox-of-the-child"),
    Check(("pipelines",), check_pipelines, _AGAIN, "docs/plugins.md"),
    Check(("models",), check_models, _AGAIN, "docs/plugins.md"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--timeout",
    type=Number(0.1, 600),
    default=10.0,
    show_default=True,
    help="Time limit of a check, in seconds. All checks run at the same time.",
)
def doctor(as_json: bool, timeout: float) -> None:
    """Check settings, database, queue, storage and this machine.

    Run it with the settings and as the user of the service. It prints a line for each check, ok, warning or
    failed, and for each that is not ok the remedy. It changes nothing: what it writes, it takes back.

    The exit code is 0 if nothing failed, 1 if something did, and 2 after a wrong option.
    """
    settings, invalid = load_valid_settings(os.environ)
    examination = Examination(settings, invalid, os.environ, timeout)
    with _silent_logs():
        _load_modules(settings)
        findings = run_checks(CHECKS, examination)
    click.echo(as_object(findings) if as_json else as_text(findings))
    if worst(findings) == "failed":
        raise SystemExit(1)


def _load_modules(settings: Settings) -> None:
    """Imports what the checks need, so that their time limit is not spent on it."""
    import videoqueue.app
    import videoqueue.maintenance.delivery
    import videoqueue.worker.factory

    if settings.storage_url.startswith("s3:"):
        import videoqueue.storage.s3  # noqa: F401


def as_object(findings: Sequence[Finding]) -> str:
    """Returns the findings as a JSON object with the fields `status` and `checks`."""
    return json.dumps({"status": worst(findings), "checks": [asdict(one) for one in findings]}, indent=2)


def as_text(findings: Sequence[Finding]) -> str:
    """Returns a line for each finding, and indented lines for what to do about it."""
    width = max(len(finding.check) for finding in findings)
    lines = [line for finding in findings for line in _lines(finding, width)]
    counts = ((status, sum(1 for one in findings if one.status == status)) for status in STATUSES)
    return "\n".join([*lines, "", ", ".join(f"{count} {status}" for status, count in counts)])


def _lines(finding: Finding, width: int) -> Iterator[str]:
    head = f"{finding.status:8}{finding.check:{width}}  "
    yield head + escape(finding.message)
    if finding.remedy:
        yield " " * len(head) + f"-> {finding.remedy} ({finding.page})"


@contextmanager
def _silent_logs() -> Iterator[None]:
    """Keeps warnings of libraries and of the service's parts away from the output: findings say it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
