"""The list of jobs: whose jobs it has, what each caller sees of them, and the tokens of its pages."""

from __future__ import annotations

import uuid

from videoqueue.api.auth import caller
from videoqueue.api.authenticator import Caller
from videoqueue.api.problems import ApiError
from videoqueue.jobs.types import ALL_OWNERS, Job, OwnerScope


def listed_owner(by: Caller, owner: str | None) -> OwnerScope:
    """Returns whose jobs are listed.

    Raises:
        ApiError: `forbidden`, if the caller may not read the jobs of that owner.
    """
    if owner is None:
        return by.scope
    if by.scope is not ALL_OWNERS and owner != by.owner:
        raise ApiError(
            "forbidden",
            "The jobs of another owner can only be listed with a key that has the scope admin. Leave out the "
            "parameter owner to list your own.",
            {"WWW-Authenticate": 'Bearer realm="videoqueue", error="insufficient_scope", scope="admin"'},
        )
    return owner


def hidden(owner: str) -> tuple[str, ...]:
    """Returns the fields that the caller does not get: the owner, unless they read the jobs of all owners."""
    return () if caller().scope is ALL_OWNERS else (owner,)


def page_token(job: Job) -> str:
    """Returns the token of the page that follows the one whose last job this is."""
    return f"{job.created_at}-{job.job_id.hex}"


def position(token: str | None) -> tuple[int, uuid.UUID] | None:
    """Returns `created_at` and `job_id` of the last job of the page before; None for the first page."""
    if token is None:
        return None
    created_at, _, job_id = token.strip().partition("-")
    return int(created_at), uuid.UUID(job_id)
