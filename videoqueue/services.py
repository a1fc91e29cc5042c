"""What the web process and the worker are made of, built once from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from dramatiq.brokers.redis import RedisBroker
from flask import Flask

from videoqueue.jobs.results import ResultReader
from videoqueue.jobs.store import JobStore
from videoqueue.pipeline.definitions.definition import PipelineDefinition
from videoqueue.settings import Settings
from videoqueue.storage import ObjectStorage

_KEY = "videoqueue"


@dataclass(frozen=True, kw_only=True)
class Services:
    settings: Settings
    store: JobStore
    results: ResultReader
    storage: ObjectStorage
    broker: RedisBroker
    pipelines: Mapping[str, PipelineDefinition]

    def install(self, app: Flask) -> None:
        app.extensions[_KEY] = self


def services_of(app: Flask) -> Services:
    """The services that `create_app` built for this app."""
    return cast(Services, app.extensions[_KEY])
