"""From the variables of the environment to every setting with its value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from videoqueue.errors import SettingsError
from videoqueue.settings.pipeline import PipelineSettings
from videoqueue.settings.service import ServiceSettings
from videoqueue.settings.worker import WorkerSettings


# Fields of the last base come first, in what is printed too.
@dataclass(frozen=True, kw_only=True)
class Settings(WorkerSettings, PipelineSettings, ServiceSettings):
    """Every setting with its parsed value. An empty variable counts as not set."""


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads every setting once.

    Raises:
        SettingsError: a value cannot be used; the message is one line: setting, value, what it takes.
    """
    environ = os.environ if environ is None else environ
    values = {}
    for entry in fields(Settings):
        name = entry.metadata["name"]
        given = environ.get(name, "").strip()
        if not given:
            continue
        try:
            values[entry.name] = entry.metadata["parse"](given)
        except ValueError as error:
            raise SettingsError(f"{name}={shown(given)!r} cannot be used: {name} {error}.") from None
    return _with_derived_defaults(Settings(**values))


def _with_derived_defaults(given: Settings) -> Settings:
    values = {entry.name: getattr(given, entry.name) for entry in fields(Settings)}
    data = given.data_path
    values["database_url"] = given.database_url or f"sqlite:///{data / 'videoqueue.db'}"
    workers = given.worker_processes * given.worker_threads
    values["inference_threads"] = given.inference_threads or max(1, len(os.sched_getaffinity(0)) // workers)
    values["max_concurrent_uploads"] = given.max_concurrent_uploads or max(1, given.web_threads // 2)
    values["max_concurrent_downloads"] = given.max_concurrent_downloads or max(1, given.web_threads // 4)
    if given.renew_seconds * 2 > given.lease_seconds:
        raise SettingsError(
            f"VIDEOQUEUE_RENEW_SECONDS={given.renew_seconds:g} cannot be used: it takes at most half of "
            f"VIDEOQUEUE_LEASE_SECONDS ({given.lease_seconds:g})."
        )
    return Settings(**values)


def shown(value: str) -> str:
    """A value as it may be printed: a URL's password stays secret."""
    return value.split("://", 1)[0] + "://..." if "@" in value else value
