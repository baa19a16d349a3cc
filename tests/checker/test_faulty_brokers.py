"""The checker is judged by brokers that are wrong: it finds what is, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit.checker.options import Options
from brokerkit.checker.registry import RULES
from brokerkit.checker.report import Outcome, Report
from brokerkit.checker.runner import check

from ..support.wsgi_adapter import serving_in_process
from .faulty.faulty import Broken
from .faulty_brokers import BROKEN
from .live_broker import app
from .reference_broker import RightBroker
from .reference_variants import ALL, OTHERS, Other


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that gives up early what a broken broker never does."""
    monkeypatch.setattr("brokerkit.checker.runner._ORPHAN_SECONDS", 3.0)
    monkeypatch.setattr("brokerkit.checker.runner._CLEANUP_SECONDS", 1.0)
    monkeypatch.setattr("brokerkit.checker.cleanup._PAUSE", 0.02)


def run(broker: RightBroker, *plans: str, **options: Any) -> Report:
    login = {"username": "platform", "password": "s3cret"}
    with serving_in_process(app(broker)) as url:
        return check(url, Options(**{**login, "plans": plans, **options}))


def faults(report: Report) -> dict[str, list[str]]:
    """What is wrong with each rule that is broken."""
    return {
        each.key: sorted({failure.fault for failure in each.failures})
        for each in report.verdicts
        if each.outcome is Outcome.FAILED
    }


def test_check_of_correct_broker_reports_no_failure() -> None:
    """A check of every plan of a correct broker reports no failed rule, no error and no leftovers."""
    report = run(RightBroker(), *ALL)

    assert faults(report) == {}
    assert report.problem is None
    assert not report.leftovers
    assert report.exit_code == 0


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.name)
def test_check_accepts_optional_protocol_behaviour(other: Other) -> None:
    """Brokers that use any freedom of the specification fail no rule."""
    report = run(other.make(), *other.plans, **other.options)

    assert faults(report) == {}
    assert not report.leftovers
    if other.problem is None:
        assert report.problem is None
    else:
        assert report.problem is not None
        assert other.problem in report.problem


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_check_detects_exactly_the_broken_rules(broken: Broken) -> None:
    """Each deliberately wrong broker fails exactly the rules that it breaks."""
    report = run(broken.make(), broken.plan, **broken.options)

    found = faults(report)
    assert found.keys() == broken.keys, found
    assert all(found.values())


def test_every_rule_has_a_broken_broker() -> None:
    """The wrong brokers together break every rule of the registry."""
    assert {rule.key for rule in RULES} == {key for broken in BROKEN for key in broken.keys}


def test_broken_brokers_have_unique_names() -> None:
    names = [broken.name for broken in BROKEN]

    assert len(names) == len(set(names)) >= 100
