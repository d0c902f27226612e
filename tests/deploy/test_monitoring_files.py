"""The dashboard and the alerts ask for metrics that there are, with labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import OUTCOMES
from protocol.errors import WIRE_CODES, ServingError

SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


@pytest.fixture(scope="module")
def known() -> set[str]:
    metrics = Metrics("1")
    return {
        family.name + suffix
        for family in metrics.registry.collect()
        for suffix in SUFFIXES.get(family.type, ("",))
    } | {"up"}


def names(query: str) -> set[str]:
    """Return the names of metrics in a query of Prometheus."""
    return set(re.findall(r"\b((?:serving|process)_\w+)\b(?!=)", query))


@pytest.fixture(scope="module")
def dashboard(root: Path) -> dict[str, Any]:
    text = (root / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_every_panel_asks_for_metrics_that_there_are(
    dashboard: dict[str, Any], known: set[str]
) -> None:
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = set().union(*map(names, queries))
    assert asked <= known
    # Every metric of a service is shown.
    shown = {name for name in known if name.startswith("serving_")} - asked
    assert not {name for name in shown if not name.endswith(("_sum", "_count", "_bucket"))} - {
        "serving_build_info",
        "serving_last_reload_success_timestamp_seconds",
        "serving_open_requests",
    }


def test_panels_lie_side_by_side_and_have_their_own_numbers(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_every_alert_asks_for_metrics_that_there_are(root: Path, known: set[str]) -> None:
    alerts = yaml.safe_load((root / "deploy" / "alerts.yml").read_text(encoding="utf-8"))
    rules = alerts["groups"][0]["rules"]
    assert len(rules) > 3
    for rule in rules:
        assert names(rule["expr"]) <= known, rule["alert"]
        assert rule["annotations"]["summary"]


def test_prometheus_reads_the_alerts_beside_it(root: Path) -> None:
    scrape = yaml.safe_load((root / "deploy" / "prometheus.yml").read_text(encoding="utf-8"))
    assert [(root / "deploy" / name).is_file() for name in scrape["rule_files"]] == [True]


def outcomes_of_requests(text: str) -> set[str]:
    """Return the outcomes that queries in `text` select of serving_requests_total."""
    selectors = re.findall(r"serving_requests_total\{([^}]*)\}", text)
    matches = [re.search(r'outcome[=!]~?\\?"([^"\\]*(?:\\\|[^"\\]*)*)', each) for each in selectors]
    return {name for match in matches if match for name in re.split(r"\\?\|", match[1])}


@pytest.mark.parametrize(
    ("name", "some"),
    [
        ("docs/monitoring.md", True),
        ("docs/monitoring.zh-CN.md", True),
        ("deploy/alerts.yml", True),
        ("deploy/grafana-dashboard.json", False),
    ],
)
def test_every_query_asks_for_outcomes_that_there_are(root: Path, name: str, some: bool) -> None:
    asked = outcomes_of_requests((root / name).read_text(encoding="utf-8"))
    assert bool(asked) == some
    assert asked <= set(OUTCOMES)


@pytest.mark.parametrize("name", ["docs/monitoring.md", "docs/monitoring.zh-CN.md"])
def test_every_outcome_is_explained(root: Path, name: str) -> None:
    text = (root / name).read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, flags=re.MULTILINE))
    assert set(documented) == set(OUTCOMES)
    numbers = {kind.__name__.lower(): codes.err_no for kind, codes in WIRE_CODES.items()}
    for outcome, number in documented.items():
        assert int(number) == numbers.get(outcome.replace("_", ""), int(number)), outcome
    assert len(OUTCOMES) == 3 + sum(issubclass(kind, ServingError) for kind in WIRE_CODES)


def test_the_dashboard_lets_one_choose_what_has_no_service(dashboard: dict[str, Any]) -> None:
    """Requests are counted for services that are not known too; readiness is not."""
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    query = variables["service"]["query"]["query"]
    assert query == variables["service"]["definition"]
    assert "serving_requests_total" in query
    assert "serving_ready" in query  # before the first request
