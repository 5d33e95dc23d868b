"""What Prometheus and Grafana ask: every question is about a figure that exists, and every alert is tested."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plantain.operators.health import HealthState
from plantain.pipeline.engine.metrics import METRICS, MetricKind
from tests.prometheus_server import promtool, why_missing

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in read(DEPLOY / "prometheus" / "rules.yml")["groups"] for rule in group["rules"]]


def known_series() -> dict[str, set[str]]:
    """Every series that may be asked for, with its labels."""
    series: dict[str, set[str]] = {"up": {"job", "instance"}}
    for metric in METRICS:
        labels = {*metric.labels, "job", "instance"}
        if metric.kind is MetricKind.HISTOGRAM:
            series[f"{metric.name}_bucket"] = labels | {"le"}
            series[f"{metric.name}_sum"] = series[f"{metric.name}_count"] = labels
        else:
            series[metric.name] = labels
    for rule in rules():
        if "record" in rule:
            series[rule["record"]] = set.union(*(labels for _, labels in asked(rule["expr"], series)))
    return series


def asked(expression: str, series: dict[str, set[str]]) -> Iterator[tuple[str, set[str]]]:
    """The series of an expression, with the labels that they have."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    for name in re.findall(r"\b(?:plantain[_:][a-z0-9_:]*|up)\b", bare):
        assert name in series, f"{name} does not exist: {expression}"
        yield name, series[name]


def assert_exists(expression: str, series: dict[str, set[str]]) -> None:
    """Every series exists, is filtered by labels that it has, and is grouped by labels that some series has."""
    found = dict(asked(expression, series))
    assert found, f"nothing of Plantain's is asked for: {expression}"
    bare = re.sub(r'"[^"]*"', '""', expression)
    for name, selector in re.findall(r"\b(plantain[_:][a-z0-9_:]*|up)\{([^}]*)\}", bare):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector):
            assert label in series[name], f"{name} has no label {label}: {expression}"
    for labels in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", bare):
        for label in filter(None, map(str.strip, labels.split(","))):
            assert any(label in has for has in found.values()), f"nothing has a label {label}: {expression}"


def queries(dashboard: Path) -> list[tuple[str, str]]:
    """Each panel's title and question, with Grafana's variables filled in."""
    board = json.loads(dashboard.read_text(encoding="utf-8"))
    found = []
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$stream", ".*")
            found.append((panel["title"], expression))
    return found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_asks_for_what_exists(rule: dict[str, Any]) -> None:
    assert_exists(rule["expr"], known_series())
    if "alert" in rule:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_every_panel_asks_for_what_exists(dashboard: Path) -> None:
    asked_for = queries(dashboard)
    assert len(asked_for) >= 10
    for _, expression in asked_for:
        assert_exists(expression, known_series())


def test_every_figure_is_on_a_dashboard_or_in_an_alert() -> None:
    text = " ".join(expression for board in DASHBOARDS for _, expression in queries(board))
    text += " ".join(rule["expr"] for rule in rules())
    missing = [metric.name for metric in METRICS if metric.name not in text]
    assert not missing, f"nobody looks at {missing}"


def test_a_question_about_what_does_not_exist_would_be_found() -> None:
    for wrong in (
        "plantain_frames_dropped_total",
        'plantain_streams{stream="a"}',
        "sum by (camera) (plantain_streams)",
    ):
        with pytest.raises(AssertionError):
            assert_exists(wrong, known_series())


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_has_the_form_that_grafana_takes(dashboard: Path) -> None:
    board = json.loads(dashboard.read_text(encoding="utf-8"))
    assert board["uid"] == f"plantain-{dashboard.stem}"
    assert board["schemaVersion"] >= 36
    assert "id" not in board, "Grafana gives it its own"
    identities = [panel["id"] for panel in board["panels"]]
    assert len(set(identities)) == len(identities)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(board["panels"])))
    assert used <= variables
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["fieldConfig"]["defaults"]["unit"]
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references)


def test_the_manual_has_every_figure_and_every_alert() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(plantain_\w+)` \|.*$", manual, re.MULTILINE))
    assert documented == {metric.name for metric in METRICS}
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        assert f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |" in manual
    alerts = set(re.findall(r"^\| `(Plantain\w+)` \|", manual, re.MULTILINE))
    assert alerts == {rule["alert"] for rule in rules() if "alert" in rule}
    for path in re.findall(r"^\| `([^`]*?/[^`]*)`(?:, `([^`]*)`)? \|", manual, re.MULTILINE):
        assert (ROOT / path[0]).exists()


@pytest.fixture(scope="module")
def prometheus() -> None:
    if (why := why_missing()) is not None:
        pytest.skip(why)


@pytest.mark.usefixtures("prometheus")
def test_prometheus_takes_rules_and_configuration() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", DEPLOY / "prometheus" / "rules.yml")
    promtool("check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")


@pytest.mark.usefixtures("prometheus")
def test_every_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", DEPLOY / "prometheus" / "rules_test.yml")
    tests = read(DEPLOY / "prometheus" / "rules_test.yml")["tests"]
    fired = {
        check["alertname"]
        for test in tests
        for check in test.get("alert_rule_test", [])
        if "exp_alerts" in check
    }
    assert fired == {rule["alert"] for rule in rules() if "alert" in rule}


@pytest.mark.usefixtures("prometheus")
@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_prometheus_understands_every_panel(dashboard: Path, tmp_path: Path) -> None:
    group = [
        {"record": f"panel:number_{k}", "expr": expression}
        for k, (_, expression) in enumerate(queries(dashboard))
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": group}]}), encoding="utf-8")
    promtool("check", "rules", "--lint=none", path)


def test_alerts_speak_of_states_that_streams_have() -> None:
    states = set(HealthState.__args__)  # type: ignore[attr-defined]  # it is a Literal
    silent = next(rule for rule in rules() if rule.get("alert") == "PlantainCameraSilent")
    named = re.search(r"they say ([a-z, ]+)", silent["annotations"]["description"])
    assert named
    assert set(re.findall(r"[a-z]+", named[1])) - {"or"} <= states
