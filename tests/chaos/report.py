"""The figures of a run."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from tests.chaos.client import Observed, Submitted
from tests.chaos.faults import Damage, Kill
from tests.chaos.service import ChaosService
from tests.chaos.transitions import DELETED

_SECOND = 1_000_000


#: For each kind of kill: seconds to the next claim of the job it hit, and to its next stored frame.
Recoveries: TypeAlias = dict[str, tuple[list[float], list[float]]]


def recoveries(service: ChaosService, kills: Sequence[Kill]) -> Recoveries:
    """From the log: a job that ended in the moment of the kill had nothing to recover from."""
    logged, chunks = service.log.by_job(), service.log.chunks()
    found: Recoveries = {}
    for kill in kills:
        for job_id in kill.jobs:
            claimed = _next((t.at for t in logged[job_id] if t.after == "running"), kill.at)
            if claimed is None:
                continue
            claims, frames = found.setdefault(kill.kind, ([], []))
            claims.append(claimed)
            if (stored := _next(chunks[job_id], kill.at + round(claimed * _SECOND))) is not None:
                frames.append(claimed + stored)
    return found


def _next(times: Iterable[int], since: int) -> float | None:
    later = [at for at in times if at > since]
    return (min(later) - since) / _SECOND if later else None


def lines(
    service: ChaosService,
    submitted: Sequence[Submitted],
    observed: Observed,
    damage: Damage,
    broken: Sequence[str],
) -> list[str]:
    """The report, a fact a line."""
    good = [one for one in submitted if one.submission.golden is not None]
    refused = [one for one in submitted if one.job_id is None]
    kinds = Counter(damage.done)
    lost = sum("LOST" in line for line in broken)
    double = sum("terminal transitions" in line or "undisturbed" in line for line in broken)
    return [
        f"submitted    {len(submitted)}: {len(good)} good, {len(submitted) - len(good)} hostile "
        f"({len(refused)} refused at submit)",
        f"requests     {sum(one.tries for one in submitted)} submissions for them, "
        f"{observed.broken_connections} broken connections",
        _deletions(service, submitted),
        f"kills        {len(damage.kills)}",
        *(f"  {kind:17}{count}" for kind, count in sorted(kinds.items())),
        f"attempts     {sum(1 for t in service.log.transitions() if t.after == 'running')} claims "
        f"of {len({one.job_id for one in submitted if one.job_id})} jobs",
        _webhooks(service),
        f"lost         {lost}",
        f"double       {double}",
        *recovery_lines(recoveries(service, damage.kills)),
        f"status       {_spread(observed.status_seconds, 'answered')}",
        f"broken       {len(broken)}",
        *(f"  {line}" for line in broken),
    ]


def _deletions(service: ChaosService, submitted: Sequence[Submitted]) -> str:
    states = Counter(one.before for one in service.log.transitions() if one.after == DELETED)
    each = ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=str))
    retried = sum(not one.key for one in submitted)
    return f"deleted      {states.total()} jobs ({each}); {retried} failed jobs retried"


def _webhooks(service: ChaosService) -> str:
    told = service.receiver.told
    accepted = [one for one in told if one.accepted]
    jobs = len({one.job_id for one in accepted})
    return f"webhooks     {len(told)} arrived, {len(accepted)} accepted, of {jobs} jobs"


def recovery_lines(found: Recoveries) -> list[str]:
    claims = [seconds for pair in found.values() for seconds in pair[0]]
    frames = [seconds for pair in found.values() for seconds in pair[1]]
    return [
        f"recovery     next claim: {_spread(claims, 'kills')}",
        f"             next frame: {_spread(frames, 'kills')}",
        *(
            f"  {kind:17}claim {_spread(pair[0], 'kills')}; frame {_spread(pair[1], 'kills')}"
            for kind, pair in sorted(found.items())
        ),
    ]


def _spread(values: Sequence[float], what: str) -> str:
    if not values:
        return f"none {what}"
    return f"median {statistics.median(values):.2f} s, maximum {max(values):.2f} s ({len(values)} {what})"
