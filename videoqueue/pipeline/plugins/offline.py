"""Keeps OpenVINO from calling home."""

from __future__ import annotations

import sys
from typing import Any


def keep_openvino_offline() -> None:
    """Call before the first import of OpenVINO in a process.

    Importing it starts a thread and a forked process that report to Google Analytics, and writes into the
    home folder. Where its telemetry package cannot be imported it uses a stub of its own instead.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)
