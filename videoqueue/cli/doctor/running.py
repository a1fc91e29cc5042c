"""Runs checks at the same time, each for a limited time. A check that hangs or has a bug is a finding."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from videoqueue.cli.doctor.findings import Examination, Finding, Status, failed


@dataclass(frozen=True)
class Check:
    """Some checks that run one after the other.

    Attributes:
        names: the names of the checks.
        run: yields at least one finding for each name.
        remedy, page: of the finding that a check did not end in time.
        late: the status of that finding.
    """

    names: tuple[str, ...]
    run: Callable[[Examination], Iterator[Finding]]
    remedy: str
    page: str
    late: Status = "failed"


class _Running:
    """One check in a thread of its own: a daemon, so that a backend that hangs keeps no process alive."""

    def __init__(self, check: Check, examination: Examination) -> None:
        self._check = check
        self._examination = examination
        self._found: list[Finding] = []
        self._ended = threading.Event()
        threading.Thread(target=self._run, name=f"doctor-{check.names[0]}", daemon=True).start()

    def _run(self) -> None:
        try:
            for finding in self._check.run(self._examination):
                self._found.append(finding)
        except BaseException as error:  # noqa: BLE001 - a bug of one check must not hide the others
            self._found.append(self._bug(error))
        finally:
            self._ended.set()

    def findings(self, deadline: float) -> list[Finding]:
        """Waits until the check has ended, or until the deadline. Returns what it found."""
        in_time = self._ended.wait(max(0.0, deadline - time.monotonic()))
        found = list(self._found)
        missing = [name for name in self._check.names if name not in {finding.check for finding in found}]
        return found if in_time else [*found, *map(self._late, missing)]

    def _late(self, name: str) -> Finding:
        return Finding(
            check=name,
            status=self._check.late,
            message=f"There was no result within {self._examination.seconds:g} seconds (--timeout).",
            remedy=self._check.remedy,
            page=self._check.page,
        )

    def _bug(self, error: BaseException) -> Finding:
        done = {finding.check for finding in self._found}
        name = next((name for name in self._check.names if name not in done), self._check.names[-1])
        return failed(
            name,
            f"The check met an unexpected error ({self._examination.reported(error)}).",
            self._check.remedy,
            self._check.page,
        )


def run_checks(checks: Sequence[Check], examination: Examination) -> list[Finding]:
    """Runs all checks at the same time.

    Returns:
        The findings in the order of the checks.
    """
    deadline = time.monotonic() + examination.seconds
    running = [_Running(check, examination) for check in checks]
    return [finding for one in running for finding in one.findings(deadline)]
