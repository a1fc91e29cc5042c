"""Limits and walls of child processes for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from videoqueue.sandbox.access import Access
from videoqueue.sandbox.limits import SandboxLimits
from videoqueue.settings import load_settings
from videoqueue.settings.capacity import MAX_MEMORY
from videoqueue.worker.factory import sandbox_access, sandbox_limits


def limits_with(**changes: Any) -> SandboxLimits:
    """The default limits of a machine with much memory, with other values for some of them."""
    settings = load_settings({"VIDEOQUEUE_SANDBOX_MEMORY_BYTES": str(MAX_MEMORY)})
    return replace(sandbox_limits(settings), **changes)


def walls(**changes: Any) -> Access:
    """What children may reach, as strict as this run of the tests asks for."""
    return replace(sandbox_access(load_settings()), hidden=(), **changes)
