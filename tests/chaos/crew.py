"""Several clients that submit steadily, each with a bounded number of jobs under way.

They delete some of their jobs, in each state, and retry some that have failed.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable

from tests.chaos.catalogue import Catalogue, Submission
from tests.chaos.client import Client, Fate, Observed, Submitted
from tests.chaos.service import ChaosService

CLIENTS = 3
#: Whose jobs the clients submit, in turn.
OWNERS = ("anna", "bert")
_UNDER_WAY = 2
_POLL_SECONDS = 0.15
_HOSTILE_SHARE = 0.25
_ENDED = ("completed", "failed")
#: In turn, so that each occurs soon. A failed job is deleted before, after or instead of its retry.
_FATES = (
    Fate(retry=True),
    Fate("pending"),
    Fate("running", retry=True),
    Fate(),
    Fate("ended", retry=True),
    Fate("ended"),
)


class Crew:
    """What is submitted follows from the seed; how much, from how fast the service is."""

    def __init__(self, service: ChaosService, catalogue: Catalogue, seed: int) -> None:
        self.observed = Observed()
        self.submitted: list[Submitted] = []
        self._catalogue = catalogue
        self._client = Client(service.url, self.observed, key=service.admin_key)
        keys = [service.create_key(owner) for owner in OWNERS]
        senders = [Client(service.url, self.observed, key=keys[n % len(keys)]) for n in range(CLIENTS)]
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(sender, f"{seed}-{number}"), daemon=True)
            for number, sender in enumerate(senders)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more submissions; those under way are repeated until they are decided."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    @property
    def accepted(self) -> list[Submitted]:
        return [submitted for submitted in self.submitted if submitted.job_id is not None]

    def await_ended(self, seconds: float) -> None:
        """Until every accepted job has ended, at most so long; the oracle tells which have not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._open(self.accepted, self._client):
            time.sleep(_POLL_SECONDS)

    def _guarded(self, sender: Client, seed: str) -> None:
        try:
            self._work(sender, random.Random(seed))
        except BaseException as error:  # noqa: BLE001 - raised again by `stop`
            self._errors.append(error)

    def _work(self, sender: Client, dice: random.Random) -> None:
        mine: list[Submitted] = []
        fates = itertools.cycle(_FATES)
        for _ in range(dice.randrange(len(_FATES))):
            next(fates)
        while not self._stopping.is_set():
            submitted = sender.submit(self._draw(dice), _key(dice), self._never())
            if submitted.job_id is not None:
                submitted.fate = next(fates)
            self.submitted.append(submitted)
            mine.append(submitted)
            if submitted.fate.delete_in == "pending":
                self._delete(submitted, sender)
            while not self._stopping.is_set() and len(self._open(mine, sender)) >= _UNDER_WAY:
                self._stopping.wait(_POLL_SECONDS)

    def _draw(self, dice: random.Random) -> Submission:
        hostile = dice.random() < _HOSTILE_SHARE
        return dice.choice(self._catalogue.hostile if hostile else self._catalogue.good)

    def _never(self) -> Callable[[], bool]:
        """A submission is given up only when the service stays away long after the end."""
        ended = time.monotonic() + 120
        return lambda: self._stopping.is_set() and time.monotonic() > ended

    def _open(self, mine: list[Submitted], sender: Client) -> list[Submitted]:
        for one in tuple(mine):
            if not one.finished:
                self._look(one, sender, mine)
        return [one for one in mine if not one.finished]  # also a retry that was made just now

    def _look(self, submitted: Submitted, sender: Client, mine: list[Submitted]) -> None:
        """Does what the job's state asks for, and notes whether nothing is left to do."""
        if submitted.job_id is None:
            submitted.finished = True
            return
        status, fate = sender.status(submitted.job_id), submitted.fate
        if status == "failed" and fate.retry and (again := sender.retry(submitted)) is not None:
            self.submitted.append(again)
            mine.append(again)
        if fate.delete_in and (status in _ENDED or status == fate.delete_in):
            self._delete(submitted, sender)
        submitted.finished = status in _ENDED or submitted.deletion_asked

    def _delete(self, submitted: Submitted, sender: Client) -> None:
        sender.delete(submitted, self._never())
        submitted.finished = True


def _key(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))
