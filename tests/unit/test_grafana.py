"""`deploy/`: Grafana's dashboard and Prometheus' rules speak of metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from bsgateway.telemetry.families import FAMILIES, Family

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "bsgateway.json").read_text(encoding="utf-8"))
RULES: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "bsgateway.rules.yml").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]

OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus gives every series."""
NOT_PLOTTED = {
    "bsgateway_opted_out_total",
    "bsgateway_log_unlogged_rows_total",
    "bsgateway_embedded_texts_total",
    "bsgateway_memo_evictions_total",
    "bsgateway_sessions",
    "bsgateway_llm_ready",
    "bsgateway_llm_memo_entries",
    "bsgateway_dual_runs_queued",
}
VARIABLES = {"$__rate_interval": "5m", "$__range": "6h"}
"""What Grafana puts in before Prometheus sees it, beside the dashboard's own, which stand in quotes."""


def series() -> dict[str, tuple[Family, set[str]]]:
    """Name in a query -> the family, and the labels it has."""
    found = {}
    for family in FAMILIES:
        labels = {*family.labels, *OF_PROMETHEUS}
        if family.kind == "histogram":
            found |= {family.name + suffix: (family, labels) for suffix in ("_count", "_sum")}
            found[f"{family.name}_bucket"] = family, labels | {"le"}
        else:
            found[family.name] = family, labels
    return found


SERIES = series()


def parsed(query: str) -> promql_parser.Expr:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return promql_parser.parse(query)


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """All series that an expression selects."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield from selectors(node.vector_selector)
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from selectors(node.lhs)
        yield from selectors(node.rhs)
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from selectors(argument)
    elif isinstance(node, (promql_parser.AggregateExpr, promql_parser.ParenExpr, promql_parser.SubqueryExpr)):
        yield from selectors(node.expr)
    else:
        assert isinstance(node, (promql_parser.NumberLiteral, promql_parser.StringLiteral)), type(node)


def aggregations(node: Any) -> Iterator[promql_parser.AggregateExpr]:
    """All aggregations of an expression."""
    if isinstance(node, promql_parser.AggregateExpr):
        yield node
    for inner in (
        getattr(node, "expr", None),
        getattr(node, "lhs", None),
        getattr(node, "rhs", None),
        *(getattr(node, "args", None) or ()),
    ):
        if inner is not None:
            yield from aggregations(inner)


def calls(node: Any) -> Iterator[promql_parser.Call]:
    """All calls of functions in an expression."""
    if isinstance(node, promql_parser.Call):
        yield node
    for inner in (
        getattr(node, "expr", None),
        getattr(node, "lhs", None),
        getattr(node, "rhs", None),
        *(getattr(node, "args", None) or ()),
    ):
        if inner is not None:
            yield from calls(inner)


QUERIES = [(f"{title} {target['refId']}", target["expr"]) for title, target in TARGETS]
QUERIES += [(alert["alert"], alert["expr"]) for alert in ALERTS]


def problems(query: str) -> list[str]:
    """What is wrong with a query: names and labels that there are not, counters that are not taken as such."""
    expression = parsed(query)
    found = []
    for selector in selectors(expression):
        if selector.name not in SERIES:
            found.append(f"no metric {selector.name}")
            continue
        labels = SERIES[selector.name][1]
        found += [f"no label {m.name} of {selector.name}" for m in selector.matchers.matchers if m.name not in labels]
    for aggregation in aggregations(expression):
        if aggregation.modifier is not None:
            inside = [SERIES[each.name][1] for each in selectors(aggregation.expr) if each.name in SERIES]
            by = aggregation.modifier.labels
            found += [f"by {label}" for label in by if not all(label in labels for labels in inside)]
    ranged = {
        each.name for call in calls(expression) for each in selectors(call) if call.func.name in ("rate", "increase")
    }
    for selector in selectors(expression):
        if selector.name in SERIES and (SERIES[selector.name][0].kind == "gauge") is (selector.name in ranged):
            found.append(f"{selector.name} is a {SERIES[selector.name][0].kind}")
    return found


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_a_query_asks_for_what_there_is(name: str, query: str) -> None:
    assert problems(query) == []


@pytest.mark.parametrize(
    "query",
    [
        "sum(rate(bsgateway_decision_total[5m]))",
        'sum(rate(bsgateway_decisions_total{user="x"}[5m]))',
        "sum by (user) (rate(bsgateway_decisions_total[5m]))",
        "sum(bsgateway_decisions_total)",
        "sum(rate(bsgateway_sessions[5m]))",
        "sum(rate(bsgateway_decision_duration_seconds[5m]))",
        "histogram_quantile(0.5, sum by (le) (rate(bsgateway_decision_duration_seconds_sum[5m])))",
    ],
)
def test_a_mistake_in_a_query_is_found(query: str) -> None:
    assert problems(query)


def test_what_a_legend_names_is_left_of_the_query() -> None:
    for title, target in TARGETS:
        named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        by = {label for each in aggregations(parsed(target["expr"])) if each.modifier for label in each.modifier.labels}
        assert named <= by, title


def test_every_metric_is_plotted_or_known_not_to_be() -> None:
    plotted = {SERIES[each.name][0].name for _, target in TARGETS for each in selectors(parsed(target["expr"]))}
    assert plotted | NOT_PLOTTED == {family.name for family in FAMILIES}
    assert plotted.isdisjoint(NOT_PLOTTED)


def test_the_data_source_is_whichever_the_viewer_chooses() -> None:
    def sources(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            yield from ([value["datasource"]] if "datasource" in value else [])
            for inner in value.values():
                yield from sources(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from sources(inner)

    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources(DASHBOARD))
    kinds = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "job": "query"}
    assert "uid" not in DASHBOARD
    assert "id" not in DASHBOARD  # Grafana would take both for a dashboard that it has already


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_alerts_say_what_is_the_matter() -> None:
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)
    for alert in ALERTS:
        assert set(alert["annotations"]) == {"summary", "description"}
        assert alert["labels"]["severity"] in ("warning", "critical")
        named = set(re.findall(r"\$labels\.(\w+)", json.dumps(alert["annotations"])))
        by = {label for each in aggregations(parsed(alert["expr"])) if each.modifier for label in each.modifier.labels}
        assert named <= by


def test_the_scrape_asks_the_route_of_the_metrics() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    [job] = scrape["scrape_configs"]
    assert job["metrics_path"] == "/bsgateway/metrics"
    assert job["authorization"]["type"] == "Bearer"
    assert scrape["rule_files"] == ["bsgateway.rules.yml"]
