"""What a check found: one line for the operator, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote

from videoqueue.causes import cause_of
from videoqueue.redaction import MASK, VARIABLES, mask
from videoqueue.settings import Settings

Status = Literal["ok", "warning", "failed"]
#: From the best to the worst.
STATUSES: Final[tuple[Status, ...]] = ("ok", "warning", "failed")
#: The variables whose values are URLs that may contain passwords.
_URLS: Final = ("DATABASE_URL", "REDIS_URL")
#: A shorter password would be replaced in the middle of words.
_SHORTEST: Final = 3
_PASSWORDS: Final = re.compile(r".*password")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a check.

    Attributes:
        check: the name of the check.
        status: "failed" if the service, or a part of it, does not work; "warning" if it may not work.
        message: what was found, in one sentence or two.
        remedy: what to do; empty if the status is "ok".
        page: where the documentation has more; empty if nothing has to be done.
    """

    check: str
    status: Status
    message: str
    remedy: str = ""
    page: str = ""


@dataclass(frozen=True)
class Examination:
    """What the checks have in common.

    Attributes:
        settings: the settings; in place of an invalid one its default.
        invalid: the message for each invalid variable.
        environ: the variables of this process.
        seconds: the time limit of a check.
    """

    settings: Settings
    invalid: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 10.0

    def reported(self, error: BaseException) -> str:
        """Returns the report of the driver or the system, in one line and without passwords."""
        return self.masked(cause_of(error))

    def masked(self, text: str) -> str:
        """Returns a text of a library or a server without the passwords of this process."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, MASK)
        return mask(" ".join(text.split()))

    def _secrets(self) -> set[str]:
        found = {self.environ.get(name, "") for name in VARIABLES}
        for name in _URLS:
            # Of the text that was given: the value of an invalid variable is no setting.
            rest = self.environ.get(name, "").partition("://")[2]
            before, _, query = rest.partition("?")
            found.add(before.rpartition("@")[0].partition(":")[2])
            found |= {value for key, value in parse_qsl(query) if _PASSWORDS.fullmatch(key)}
        forms = {form for secret in found for form in (secret, unquote(secret))}
        return {form for form in forms if len(form) >= _SHORTEST}


def ok(check: str, message: str) -> Finding:
    """Returns the finding that nothing has to be done."""
    return Finding(check=check, status="ok", message=message)


def warning(check: str, message: str, remedy: str, page: str) -> Finding:
    """Returns the finding that the service works, but may not work well, or not for long."""
    return Finding(check=check, status="warning", message=message, remedy=remedy, page=page)


def failed(check: str, message: str, remedy: str, page: str) -> Finding:
    """Returns the finding that the service, or a part of it, does not work."""
    return Finding(check=check, status="failed", message=message, remedy=remedy, page=page)


def not_checked(check: str, reason: str, remedy: str = "", page: str = "") -> Finding:
    """Returns the finding that nothing is known. `reason` is the end of a sentence."""
    remedy = remedy or "Correct that first, then run `videoqueue doctor` again."
    return warning(check, f"Not checked, because {reason}.", remedy, page or "docs/operations.md#doctor")


def worst(findings: Sequence[Finding]) -> Status:
    """Returns the worst status of the findings."""
    return max((finding.status for finding in findings), key=STATUSES.index, default="ok")


def size(count: int) -> str:
    """Returns a number of bytes as a person reads it, such as "1.5 GiB"."""
    mebibytes = count / 1024**2
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"
