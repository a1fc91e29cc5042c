"""What several files of integration tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import misbehaving
from tests.support.serving import Web, serving


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
