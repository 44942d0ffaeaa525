"""The alerts and the dashboard in `deploy/` ask for what a server tells, and the pages explain them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from streamsim.cli.top import Look, parse
from tests.support import ROOT, Server

RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "streamsim.json").read_text())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
# What Prometheus adds to each sample, and what it tells of each target by itself.
ADDED = {"job", "instance"}
OF_PROMETHEUS = {"up": {*ADDED}}
DOCUMENTED = {
    name: set(filter(None, labels.split(",")))
    for names in re.findall(r"^\| (`(?:streamsim|bptk)_.*?`) \|", OPERATIONS, re.MULTILINE)
    for name, labels in re.findall(r"`(\w+)(?:\{([\w,]+)\})?`", names)
}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """What a server tells that has answered calls, some of them wrong."""
    with Server(tmp_path_factory.mktemp("server")) as server:
        admin = server.admin()
        experiment = admin.post(
            "/exp", {"name": "a", "get_action": "self.action['arm'] = 1", "set_reward": "pass"}
        ).body
        for key in (experiment["key"], "wrong"):
            admin.get(f"/getaction/{experiment['id']}", key=key)
            admin.get(f"/setreward/{experiment['id']}", key=key, action='{"arm": 1}', reward="1")
        text = admin.get("/metrics").body
    look = parse(text)
    # Those without a sample yet have a heading.
    names = re.findall(r"^# TYPE (\w+) \w+$", text, re.MULTILINE)
    return Look(0.0, {**{name: {} for name in names}, **look.samples})


def labels_of(metrics: Look, name: str) -> set[str] | None:
    """The labels of a metric's samples; None if there is no such metric."""
    if name in OF_PROMETHEUS:
        return OF_PROMETHEUS[name]
    if name not in metrics.samples:
        return None
    told = {label for labels in metrics.samples[name] for label, _ in labels}
    return told | DOCUMENTED.get(name, set()) | ADDED


def wrong(expression: str, metrics: Look) -> list[str]:
    """What an expression asks for and the server does not tell.

    :raises ValueError: it is no PromQL.
    """
    found: list[str] = []
    known: set[str] = set()
    grouped: set[str] = set()

    def visit(part: Any) -> None:
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier:
            grouped.update(part.modifier.labels)
        if isinstance(part, promql_parser.VectorSelector):
            name = part.name or ""
            labels = labels_of(metrics, name)
            if labels is None:
                found.append(f"no metric {part.name}")
                return
            known.update(labels)
            for matcher in part.matchers.matchers:
                if matcher.name not in labels:
                    found.append(f"no label {matcher.name} of {part.name}")
                if matcher.name == "route":
                    routes = {dict(one)["route"] for one in metrics.samples[name]}
                    if not any(re.fullmatch(matcher.value, route) for route in routes):
                        found.append(f"no route {matcher.value}")

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found + [f"no label {label} to group by" for label in sorted(grouped - known)]


def families(metrics: Look) -> dict[str, set[str]]:
    """The metrics by name with the labels that were seen; a histogram is one."""
    histograms = {name.removesuffix("_bucket") for name in metrics.samples if name.endswith("_bucket")}
    found: dict[str, set[str]] = {}
    for name, samples in metrics.samples.items():
        if not name.endswith("_created"):
            whole = re.sub(r"_(bucket|count|sum)$", "", name)
            own = found.setdefault(whole if whole in histograms else name, set())
            own.update(label for labels in samples for label, _ in labels if label != "le")
    return found


def queries() -> Iterator[str]:
    """The expressions of the dashboard, with an interval where Grafana puts one."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_a_server_tells(rule: dict[str, Any], metrics: Look) -> None:
    assert wrong(rule["expr"], metrics) == []
    # The labels that its text shows are those that its expression leaves.
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    left = set(re.findall(r"\w+", " ".join(re.findall(r"by \((.*?)\)", rule["expr"])))) or ADDED
    assert shown <= left
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_dashboard_asks_for_what_a_server_tells(metrics: Look) -> None:
    expressions = list(queries())
    assert len(expressions) >= 20
    assert {expression: wrong(expression, metrics) for expression in expressions} == {
        expression: [] for expression in expressions
    }


def test_what_a_server_does_not_tell_is_found(metrics: Look) -> None:
    assert wrong("rate(streamsim_lanes[5m])", metrics) == ["no metric streamsim_lanes"]
    assert wrong('sum by (user) (streamsim_commits_total{kind="a"})', metrics) == [
        "no label kind of streamsim_commits_total",
        "no label user to group by",
    ]
    assert wrong('streamsim_http_requests_total{route=~"/getaction"}', metrics) == ["no route /getaction"]
    with pytest.raises(ValueError, match="unclosed"):
        wrong("sum(streamsim_lane_depth", metrics)


def test_the_dashboard_shows_every_metric(metrics: Look) -> None:
    shown = " ".join(queries())
    names = set(families(metrics))
    assert len(names) >= 14
    assert {name for name in names if not re.search(rf"\b{name}(_bucket)?\b", shown)} == set()


def test_panels_lie_beside_each_other_and_have_numbers_of_their_own() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {
            (column, row)
            for column in range(at["x"], at["x"] + at["w"])
            for row in range(at["y"], at["y"] + at["h"])
        }
        assert not own & cells
        assert max(column for column, _ in own) < 24
        cells |= own


def test_every_metric_is_documented_with_its_labels(metrics: Look) -> None:
    told = families(metrics)
    assert set(DOCUMENTED) == set(told)
    for name, labels in told.items():
        assert labels == DOCUMENTED[name] or (not labels and not metrics.samples[name])


def test_every_alert_is_explained_and_no_other() -> None:
    section = OPERATIONS.partition("### Alerts\n")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", section, re.MULTILINE)
    assert explained == [rule["alert"] for rule in RULES]


def test_what_the_pages_name_for_prometheus_and_grafana_is_there() -> None:
    for name in ("deploy/prometheus/alerts.yml", "deploy/grafana/streamsim.json"):
        assert f"`{name}`" in OPERATIONS
        assert Path(ROOT, name).is_file()
