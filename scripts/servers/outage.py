"""A fault of a server in the middle of fifty jobs: what clients, /readyz and the log say, and is lost."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import requests

from servers.parts import Check, Options, at_most
from servers.service import SLOW, Deployment

_JOBS = 50
_CLIENTS = 4
#: So many jobs are submitted, and so many of them completed, before the fault begins.
_BEFORE, _COMPLETED = 20, 3
#: How often clients submit during the fault; seconds.
_PAUSE = 1.0
_READY_SECONDS = 5.0
#: How long after the fault all jobs may take to end.
_REST_SECONDS = 240.0


@dataclass
class Outage:
    """What is expected of one fault."""

    #: The end of sentences, such as "while Postgres is read-only".
    when: str
    #: Makes the fault for the block.
    fault: Callable[[], AbstractContextManager[object]]
    #: What /readyz says meanwhile.
    readyz: str
    #: The statuses that a submission may get meanwhile.
    submit: frozenset[int]
    #: Counts the stored videos; those in the folder of the deployment by default.
    videos: Callable[[], int] | None = None
    #: How long it lasts, if not as long as the options say; seconds.
    seconds: float | None = None


@dataclass
class _Seen:
    """What the clients were told."""

    job_ids: set[str] = field(default_factory=set)
    #: Refusals without Retry-After, and responses that are neither 202 nor 503.
    wrong: list[str] = field(default_factory=list)
    during: set[int] = field(default_factory=set)


def outage_checks(deployment: Deployment, options: Options, outage: Outage) -> Iterator[Check]:
    """Submits fifty jobs, has the fault happen in their middle, and yields what was found."""
    count = outage.videos or deployment.videos
    videos, bugs, seen = count(), len(deployment.bugs()), _Seen()
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(lambda _: _submit(deployment, seen, threading.Event()), range(_BEFORE)))
        _await_completed(deployment, seen)
        over = threading.Event()
        with outage.fault():
            began = time.monotonic()
            waiting = [clients.submit(_submit, deployment, seen, over, True) for _ in range(_JOBS - _BEFORE)]
            told = deployment.until_says(outage.readyz, 20.0)
            over.wait(max(0.0, (outage.seconds or options.seconds) - (time.monotonic() - began)))
            over.set()
        for one in waiting:
            one.result()
        recovered = deployment.until_says("ready")
    yield at_most(f"/readyz says {outage.readyz} {outage.when}, after seconds", _READY_SECONDS, told)
    expected = sorted(seen.during & outage.submit)
    yield Check(f"submissions {outage.when} get {_or(outage.submit)}", expected or "one", sorted(seen.during))
    yield Check(f"each refusal {outage.when} has Retry-After", [], seen.wrong[:3])
    yield at_most("/readyz is well again after seconds", 30.0, recovered)
    ended = _states(deployment, seen)
    yield Check(f"all jobs around the fault complete ({outage.when})", {"completed": _JOBS}, ended)
    yield Check(f"no video without a job is left ({outage.when})", _JOBS, count() - videos)
    yield Check(f"the log names no bug ({outage.when})", [], deployment.bugs()[bugs:][:3])


def _submit(deployment: Deployment, seen: _Seen, over: threading.Event, during: bool = False) -> None:
    """Repeats a submission until it is accepted, with one Idempotency-Key."""
    key = str(uuid.uuid4())
    while True:
        meanwhile = during and not over.is_set()
        try:
            answer = deployment.submit(SLOW, key)
        except requests.RequestException as error:
            seen.wrong.append(type(error).__name__)
            over.wait(_PAUSE)
            continue
        if meanwhile:
            seen.during.add(answer.status_code)
        if answer.status_code == 202:
            seen.job_ids.add(answer.json()["job_id"])
            if during:
                over.wait(_PAUSE)
            return
        if not answer.headers.get("Retry-After", "").isdigit():
            seen.wrong.append(f"{answer.status_code} {answer.json().get('code')} without Retry-After")
        if not during:
            return
        time.sleep(_PAUSE)


def _await_completed(deployment: Deployment, seen: _Seen) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        states = [deployment.state(job_id)["status"] for job_id in seen.job_ids]
        if states.count("completed") >= _COMPLETED:
            return
        time.sleep(0.1)


def _states(deployment: Deployment, seen: _Seen) -> dict[str, int]:
    deadline = time.monotonic() + _REST_SECONDS
    states: Counter[str] = Counter()
    for job_id in seen.job_ids:
        left = max(0.0, deadline - time.monotonic())
        states[str(deployment.ended(job_id, left)["status"])] += 1
    return dict(states)


def _or(statuses: frozenset[int]) -> str:
    return " or ".join(map(str, sorted(statuses)))
