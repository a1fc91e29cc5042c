"""The endpoint for Prometheus. Every web process shows the same numbers, because all are in the database.

Formats: the text format 0.0.4 of Prometheus, or OpenMetrics 1.0.0 for a client that prefers it
(https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Final

from flask import Blueprint, Response, current_app, request
from prometheus_client import exposition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from videoqueue.api.extension import services_of
from videoqueue.api.operations import ALWAYS, COMMON, DATABASE, Operation, operation
from videoqueue.jobs.counters import Labels
from videoqueue.jobs.measures import BOUNDS, COUNTERS, HISTOGRAMS, Measure
from videoqueue.jobs.metrics import Snapshot, snapshot

blueprint = Blueprint("metrics", __name__)

_TEXT: Final = "text/plain"
_OPENMETRICS: Final = "application/openmetrics-text"
#: The unit of a metric is the last part of its name.
_UNITS: Final = ("seconds", "bytes")


@blueprint.get("/metrics")
@operation(
    Operation(
        scope="metrics",
        summary="Get metrics for Prometheus",
        description="Counters are exact and survive restarts. Every web process shows the same numbers. The "
        f"format is {_OPENMETRICS} if the header Accept names it before {_TEXT}.",
        responses={
            "200": {
                "description": "The metrics.",
                "headers": COMMON,
                "content": {kind: {"schema": {"type": "string"}} for kind in (_TEXT, _OPENMETRICS)},
            }
        },
        problems=(*DATABASE, *ALWAYS),
    )
)
def metrics() -> Response:
    """Returns all metrics."""
    services = services_of(current_app)
    found = snapshot(services.engine, services.settings.worker_silence_seconds)
    registry = _Registry(found, sorted(services.pipelines))
    if _prefers_openmetrics():
        body = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        kind = openmetrics.CONTENT_TYPE_LATEST
    else:
        body, kind = exposition.generate_latest(registry), exposition.CONTENT_TYPE_PLAIN_0_0_4
    return Response(body, content_type=kind, headers={"Cache-Control": "no-store", "Vary": "Accept"})


def _prefers_openmetrics() -> bool:
    """Returns whether the client prefers OpenMetrics to text; the first of two that it likes equally."""
    wanted = {_TEXT: 0.0, _OPENMETRICS: 0.0}
    order = []
    for item in request.headers.get("Accept", "").split(","):
        kind, _, parameters = item.strip().partition(";")
        if (kind := kind.strip().lower()) in wanted:
            wanted[kind] = max(wanted[kind], _quality(parameters))
            order.append(kind)
    return bool(order) and max(order, key=wanted.__getitem__) == _OPENMETRICS and wanted[_OPENMETRICS] > 0


def _quality(parameters: str) -> float:
    """Returns the value of `q` (RFC 9110, section 12.4.2), and 1 if there is none."""
    found = re.search(r"(?:^|;)\s*q=([01](?:\.[0-9]{0,3})?)\s*(?:;|$)", parameters, re.IGNORECASE)
    return float(found[1]) if found else 1.0


class _Registry(Collector):
    """The metrics of one response."""

    def __init__(self, found: Snapshot, pipelines: Sequence[str]) -> None:
        self._found = found
        self._pipelines = pipelines

    def collect(self) -> Iterator[Metric]:
        """Yields every metric with its samples."""
        yield from _gauges(self._found)
        for measure in COUNTERS:
            yield self._counter(measure)
        for measure in HISTOGRAMS:
            yield self._histogram(measure)
        yield InfoMetricFamily(
            "videoqueue_build",
            "The version of videoqueue and of Python in this web process.",
            {"version": _VERSION, "python": platform.python_version()},
        )

    def _counter(self, measure: Measure) -> Metric:
        values = self._found.counters.get(measure.name, {})
        name = f"videoqueue_{measure.name}"
        family = CounterMetricFamily(name, measure.about, labels=list(measure.labels), unit=_unit(name))
        for labels in self._series(measure, values):
            family.add_metric(labels, values.get(labels, 0) / measure.unit)
        return family

    def _histogram(self, measure: Measure) -> Metric:
        buckets = self._found.counters.get(f"{measure.name}_bucket", {})
        sums = self._found.counters.get(f"{measure.name}_sum", {})
        name = f"videoqueue_{measure.name}"
        family = HistogramMetricFamily(name, measure.about, labels=list(measure.labels), unit=_unit(name))
        for labels in self._series(measure, sums):
            counts = {float(key[-1]): count for key, count in buckets.items() if key[:-1] == labels}
            family.add_metric(labels, _cumulated(counts), sums.get(labels, 0) / measure.unit)
        return family

    def _series(self, measure: Measure, values: Mapping[Labels, int]) -> list[Labels]:
        """Returns the labels that were counted, and those that will be: a counter is known to begin at 0."""
        known = (self._pipelines if name == "pipeline" else values for name, values in measure.labels.items())
        return sorted({*product(*known), *values})


def _gauges(found: Snapshot) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("videoqueue_jobs", "Jobs in each state.", labels=["status"])
    for status, count in found.jobs.items():
        jobs.add_metric([status], count)
    yield jobs
    for name, about, value in (
        (
            "oldest_pending_job_age_seconds",
            "Time since the submission of the oldest pending job; 0 when no job is pending.",
            found.oldest_pending_seconds,
        ),
        ("workers", "Worker processes that are alive.", found.workers),
        ("worker_threads", "Jobs that the live workers can run at once.", found.worker_threads),
        (
            "stored_video_bytes",
            "Sizes of all stored videos. A video that a retry shares counts once.",
            found.stored_video_bytes,
        ),
    ):
        name = f"videoqueue_{name}"
        yield GaugeMetricFamily(name, about, value, unit=_unit(name))
    events = GaugeMetricFamily(
        "videoqueue_webhook_events", "Webhook events that are not delivered.", labels=["state"]
    )
    events.add_metric(["waiting"], found.webhooks_waiting)
    events.add_metric(["given_up"], found.webhooks_given_up)
    yield events


def _cumulated(counts: Mapping[float, int]) -> list[tuple[str, float]]:
    """Returns each upper bound with the number of observations up to it."""
    return [
        (
            f"{bound:.1f}" if bound < math.inf else "+Inf",
            sum(n for upper, n in counts.items() if upper <= bound),
        )
        for bound in (*BOUNDS, math.inf)
    ]


def _unit(name: str) -> str:
    unit = name.rpartition("_")[2]
    return unit if unit in _UNITS else ""


def _installed() -> str:
    try:
        return version("videoqueue")
    except PackageNotFoundError:
        return "unknown"  # it runs from a checkout


_VERSION: Final = _installed()
