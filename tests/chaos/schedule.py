"""Which fault comes when: a pure function of the seed, so that a run can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.chaos.service import WORKERS

#: Kinds of fault and how often each is drawn, against the others.
WEIGHTS = {
    "kill child": 6,
    "kill worker": 5,
    "kill master": 2,
    "kill web worker": 3,
    "kill web master": 1,
    "freeze child": 1,
    "freeze worker": 2,
    "freeze at step": 3,
    "flush queue": 2,
    "kill valkey": 1.5,
    "crash database": 2,
    "cut": 2,
    "down": 1,
    "delay": 1,
    "eat replies": 1.5,
    "eat commit": 2,
}
#: What needs a database server.
POSTGRES_ONLY = ("crash database", "eat commit")
#: Where a worker does most harm if it wakes up and believes that it still owns its job.
_STEPS = ("worker.before_complete", "worker.before_complete", "worker.chunk_committed", "worker.claimed")
#: Seconds between two faults, on average.
PAUSE_SECONDS = 2.5


@dataclass(frozen=True)
class Fault:
    """`at`: seconds after the start. `where`: a worker, a proxy or a step. `seconds`: how long it lasts."""

    at: float
    kind: str
    where: str
    seconds: float


def plan(
    seed: int, seconds: float, database: str, pause: float = PAUSE_SECONDS, storage: str = "folder"
) -> list[Fault]:
    """The faults of a run of that length, in order."""
    dice = random.Random(seed)
    kinds = [kind for kind in WEIGHTS if database == "postgres" or kind not in POSTGRES_ONLY]
    proxies = (
        ["web", "queue", "receiver"]
        + ["database"] * (database == "postgres")
        + ["storage"] * (storage == "s3")
    )
    faults = []
    at = dice.uniform(0, pause)
    while at < seconds:
        kind = dice.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        if kind == "freeze at step":
            where = dice.choice(_STEPS)
        elif kind in ("cut", "down", "delay", "eat replies"):
            where = dice.choice(proxies)
        else:
            where = dice.choice(WORKERS)
        faults.append(Fault(round(at, 3), kind, where, round(dice.uniform(0.2, 1.5), 3)))
        at += dice.uniform(0.2 * pause, 1.8 * pause)
    return faults
