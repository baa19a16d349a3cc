"""The dashboard and the alert rules ask for what a broker tells, and for nothing else."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import AggregateExpr, Expr, MatchOp, VectorSelector

from brokerkit import NoAuth, Provisioned, Retry
from brokerkit.observe.prometheus import metrics_blueprint

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import CAN_POLL, Serve, poll_until_done, until

FOLDER = Path(__file__).parents[2] / "samples" / "observability"
DASHBOARD: dict[str, Any] = msgspec.json.decode((FOLDER / "dashboard.json").read_bytes())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
TESTS: dict[str, Any] = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())

OF_THE_TARGET = {"job", "instance"}
"""What Prometheus itself adds to whatever it scrapes."""

VARIABLES = {"$__rate_interval": "5m", "$job": ".*", "$offering": ".*"}

Labels = Mapping[str, set[str]]


class PanelQuery(NamedTuple):
    """A question, in Prometheus' language.

    Args:
        where: Who asks.
        query: What.
        shown: The labels that are shown of its answer.
    """

    where: str
    query: str
    shown: set[str] = set()

    def __str__(self) -> str:
        return self.where


def questions() -> Iterator[PanelQuery]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            yield PanelQuery(f"panel {panel['id']} {panel['title']} {target['refId']}", query, shown)
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert match is not None
            yield PanelQuery(f"variable {variable['name']}", match[1].replace("$job", ".*"))
    for rule in RULES:
        shown = set(re.findall(r"\$labels\.(\w+)", msgspec.json.encode(rule["annotations"]).decode()))
        yield PanelQuery(rule["alert"], rule["expr"], shown)


QUESTIONS = list(questions())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Labels]:
    """The series that a broker exports after requests of every kind: their labels and values."""
    serve = Serve(f"sqlite:///{tmp_path_factory.mktemp('store') / 'broker.db'}")
    recorder = Recorder()
    answers = iter([Retry(after=0.01), Provisioned()])
    recorder.answers["provision"] = lambda request: next(answers)
    platform = serve(recorder, background=["provision"])
    broker = serve.brokers[-1]
    platform.app.register_blueprint(
        metrics_blueprint(broker, NoAuth(), registry=CollectorRegistry(), stats_interval=0.01)
    )
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    assert poll_until_done(platform, INSTANCE)["state"] == "succeeded"
    platform.put(BINDING, IDS)
    recorder.answers["bind"] = ValueError("inside")
    platform.put(f"{BINDING}-2", IDS)
    platform.get("/v2/catalog", headers={"Authorization": None})
    for _ in range(2):
        platform.delete(BINDING, query=DELETE_QUERY)

    def scraped() -> str:
        return platform.app.test_client().get("/metrics").text

    until(lambda: 'end="succeeded"' in scraped())
    results: dict[str, dict[str, set[str]]] = {"up": {}}
    for family in text_string_to_metric_families(scraped()):
        for sample in family.samples:
            labels = results.setdefault(sample.name, defaultdict(set))
            for label, value in sample.labels.items():
                labels[label].add(value)
    serve.stop()
    return results


def parts(query: str) -> list[Expr]:
    """A query and its nested expressions."""
    results: list[Expr] = []
    promql_parser.walk(promql_parser.parse(query), lambda part: results.append(part))
    return results


def matches(op: MatchOp, value: str, values: set[str]) -> bool:
    if op == MatchOp.Re:
        return any(re.fullmatch(value, item) for item in values)
    assert op == MatchOp.Equal, "no others are used"
    return value in values


@pytest.mark.parametrize("panel_query", QUESTIONS, ids=str)
def test_dashboard_queries_use_existing_metrics(
    panel_query: PanelQuery, exported: Mapping[str, Labels]
) -> None:
    """Every metric and label value in a dashboard or alert query exists in the exported metrics."""
    selectors = [part for part in parts(panel_query.query) if isinstance(part, VectorSelector)]
    assert selectors
    for selector in selectors:
        assert selector.name is not None
        assert selector.name in exported
        labels = exported[selector.name]
        for matcher in selector.matchers.matchers:
            if matcher.name not in OF_THE_TARGET:
                assert matches(matcher.op, matcher.value, labels[matcher.name]), matcher.name


@pytest.mark.parametrize("panel_query", QUESTIONS, ids=str)
def test_dashboard_grouping_labels_exist(panel_query: PanelQuery, exported: Mapping[str, Labels]) -> None:
    """Every label in a grouping or a legend exists on the queried metrics."""
    results = parts(panel_query.query)
    grouped: set[str] = set()
    for part in results:
        if isinstance(part, AggregateExpr) and part.modifier is not None:
            inside = [item for item in parts(part.expr.prettify()) if isinstance(item, VectorSelector)]
            for selector in inside:
                assert set(part.modifier.labels) <= set(exported[selector.name or ""]) | OF_THE_TARGET
            grouped |= set(part.modifier.labels)
    assert panel_query.shown <= grouped | OF_THE_TARGET


@pytest.mark.parametrize("panel_query", QUESTIONS, ids=str)
def test_shared_store_metrics_are_not_summed(panel_query: PanelQuery) -> None:
    """Every process exports the same store, so queries use `max` and never a sum over the scraped targets."""
    shared = ("instances", "bindings", "operations_in_progress", "oldest_operation_age_seconds")
    for name in shared:
        for match in re.finditer(rf"(\w+)\s*(?:by \([^)]*\) )?\(brokerkit_{name}\b", panel_query.query):
            assert match[1] == "max"


def test_dashboard_shows_every_metric(exported: Mapping[str, Labels]) -> None:
    ours = {name for name in exported if name.startswith("brokerkit_") and not name.endswith("_created")}
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in ours}
    all_queries = " ".join(item.query for item in QUESTIONS)
    assert [name for name in families if name not in all_queries] == []


def test_dashboard_panels_are_complete_without_overlap() -> None:
    """Panels have unique ids, a selectable data source and grid positions that do not overlap, as Grafana
    requires.
    """
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert "id" not in DASHBOARD, "Grafana gives one"
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        room = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not room & taken
        assert max(x for x, _ in room) < 24
        taken |= room
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert source == {"type": "prometheus", "uid": "${datasource}"}
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {
        "datasource",
        "job",
        "offering",
    }


def test_every_alert_rule_is_tested(exported: Mapping[str, Labels]) -> None:
    """Each alert fires in a rule test, and the tests use only labels that a broker exports."""
    fired = {
        tried["alertname"]
        for test in TESTS["tests"]
        for tried in test["alert_rule_test"]
        if tried.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in RULES}
    for test in TESTS["tests"]:
        for series in test["input_series"]:
            (selector,) = parts(series["series"])
            assert isinstance(selector, VectorSelector)
            labels = {matcher.name for matcher in selector.matchers.matchers}
            assert labels <= set(exported[selector.name or ""]) | OF_THE_TARGET
