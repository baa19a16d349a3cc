"""Tests of the checker with faulty brokers: it finds exactly their faults."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit.checker.options import Options
from brokerkit.checker.registry import RULES
from brokerkit.checker.report import Outcome, Report
from brokerkit.checker.runner import check

from ..support.examples import variants
from ..support.wsgi_adapter import serving_in_process
from .faulty.faulty import FaultyBroker
from .faulty_brokers import FAULTY_BROKERS
from .live_broker import app
from .reference_broker import ReferenceBroker
from .reference_variants import ALL, VARIANTS, Variant


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts of the check."""
    monkeypatch.setattr("brokerkit.checker.runner._ORPHAN_SECONDS", 3.0)
    monkeypatch.setattr("brokerkit.checker.runner._CLEANUP_SECONDS", 1.0)
    monkeypatch.setattr("brokerkit.checker.scenarios.orphan_mitigation._IN_TRANSIT_SECONDS", 0.2)
    monkeypatch.setattr("brokerkit.checker.cleanup._PAUSE", 0.02)


def run(broker: ReferenceBroker, *plans: str, **options: Any) -> Report:
    login = {"username": "platform", "password": "s3cret"}
    with serving_in_process(app(broker)) as url:
        return check(url, Options(**{**login, "plans": plans, **options}))


def faults(report: Report) -> dict[str, list[str]]:
    """Collect the faults of the failed rules."""
    return {
        verdict.key: sorted({failure.fault for failure in verdict.failures})
        for verdict in report.verdicts
        if verdict.outcome is Outcome.FAILED
    }


def test_check_of_correct_broker_reports_no_failure() -> None:
    """A check of every plan of a correct broker reports no failed rule, no error and no leftovers."""
    report = run(ReferenceBroker(), *ALL)

    assert faults(report) == {}
    assert report.problem is None
    assert not report.leftovers
    assert report.exit_code == 0


@pytest.mark.parametrize("variant", variants(VARIANTS), ids=lambda variant: variant.name)
def test_check_accepts_optional_protocol_behaviour(variant: Variant) -> None:
    """Brokers that use any freedom of the specification fail no rule."""
    report = run(variant.build(), *variant.plans, **variant.options)

    assert faults(report) == {}
    assert not report.leftovers
    if variant.problem is None:
        assert report.problem is None
    else:
        assert report.problem is not None
        assert variant.problem in report.problem


@pytest.mark.parametrize("faulty", variants(FAULTY_BROKERS), ids=lambda faulty: faulty.name)
def test_check_detects_exactly_the_broken_rules(faulty: FaultyBroker) -> None:
    """Each faulty broker fails exactly the rules that it breaks."""
    report = run(faulty.build(), faulty.plan, **faulty.options)

    detected = faults(report)
    assert detected.keys() == faulty.keys, detected
    assert all(detected.values())


def test_every_rule_has_a_broken_broker() -> None:
    """The faulty brokers together break every rule of the registry."""
    assert {rule.key for rule in RULES} == {key for faulty in FAULTY_BROKERS for key in faulty.keys}


def test_broken_brokers_have_unique_names() -> None:
    names = [faulty.name for faulty in FAULTY_BROKERS]

    assert len(names) == len(set(names)) >= 100
