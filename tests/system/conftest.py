"""A service for the tests of failpoints: one for each database, for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.bench import Bench, wake
from tests.chaos.run import short_folder
from tests.chaos.service import ChaosService

#: The storage that is used with each database.
_STORAGES = {"sqlite": "folder", "postgres": "s3"}


@pytest.fixture(scope="module", params=_STORAGES)
def running(request: pytest.FixtureRequest) -> Iterator[Bench]:
    storage = _STORAGES[request.param]
    with short_folder() as folder, ChaosService(folder, request.param, storage=storage) as service:
        yield Bench(service)


@pytest.fixture
def bench(running: Bench) -> Iterator[Bench]:
    """Whatever a test has broken ends with it."""
    yield running
    running.service.withdraw_orders()
    wake(running.frozen())
