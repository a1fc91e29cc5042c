"""The page on metrics and the alert rules name exactly what /metrics has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from flask.testing import FlaskClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "metrics.md").read_text()
RULES = [
    rule for group in yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
#: Made by Prometheus for each target.
_OF_PROMETHEUS = {"up": {"job", "instance"}}


@pytest.fixture
def families(client: FlaskClient) -> list[Metric]:
    return list(text_string_to_metric_families(client.get("/metrics").get_data(as_text=True)))


def test_the_page_has_a_row_for_each_metric(families: list[Metric]) -> None:
    rows = re.findall(r"^\| `(videoqueue_\w+)` \| (\w+) \|([^|]*)\| (.+) \|$", PAGE, re.MULTILINE)
    shown = [
        (
            f"{family.name}_total" if family.type == "counter" else family.name,
            family.type,
            ", ".join(f"`{name}`" for name in sorted({*family.samples[0].labels} - {"le"})),
            family.documentation,
        )
        for family in families
    ]
    assert [(name, kind, labels.strip(), about) for name, kind, labels, about in rows] == shown


def test_the_page_names_the_buckets(families: list[Metric]) -> None:
    (said,) = re.findall(r"buckets of histograms end at ([\d, and]+) seconds", PAGE)
    bounds = {
        float(sample.labels["le"])
        for family in families
        for sample in family.samples
        if "le" in sample.labels
    }
    assert {float(bound) for bound in re.findall(r"\d+", said)} == bounds - {float("inf")}


def test_the_page_names_every_value_of_a_label(families: list[Metric]) -> None:
    values = {
        sample.labels[name]
        for family in families
        for sample in family.samples
        for name in ("kind", "outcome")
        if name in sample.labels
    }
    assert [value for value in values if f"`{value}`" not in PAGE] == []


def test_the_page_has_a_row_for_each_alert() -> None:
    rows = re.findall(r"^\| `(Videoqueue\w+)` \|", PAGE, re.MULTILINE)
    assert rows == [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_series_that_exist(rule: dict[str, str], families: list[Metric]) -> None:
    samples = [sample for family in families for sample in family.samples]
    selectors = re.findall(r"\b(videoqueue_\w+|up)\b(?:\{([^}]*)\})?", rule["expr"])
    assert selectors
    for name, matchers in selectors:
        for label, operator, value in re.findall(r'(\w+)(=~?)"([^"]*)"', matchers):
            if name in _OF_PROMETHEUS:
                assert label in _OF_PROMETHEUS[name]
                continue
            values = value.split("|") if operator == "=~" else [value]
            for one in values:
                assert [s for s in samples if s.name == name and s.labels.get(label) == one], (name, one)
        if name not in _OF_PROMETHEUS:
            assert name in {sample.name for sample in samples}
    known = {label for sample in samples for label in sample.labels} | {"instance", "job"}
    grouped = re.findall(r"\b(?:by|without|ignoring) \(([\w, ]+)\)", rule["expr"])
    assert {label.strip() for group in grouped for label in group.split(",")} <= known
