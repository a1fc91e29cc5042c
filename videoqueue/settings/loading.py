"""Reads all settings from environment variables, and derives the defaults that depend on the machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from videoqueue.errors import SettingsError
from videoqueue.settings.access import AccessSettings
from videoqueue.settings.capacity import default_memory, default_threads
from videoqueue.settings.edge import default_share
from videoqueue.settings.machine import usable_cores, usable_memory
from videoqueue.settings.pipeline import PipelineSettings
from videoqueue.settings.urls import sqlite_url
from videoqueue.settings.values import SECRET, require_utf8
from videoqueue.settings.webhooks import WebhookSettings
from videoqueue.settings.worker import WorkerSettings

#: Small plans of hosted Postgres allow 20 connections; three web processes and one worker process use 16.
_POSTGRES_CONNECTIONS = 4

#: URLs that can hold no password: a scheme, a host without a port, and a path; or a host and a port.
_HARMLESS = re.compile(r"([a-z0-9+]+://)?[A-Za-z0-9.-]*(/[\w./-]*)?|[A-Za-z0-9.-]+:[0-9]{1,5}")
_SCHEME = re.compile(r"[a-z0-9+]{1,20}://")


# The fields of the last base class come first, also in the generated documentation.
@dataclass(frozen=True, kw_only=True)
class Settings(WebhookSettings, WorkerSettings, PipelineSettings, AccessSettings):
    """All settings with their parsed values."""


def load_settings(environ: Mapping[str, str] | None = None, root: Path = Path("/")) -> Settings:
    """Reads all settings. A variable that is empty counts as not set.

    Args:
        environ: the variables; by default those of this process.
        root: the folder that contains `proc` and `sys`, which describe the machine.

    Returns:
        The settings, with all defaults.

    Raises:
        SettingsError: a value is invalid. The message is one line: the setting, the value and what it takes.
    """
    values, faults = _parsed(os.environ if environ is None else environ)
    for message in faults.values():
        raise SettingsError(message)
    return _with_derived_defaults(Settings(**values), root)


def load_valid_settings(
    environ: Mapping[str, str], root: Path = Path("/")
) -> tuple[Settings, dict[str, str]]:
    """Reads the settings that are valid; the others have their defaults.

    Args:
        environ, root: as in `load_settings`.

    Returns:
        The settings, and the message for each invalid variable.
    """
    values, faults = _parsed(environ)
    fields_by_variable = {entry.metadata["name"]: entry.name for entry in fields(Settings)}
    while True:
        try:
            return _with_derived_defaults(Settings(**values), root), faults
        except SettingsError as error:  # two settings contradict each other; at least one of them is given
            named = re.findall(r"[A-Z][A-Z_]+", str(error))
            name = next(name for name in named if fields_by_variable.get(name) in values)
            faults[name] = str(error)
            del values[fields_by_variable[name]]


def _parsed(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the values by field, and the message for each invalid variable."""
    values, faults = {}, {}
    for entry in fields(Settings):
        name = entry.metadata["name"]
        given = environ.get(name, "").strip()
        if not given:
            continue
        try:
            require_utf8(given)
            values[entry.name] = entry.metadata["parse"](given)
        except ValueError as error:
            value = _printable(given, entry.metadata["unit"])
            faults[name] = f"{name}={value!r} cannot be used: {name} {error}."
    return values, faults


def absolute_paths(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns `environ` with absolute paths in all settings, so that a process in another folder can use it.

    Raises:
        SettingsError: as in `load_settings`.
    """
    given = load_settings(environ)
    paths = {
        entry.metadata["name"]: getattr(given, entry.name)
        for entry in fields(Settings)
        if entry.metadata["unit"] in ("file", "folder") or environ.get(entry.metadata["name"], "").strip()
    }
    return dict(environ) | {name: value for name, value in paths.items() if value and isinstance(value, str)}


def _with_derived_defaults(given: Settings, root: Path) -> Settings:
    values = {entry.name: getattr(given, entry.name) for entry in fields(Settings)}
    data = Path(given.data_dir).absolute()
    values["data_dir"] = str(data)
    values["database_url"] = given.database_url or sqlite_url(str(data / "videoqueue.db"))
    values["database_connections"] = given.database_connections or (
        _POSTGRES_CONNECTIONS if given.database_url.startswith("postgresql") else given.web_threads + 2
    )
    children = given.worker_processes * given.worker_threads
    memory = given.sandbox_memory_bytes or default_memory(
        usable_memory(root), given.worker_processes, children
    )
    values["sandbox_memory_bytes"] = memory
    values["inference_threads"] = given.inference_threads or default_threads(
        usable_cores(root), children, memory, given.own_models
    )
    values["max_concurrent_uploads"] = given.max_concurrent_uploads or max(1, given.web_threads // 2)
    values["max_concurrent_downloads"] = given.max_concurrent_downloads or max(1, given.web_threads // 4)
    values["max_connections_per_address"] = given.max_connections_per_address or max(
        1, given.max_connections // 2
    )
    for kind in ("uploads", "downloads"):
        share = f"max_{kind}_per_address"
        values[share] = values[share] or default_share(values[f"max_concurrent_{kind}"])
    if given.renew_seconds * 2 > given.lease_seconds:
        raise SettingsError(
            f"VIDEOQUEUE_RENEW_SECONDS={given.renew_seconds:g} cannot be used: it takes at most half of "
            f"VIDEOQUEUE_LEASE_SECONDS ({given.lease_seconds:g})."
        )
    settings = Settings(**values)
    settings.require_consistent_access()
    settings.require_signed_webhooks()
    return settings


def _printable(given: str, unit: str) -> str:
    """Returns an invalid value as it may be printed."""
    if unit == SECRET:
        return "..."
    return _refused(given) if unit == "URL" else given


def shown(value: str) -> str:
    """Returns a valid value as it may be printed: without the address if that contains a password."""
    scheme, separator, rest = value.partition("://")
    return f"{scheme}://..." if separator and ("@" in rest or "password=" in rest) else value


def _refused(url: str) -> str:
    """Returns an invalid URL as it may be printed: a password may be anywhere in it."""
    if _HARMLESS.fullmatch(url):
        return url
    scheme = _SCHEME.match(url)
    return f"{scheme[0]}..." if scheme else "..."
