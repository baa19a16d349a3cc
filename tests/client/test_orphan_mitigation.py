"""What a provision or bind may have left behind is deleted, as R-ERR-4 says; nothing else is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from brokerkit.client.client import (
    BrokerClient,
    BrokerMistake,
    BrokerRefused,
    BrokerUnreachable,
    ClientError,
    Mitigation,
)
from brokerkit.client.platforms import cloudfoundry

from ..support.broker import Recorder
from ..support.fake_broker import FakeBroker, Play, answer, free_port, no_answer, raw, serving
from .conftest import OFFERING, SMALL, Way, client_of, right_broker

Call = Callable[[BrokerClient], Any]

MAKING: dict[str, Call] = {
    "provision": lambda client: client.provision("i1", OFFERING, SMALL),
    "bind": lambda client: client.bind("i1", "b1", OFFERING, SMALL),
}
OTHERS: dict[str, Call] = {
    "update": lambda client: client.update("i1", OFFERING),
    "deprovision": lambda client: client.deprovision("i1", OFFERING, SMALL),
    "unbind": lambda client: client.unbind("i1", "b1", OFFERING, SMALL),
    "get_instance": lambda client: client.get_instance("i1"),
}
PATHS = {
    "provision": "/v2/service_instances/i1",
    "bind": "/v2/service_instances/i1/service_bindings/b1",
}
IN_DOUBT: dict[str, Play] = {
    "500": answer(500),
    "503 without a body": answer(503, b""),
    "599 in HTML": answer(599, b"<html>"),
    "201 that is no JSON": answer(201, b"made"),
    "201 with a wrong field": answer(201, {"metadata": 1}),
    "202 that is no JSON": answer(202, b"[]"),
    "202 with a wrong operation": answer(202, {"operation": 1}),
    "204": answer(204, b""),
    "422 without a word": answer(422, {"description": "No"}),
    "422 with an unknown word": answer(422, {"error": "QuotaExceeded"}),
    "422 in HTML": answer(422, b"<html>"),
    "no answer": no_answer,
    "half an answer": raw(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
}
CERTAIN: dict[str, Play] = {
    **{str(status): answer(status) for status in (400, 401, 404, 408, 409, 410, 412, 302)},
    **{
        f"422 {word}": answer(422, {"error": word})
        for word in ("AsyncRequired", "ConcurrencyError", "RequiresApp", "MaintenanceInfoConflict")
    },
    "200 that is no JSON, of what was there before": answer(200, b"it is there"),
}


def error_of(call: Call, client: BrokerClient) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call(client)
    return caught.value


@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("what", IN_DOUBT)
@pytest.mark.parametrize("call", MAKING)
def test_uncertain_creation_is_deleted(call: str, what: str, fake: FakeBroker) -> None:
    """After a 5xx, a timeout or a malformed success on provision or bind, the client deletes the resource."""
    fake.will(IN_DOUBT[what], answer(200))
    error = error_of(MAKING[call], client_of(fake.url))
    assert fake.methods == ["PUT", "DELETE"]
    assert fake.asked[1].path == PATHS[call]
    assert fake.asked[1].query == {
        "service_id": "db-id",
        "plan_id": "small-id",
        "accepts_incomplete": "true",
    }
    assert error.mitigation is not None
    assert (error.mitigation.gone, error.mitigation.deletes) == (True, 1)
    deleted = error.mitigation.last
    assert deleted.url.startswith(f"{fake.url}{PATHS[call]}?")
    assert (
        f"The resource that the request may have left behind was deleted: {deleted.request_line} → 200 {{}}"
        in str(error)
    )
    assert error.exchange.method == "PUT", "the error is about the order"


@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("what", CERTAIN)
@pytest.mark.parametrize("call", MAKING)
def test_certain_failure_sends_no_delete(call: str, what: str, fake: FakeBroker) -> None:
    fake.will(CERTAIN[what], answer(200))
    assert error_of(MAKING[call], client_of(fake.url)).mitigation is None
    assert fake.methods == ["PUT"]


@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("call", OTHERS)
def test_other_operations_send_no_delete(call: str, fake: FakeBroker) -> None:
    """Only a failed provision or bind starts orphan mitigation."""
    fake.will(answer(500), answer(200))
    assert error_of(OTHERS[call], client_of(fake.url)).mitigation is None
    assert len(fake.asked) == 1


@pytest.mark.rule("R-ERR-4")
def test_timeout_starts_orphan_mitigation(fake: FakeBroker, patience: Play) -> None:
    fake.will(patience, answer(410))
    error = error_of(MAKING["provision"], client_of(fake.url, timeout=0.3))
    assert isinstance(error, BrokerUnreachable)
    assert fake.methods[:2] == ["PUT", "DELETE"]
    assert error.mitigation is not None
    assert error.mitigation.gone


def test_failed_connection_starts_no_orphan_mitigation() -> None:
    error = error_of(MAKING["provision"], client_of(f"http://127.0.0.1:{free_port()}"))
    assert isinstance(error, BrokerUnreachable)
    assert error.mitigation is None


@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("call", MAKING)
def test_orphan_mitigation_retries_until_success(call: str, fake: FakeBroker) -> None:
    fake.will(answer(500), answer(500), no_answer, answer(422), answer(404), answer(204, b""), answer(410))
    error = error_of(MAKING[call], client_of(fake.url))
    assert fake.methods == ["PUT", *["DELETE"] * 6]
    assert isinstance(error.mitigation, Mitigation)
    assert (error.mitigation.gone, error.mitigation.deletes) == (True, 6)


def test_orphan_mitigation_polls_asynchronous_delete(fake: FakeBroker) -> None:
    fake.will(
        answer(201, b"?"),
        answer(202, {"operation": "del 1"}),
        answer(200, {"state": "in progress"}),
        answer(410),
    )
    error = error_of(MAKING["bind"], client_of(fake.url))
    assert fake.methods == ["PUT", "DELETE", "GET", "GET"]
    for poll in fake.asked[2:]:
        assert poll.path == f"{PATHS['bind']}/last_operation"
        assert poll.query == {"service_id": "db-id", "plan_id": "small-id", "operation": "del 1"}
    assert error.mitigation is not None
    assert error.mitigation.gone


@pytest.mark.parametrize(
    "poll", [answer(200, {"state": "failed"}), answer(500), answer(404), answer(200, b"?")]
)
def test_orphan_mitigation_retries_failed_asynchronous_delete(poll: Play, fake: FakeBroker) -> None:
    fake.will(answer(500), answer(202, {"operation": "o"}), poll, answer(200))
    error = error_of(MAKING["provision"], client_of(fake.url))
    assert fake.methods == ["PUT", "DELETE", "GET", "DELETE"]
    assert error.mitigation is not None
    assert (error.mitigation.gone, error.mitigation.deletes) == (True, 2)


@pytest.mark.parametrize(
    "answers",
    [
        [answer(500)],
        [answer(500), answer(202, {"operation": "o"}), answer(200, {"state": "in progress"})],
    ],
    ids=["refused", "never done"],
)
def test_orphan_mitigation_gives_up_with_warning(answers: list[Play], fake: FakeBroker) -> None:
    """After the time limit the exception says that the resource may still exist."""
    fake.will(*answers)
    error = error_of(MAKING["provision"], client_of(fake.url, mitigate_for=30))
    assert error.mitigation is not None
    assert not error.mitigation.gone
    assert error.mitigation.deletes == fake.methods.count("DELETE") < 10
    assert "may still exist" in str(error)
    assert error.mitigation.last.request_line in str(error)


def test_orphan_mitigation_can_be_disabled(fake: FakeBroker) -> None:
    fake.will(answer(500), answer(200))
    error = error_of(MAKING["provision"], client_of(fake.url, mitigate_for=0))
    assert fake.methods == ["PUT"]
    assert error.mitigation is None
    assert "left behind" not in str(error)


@pytest.mark.parametrize(("play", "kind"), [(answer(500), BrokerRefused), (answer(201, b"?"), BrokerMistake)])
def test_orphan_mitigation_keeps_the_original_error(
    play: Play, kind: type[ClientError], fake: FakeBroker
) -> None:
    fake.will(play, answer(200))
    assert type(error_of(MAKING["provision"], client_of(fake.url))) is kind


def test_orphan_mitigation_without_polling_is_synchronous(fake: FakeBroker) -> None:
    """A platform that cannot poll sends the delete without `accepts_incomplete`."""
    fake.will(answer(500), answer(200))
    client = client_of(fake.url)
    error_of(lambda client: client.provision("i1", "s", "p", accepts_incomplete=False), client)
    assert fake.asked[1].query == {"service_id": "s", "plan_id": "p"}


def test_orphan_mitigation_sends_no_originating_identity(fake: FakeBroker) -> None:
    fake.will(answer(500), answer(200))
    error_of(MAKING["provision"], client_of(fake.url, platform=cloudfoundry()))
    names = [asked.headers.keys() & {"X-Broker-API-Originating-Identity"} for asked in fake.asked]
    assert names == [{"X-Broker-API-Originating-Identity"}, set()]


def test_orphan_mitigation_requests_are_observed(fake: FakeBroker) -> None:
    fake.will(answer(500), answer(202, {"operation": "o"}), answer(410))
    seen: list[str] = []
    client = client_of(fake.url, observe=lambda exchange: seen.append(exchange.url.removeprefix(fake.url)))
    error_of(MAKING["provision"], client)
    assert seen == [asked.target for asked in fake.asked]
    assert len(seen) == 3


@pytest.mark.rule("R-ERR-4", "R-DEL-5")
def test_failed_provision_leaves_nothing_in_store(recorder: Recorder, tmp_path: Any) -> None:
    """Orphan mitigation removes the failed provision from a broker with a store, and a new provision
    succeeds.
    """
    recorder.answers["provision"] = RuntimeError("the disk is full")
    way = Way(store=True)
    with right_broker(way, recorder, tmp_path) as app, serving(app) as url:
        recorder.answers["provision"] = RuntimeError("the disk is full")
        client = client_of(url)
        error = error_of(MAKING["provision"], client)
        assert error.mitigation is not None
        assert error.mitigation.gone
        recorder.answers["provision"] = None
        client.provision("i1", OFFERING, SMALL)
    assert [type(request).__name__ for request in recorder.requests] == [
        "ProvisionRequest",
        "DeprovisionRequest",
        "ProvisionRequest",
    ]


def test_orphan_mitigation_time_limits_hanging_requests(fake: FakeBroker, patience: Play) -> None:
    """A hanging broker does not extend the time limit of orphan mitigation."""
    fake.will(answer(500), patience)
    began = time.monotonic()
    error = error_of(MAKING["provision"], client_of(fake.url, timeout=60, mitigate_for=0.1))
    assert time.monotonic() - began < 15
    assert error.mitigation is not None
    assert (error.mitigation.gone, error.mitigation.deletes) == (False, 1)
