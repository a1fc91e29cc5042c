"""Who makes a request, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from flask import g

from videoqueue.jobs.types import ALL_OWNERS, NOBODY, OwnerScope

#: What a caller may do. `submit`: submit, read, retry and delete their own jobs. `read`: read their own.
#: `metrics`: read counts of the service. `admin`: everything, for the jobs of all owners.
Scope: TypeAlias = Literal["submit", "read", "metrics", "admin"]


@dataclass(frozen=True)
class Caller:
    """Who makes a request.

    Attributes:
        owner: the owner of the jobs that the caller submits.
        scopes: what the caller may do.
        key_id: the public part of the key that the caller sent; None when none was needed.
    """

    owner: str
    scopes: frozenset[Scope]
    key_id: str | None = None

    @property
    def scope(self) -> OwnerScope:
        """Returns whose jobs the caller may read and change."""
        return ALL_OWNERS if "admin" in self.scopes else self.owner


#: The caller while no keys are needed.
_ANYBODY: Final = Caller(NOBODY, frozenset(("submit", "read", "metrics")))


def caller() -> Caller:
    """Returns who makes the current request."""
    found: Caller = g.get("caller", _ANYBODY)
    return found
