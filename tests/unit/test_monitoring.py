"""The shipped dashboard and alert rules speak of metrics, labels and values that exist."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from platform import python_version
from typing import Any

import promql_parser
import pytest
from promql_parser import AggregateExpr, Expr, MatchOp, VectorSelector
from ruamel.yaml import YAML

from service.runtime.metrics import Metrics
from tests.support.observed import BUILD_INFO, PREFIX, SPECIFIED
from tests.support.sources import ROOT

DEPLOY = ROOT / "deploy"
RULES = YAML(typ="safe").load(DEPLOY / "prometheus" / "alerts.yml")
SCRAPES = YAML(typ="safe").load(DEPLOY / "prometheus" / "prometheus.yml")
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "ext-scheduler.json").read_text())
RUNBOOKS = (ROOT / "docs" / "alerts.md").read_text()
OWN_LABELS = {"job", "instance"}
"""What Prometheus itself puts on every series."""


def known() -> dict[str, set[str]]:
    """Return the labels of every series that the registry can give, and of Prometheus' own."""
    found: dict[str, set[str]] = {
        "up": OWN_LABELS,
        BUILD_INFO: {"version", "python", *OWN_LABELS},
    }
    for family in Metrics().registry.collect():
        if family.name == BUILD_INFO:
            continue
        short = family.name.removeprefix(PREFIX)
        labels = SPECIFIED.get(short, SPECIFIED.get(f"{short}_total", {}))
        series = {*labels, *OWN_LABELS}
        suffixes = {"counter": ["_total"], "histogram": ["_sum", "_count", "_bucket"]}
        for suffix in suffixes.get(family.type, [""]):
            found[family.name + suffix] = series | ({"le"} if suffix == "_bucket" else set())
    return found


KNOWN = known()


def alerts() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def queries() -> list[tuple[str, str]]:
    """Title and PromQL of every panel."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "5m"))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


def parts(expression: str, kind: type[Any]) -> list[Any]:
    found = []

    def visit(node: Expr) -> None:
        if isinstance(node, kind):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def complaints(expression: str) -> Iterator[str]:
    """Yield what of an expression does not exist."""
    labels = set[str]()
    for selector in parts(expression, VectorSelector):
        if selector.name not in KNOWN:
            yield f"no metric {selector.name}"
            continue
        labels |= KNOWN[selector.name]
        for matcher in selector.matchers.matchers:
            if matcher.name not in KNOWN[selector.name]:
                yield f"{selector.name} has no label {matcher.name}"
            elif not set(values(matcher)) <= possible(selector.name, matcher.name):
                yield f"{matcher.name} is never {matcher.value}"
    for aggregation in parts(expression, AggregateExpr):
        if aggregation.modifier is not None:
            yield from (f"no label {name}" for name in set(aggregation.modifier.labels) - labels)


def values(matcher: Any) -> list[str]:
    """Return the values that a matcher is for; of a pattern, its alternatives."""
    return matcher.value.split("|") if matcher.op == MatchOp.Re else [matcher.value]


def possible(metric: str, label: str) -> set[str]:
    if label == "job":
        jobs = {scrape["job_name"] for scrape in SCRAPES["scrape_configs"]}
        return {*jobs, "ext-scheduler-.+"}
    return SPECIFIED[re.sub("_(sum|count|bucket)$", "", metric.removeprefix(PREFIX))][label]


def test_the_documented_metrics_are_those_of_the_registry() -> None:
    ours = {name for name in KNOWN if name.startswith(PREFIX)}
    listed = {re.sub("_(sum|count|bucket)$", "", name.removeprefix(PREFIX)) for name in ours}
    assert listed == set(SPECIFIED)


def test_the_build_is_a_metric_of_every_process() -> None:
    (sample,) = next(
        family.samples for family in Metrics().registry.collect() if family.name == BUILD_INFO
    )
    assert sample.labels == {"version": version("ext-scheduler"), "python": python_version()}
    assert sample.value == 1


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_uses_existing_metrics_and_is_explained(rule: dict[str, Any]) -> None:
    assert list(complaints(rule["expr"])) == []
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    section = f"alerts.md#{rule['alert'].lower()}"
    # Without the label it is the path in the repository.
    assert annotations["runbook_url"] == '{{ or $externalLabels.docs "docs" }}/' + section
    assert f"\n## {rule['alert']}\n\n" in RUNBOOKS


@pytest.mark.parametrize(("title", "expression"), queries())
def test_every_panel_uses_existing_metrics(title: str, expression: str) -> None:
    assert list(complaints(expression)) == [], title


def test_the_dashboard_shows_every_metric() -> None:
    shown = {
        selector.name for _, query in queries() for selector in parts(query, VectorSelector)
    } | {selector.name for rule in alerts() for selector in parts(rule["expr"], VectorSelector)}
    listed = {re.sub("_(sum|count|bucket)$", "", name.removeprefix(PREFIX)) for name in shown}
    assert set(SPECIFIED) - listed == set()


def test_the_panels_do_not_overlap_and_have_a_data_source_that_is_provisioned() -> None:
    places = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    sources = YAML(typ="safe").load(
        DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    )
    (variable,) = DASHBOARD["templating"]["list"]
    assert variable["current"]["value"] == sources["datasources"][0]["uid"]


@pytest.mark.parametrize(
    "expression",
    [
        "extension_scheduler_run_total",
        "sum by (tenant) (extension_scheduler_runs_total)",
        'rate(extension_scheduler_runs_total{state="error"}[5m])',
        'rate(extension_scheduler_runs_total{status=~"error|failed"}[5m])',
        "max_over_time(max(extension_scheduler_depth)[5m:1m])",
        'up{job="scheduler"}',
    ],
)
def test_a_planted_mistake_is_reported(expression: str) -> None:
    assert list(complaints(expression))
