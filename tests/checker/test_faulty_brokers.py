"""The checker is judged by brokers that are wrong: it finds what is, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit.checker.options import Options
from brokerkit.checker.registry import RULES
from brokerkit.checker.report import Outcome, Report
from brokerkit.checker.runner import check

from .faulty.faulty import Broken
from .faulty_brokers import BROKEN
from .live_broker import serving
from .reference_broker import RightBroker
from .reference_variants import ALL, OTHERS, Other


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that gives up early what a broken broker never does."""
    monkeypatch.setattr("brokerkit.checker.runner._ORPHANS_FOR", 3.0)
    monkeypatch.setattr("brokerkit.checker.runner._CLEAN_UP_FOR", 1.0)
    monkeypatch.setattr("brokerkit.checker.cleanup._PAUSE", 0.02)


def run(broker: RightBroker, *plans: str, **options: Any) -> Report:
    login = {"username": "platform", "password": "s3cret"}
    with serving(broker) as url:
        return check(url, Options(**{**login, "plans": plans, **options}))


def faults(report: Report) -> dict[str, list[str]]:
    """What is wrong with each rule that is broken."""
    return {
        each.key: sorted({failure.fault for failure in each.failures})
        for each in report.verdicts
        if each.outcome is Outcome.FAILED
    }


def test_a_right_broker_breaks_no_rule() -> None:
    report = run(RightBroker(), *ALL)

    assert faults(report) == {}
    assert report.trouble is None
    assert not report.leftovers
    assert report.exit_code == 0


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.name)
def test_what_the_rules_allow_is_right(other: Other) -> None:
    report = run(other.make(), *other.plans, **other.options)

    assert faults(report) == {}
    assert not report.leftovers
    if other.trouble is None:
        assert report.trouble is None
    else:
        assert report.trouble is not None
        assert other.trouble in report.trouble


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_it_finds_what_is_wrong(broken: Broken) -> None:
    report = run(broken.make(), broken.plan, **broken.options)

    found = faults(report)
    assert found.keys() == broken.keys, found
    assert all(found.values())


def test_each_rule_is_broken_by_a_broker() -> None:
    assert {rule.key for rule in RULES} == {key for broken in BROKEN for key in broken.keys}


def test_each_broken_broker_has_a_name_of_its_own() -> None:
    names = [broken.name for broken in BROKEN]

    assert len(names) == len(set(names)) >= 100
