"""A running service, and what is needed to kill it at a named step and to look at it afterwards."""

from __future__ import annotations

import time
from functools import partial

import psutil

from tests.chaos.catalogue import Catalogue, Submission
from tests.chaos.client import Client, Observed, Submitted, new_key
from tests.chaos.oracle import Oracle
from tests.chaos.service import WORKERS, ChaosService
from tests.support.stack import eventually


class Bench:
    def __init__(self, service: ChaosService) -> None:
        self.service = service
        self.catalogue = Catalogue(service.folder, service.workplace.pipelines)
        self.observed = Observed()
        self.client = Client(service.url, self.observed)
        self.oracle = Oracle(service)

    def submit(self, submission: Submission, key: str | None = None) -> Submitted:
        deadline = time.monotonic() + 60
        return self.client.submit(submission, key or new_key(), lambda: time.monotonic() > deadline)

    def await_obeyed(self, *steps: str) -> None:
        for step in steps:
            eventually(partial(self.service.is_obeyed, step), f"{step} is passed")

    def await_ended(self, submitted: Submitted) -> None:
        eventually(lambda: self.has_ended(submitted), f"{submitted.job_id} ends")

    def has_ended(self, submitted: Submitted) -> bool:
        return self.client.status(submitted.accepted) in ("completed", "failed")

    def assert_nothing_is_broken(self, *submitted: Submitted) -> None:
        for one in submitted:
            self.await_ended(one)
        assert self.oracle.broken(submitted) == []

    def frozen(self) -> list[psutil.Process]:
        """The workers that obeyed an order to stop."""
        workers = filter(None, map(self.service.worker_process, WORKERS))
        return [worker for worker in workers if worker.status() == psutil.STATUS_STOPPED]


def wake(processes: list[psutil.Process]) -> None:
    for process in processes:
        process.resume()
