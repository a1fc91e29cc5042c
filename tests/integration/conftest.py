"""What several files of integration tests begin with."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support import misbehaving
from tests.support.serving import Web, serving
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.settings import Settings


@pytest.fixture(scope="module")
def shared_web(tmp_path_factory: pytest.TempPathFactory, valkey_server: str) -> Iterator[Web]:
    """A web process with the settings' defaults, started once for a file of tests."""
    with serving(tmp_path_factory.mktemp("web"), REDIS_URL=f"{valkey_server[:-1]}3") as web:
        yield web


@pytest.fixture
def web(shared_web: Web) -> Web:
    """The same, emptied."""
    shared_web.clear()
    return shared_web


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of the misbehaving plugin's package and of its pipelines."""
    return misbehaving.install(tmp_path_factory.mktemp("misbehaving"))


@pytest.fixture
def start_app(database_url: str, settings: Settings) -> Iterator[Callable[..., Flask]]:
    """Makes an application on the test's database, with changed settings."""
    apps: list[Flask] = []

    def start(**changes: Any) -> Flask:
        storage = f"file://{settings.data_path / 'objects'}"
        app = create_app(replace(settings, database_url=database_url, storage_url=storage, **changes))
        apps.append(app)
        return app

    yield start
    for app in apps:
        services_of(app).engine.dispose()


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as this process may have: it has the clients of the service that is tested."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
