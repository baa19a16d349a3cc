"""What the checker finds in a broker that is written with openbrokerapi, as well as that lets one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from brokerkit.checker.report import Level, Outcome, Report
from brokerkit.testing.live_server import serve

from .openbrokerapi_broker import Peer, make_app
from .test_correct_brokers import checked, faults

VIOLATIONS = {
    "R-REQ-1.version-malformed": "its filter makes a number of the version, and fails: 500",
    "R-REQ-1.other-major": "version 3.0 is later than 2.13, so it serves it",
    "R-REQ-2.login-first": "the version is judged before the login: 400 instead of 401",
    "R-REQ-3.identity-malformed": "any JSON is taken for an identity, not just an object",
    "R-REQ-4.echo": "it does not know X-Broker-API-Request-Identity",
    "R-REQ-4.echo-in-errors": "the same",
    "R-REQ-6.wrong-types": "fields are taken as they come: a service_id of 7, a context that is a text",
    "R-ERR-1.texts": "the 410 to a poll has an empty description",
    "R-ERR-1.description": "its 404 and 409 are empty objects",
    "R-PROV-6.required": "a service_id may be empty",
    "R-PROV-6.unknown-offering": "it looks for the plan alone",
    "R-PROV-8.conflict": "maintenance_info does not reach the handler",
    "R-UPD-3.not-updateable": "its ErrPlanChangeNotSupported is a 400; 422 is due",
    "R-UPD-5.conflict": "maintenance_info does not reach the handler",
    "R-BIND-5.unknown-instance": "a bind's handler has no way to answer 404",
    "R-LAST-3.unknown": "its ErrInstanceDoesNotExist is 410 to a poll; ErrBindingDoesNotExist 500",
}


@pytest.fixture(scope="module")
def peer() -> Peer:
    return Peer()


@pytest.fixture(scope="module")
def report(peer: Peer) -> Iterator[Report]:
    with serve(make_app(peer)) as url:
        yield checked(url)


def test_openbrokerapi_check_finds_exactly_known_violations(report: Report) -> None:
    found = faults(report)
    assert found.keys() == VIOLATIONS.keys(), found


def test_openbrokerapi_check_exits_with_one(report: Report) -> None:
    assert report.problem is None
    assert report.count(Outcome.FAILED, Level.MUST) > 0
    assert report.exit_code == 1


def test_openbrokerapi_check_deletes_all_instances(peer: Peer, report: Report) -> None:
    """Instances that the broker created by mistake are deleted too."""
    assert report.leftovers == ()
    assert peer.instances == {}
