"""Test of the checker with a broker written with openbrokerapi."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from brokerkit.checker.report import Level, Outcome, Report

from ..support.wsgi_adapter import serving_in_process
from .openbrokerapi_broker import Peer, make_app
from .test_correct_brokers import checked, faults

VIOLATIONS = {
    "R-REQ-1.version-malformed": "its filter converts the version to a number, and fails with 500",
    "R-REQ-1.other-major": "it accepts version 3.0 because it is later than 2.13",
    "R-REQ-2.login-first": "it checks the version before the credentials: 400 instead of 401",
    "R-REQ-3.identity-malformed": "it accepts any JSON as an identity, not only objects",
    "R-REQ-4.echo": "it does not support X-Broker-API-Request-Identity",
    "R-REQ-4.echo-in-errors": "the same",
    "R-REQ-6.wrong-types": "it does not check types: a service_id of 7, a string as context",
    "R-ERR-1.texts": "the 410 to a poll has an empty description",
    "R-ERR-1.description": "its 404 and 409 are empty objects",
    "R-PROV-6.required": "it accepts an empty service_id",
    "R-PROV-6.unknown-offering": "it looks up the plan only",
    "R-PROV-8.conflict": "maintenance_info does not reach the handler",
    "R-UPD-3.not-updateable": "its ErrPlanChangeNotSupported is a 400 instead of a 422",
    "R-UPD-5.conflict": "maintenance_info does not reach the handler",
    "R-BIND-5.unknown-instance": "a bind handler cannot return 404",
    "R-LAST-3.unknown": "a poll returns 410 for ErrInstanceDoesNotExist, and 500 for ErrBindingDoesNotExist",
}


@pytest.fixture(scope="module")
def peer() -> Peer:
    return Peer()


@pytest.fixture(scope="module")
def report(peer: Peer) -> Iterator[Report]:
    with serving_in_process(make_app(peer)) as url:
        yield checked(url)


def test_openbrokerapi_check_finds_exactly_known_violations(report: Report) -> None:
    detected = faults(report)
    assert detected.keys() == VIOLATIONS.keys(), detected


def test_openbrokerapi_check_exits_with_one(report: Report) -> None:
    assert report.problem is None
    assert report.count(Outcome.FAILED, Level.MUST) > 0
    assert report.exit_code == 1


def test_openbrokerapi_check_deletes_all_instances(peer: Peer, report: Report) -> None:
    """Instances that the broker created by mistake are deleted too."""
    assert report.leftovers == ()
    assert peer.instances == {}
