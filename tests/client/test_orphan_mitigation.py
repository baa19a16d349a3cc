"""Tests of orphan mitigation: the client deletes only what a provision or bind may have orphaned."""

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
from ..support.fake_broker import FakeBroker, Responder, close_connection, respond, respond_raw
from ..support.servers import free_port
from .conftest import BROKER_KINDS, OFFERING, SMALL, broker_app, make_client

Call = Callable[[BrokerClient], Any]

CREATIONS: dict[str, Call] = {
    "provision": lambda client: client.provision("i1", OFFERING, SMALL),
    "bind": lambda client: client.bind("i1", "b1", OFFERING, SMALL),
}
OTHER_CALLS: dict[str, Call] = {
    "update": lambda client: client.update("i1", OFFERING),
    "deprovision": lambda client: client.deprovision("i1", OFFERING, SMALL),
    "unbind": lambda client: client.unbind("i1", "b1", OFFERING, SMALL),
    "get_instance": lambda client: client.get_instance("i1"),
}
PATHS = {
    "provision": "/v2/service_instances/i1",
    "bind": "/v2/service_instances/i1/service_bindings/b1",
}
UNCERTAIN: dict[str, Responder] = {
    "500": respond(500),
    "503 without a body": respond(503, b""),
    "599 with HTML": respond(599, b"<html>"),
    "201 that is not JSON": respond(201, b"created"),
    "201 with an invalid field": respond(201, {"metadata": 1}),
    "202 that is not JSON": respond(202, b"[]"),
    "202 with an invalid operation": respond(202, {"operation": 1}),
    "204": respond(204, b""),
    "422 without an error code": respond(422, {"description": "No"}),
    "422 with an unknown error code": respond(422, {"error": "QuotaExceeded"}),
    "422 with HTML": respond(422, b"<html>"),
}
FAILED_EXCHANGES: dict[str, Responder] = {
    "no response": close_connection,
    "truncated response": respond_raw(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"),
    "not HTTP": respond_raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
}
CERTAIN: dict[str, Responder] = {
    **{str(status): respond(status) for status in (400, 401, 404, 408, 409, 410, 412, 302)},
    **{
        f"422 {code}": respond(422, {"error": code})
        for code in ("AsyncRequired", "ConcurrencyError", "RequiresApp", "MaintenanceInfoConflict")
    },
    "200 for an existing resource, not JSON": respond(200, b"exists"),
}


def error_of(call: Call, client: BrokerClient) -> ClientError:
    """Return the error that a call raises."""
    with pytest.raises(ClientError) as caught:
        call(client)
    return caught.value


@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("case", UNCERTAIN)
@pytest.mark.parametrize("call", CREATIONS)
def test_uncertain_creation_is_deleted(call: str, case: str, fake: FakeBroker) -> None:
    """After a 5xx or a malformed success on provision or bind, the client deletes the resource."""
    fake.script(UNCERTAIN[case], respond(200))
    assert_deleted(call, fake, make_client(fake))


@pytest.mark.integration
@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("case", FAILED_EXCHANGES)
@pytest.mark.parametrize("call", CREATIONS)
def test_creation_without_response_is_deleted(call: str, case: str, served_fake: FakeBroker) -> None:
    """After a provision or bind without a complete response, the client deletes the resource."""
    served_fake.script(FAILED_EXCHANGES[case], respond(200))
    assert_deleted(call, served_fake, make_client(served_fake.url))


def assert_deleted(call: str, fake: FakeBroker, client: BrokerClient) -> None:
    error = error_of(CREATIONS[call], client)
    assert fake.methods == ["PUT", "DELETE"]
    assert fake.requests[1].path == PATHS[call]
    assert fake.requests[1].query == {
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
    assert error.exchange.method == "PUT", "the error must have the exchange of the provision or bind"


@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("case", CERTAIN)
@pytest.mark.parametrize("call", CREATIONS)
def test_certain_failure_sends_no_delete(call: str, case: str, fake: FakeBroker) -> None:
    fake.script(CERTAIN[case], respond(200))
    assert error_of(CREATIONS[call], make_client(fake)).mitigation is None
    assert fake.methods == ["PUT"]


@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("call", OTHER_CALLS)
def test_other_operations_send_no_delete(call: str, fake: FakeBroker) -> None:
    """Only a failed provision or bind starts orphan mitigation."""
    fake.script(respond(500), respond(200))
    assert error_of(OTHER_CALLS[call], make_client(fake)).mitigation is None
    assert len(fake.requests) == 1


@pytest.mark.integration
@pytest.mark.rule("R-ERR-4")
def test_timeout_starts_orphan_mitigation(served_fake: FakeBroker, hang: Responder) -> None:
    served_fake.script(hang, respond(410))
    error = error_of(CREATIONS["provision"], make_client(served_fake.url, timeout=0.3))
    assert isinstance(error, BrokerUnreachable)
    assert served_fake.methods[:2] == ["PUT", "DELETE"]
    assert error.mitigation is not None
    assert error.mitigation.gone


@pytest.mark.integration
def test_failed_connection_starts_no_orphan_mitigation() -> None:
    error = error_of(CREATIONS["provision"], make_client(f"http://127.0.0.1:{free_port()}"))
    assert isinstance(error, BrokerUnreachable)
    assert error.mitigation is None


@pytest.mark.integration
@pytest.mark.rule("R-ERR-4")
@pytest.mark.parametrize("call", CREATIONS)
def test_orphan_mitigation_retries_until_success(call: str, served_fake: FakeBroker) -> None:
    served_fake.script(
        respond(500),
        respond(500),
        close_connection,
        respond(422),
        respond(404),
        respond(204, b""),
        respond(410),
    )
    error = error_of(CREATIONS[call], make_client(served_fake.url))
    assert served_fake.methods == ["PUT", *["DELETE"] * 6]
    assert isinstance(error.mitigation, Mitigation)
    assert (error.mitigation.gone, error.mitigation.deletes) == (True, 6)


def test_orphan_mitigation_polls_asynchronous_delete(fake: FakeBroker) -> None:
    fake.script(
        respond(201, b"?"),
        respond(202, {"operation": "del 1"}),
        respond(200, {"state": "in progress"}),
        respond(410),
    )
    error = error_of(CREATIONS["bind"], make_client(fake))
    assert fake.methods == ["PUT", "DELETE", "GET", "GET"]
    for poll in fake.requests[2:]:
        assert poll.path == f"{PATHS['bind']}/last_operation"
        assert poll.query == {"service_id": "db-id", "plan_id": "small-id", "operation": "del 1"}
    assert error.mitigation is not None
    assert error.mitigation.gone


@pytest.mark.parametrize(
    "poll", [respond(200, {"state": "failed"}), respond(500), respond(404), respond(200, b"?")]
)
def test_orphan_mitigation_retries_failed_asynchronous_delete(poll: Responder, fake: FakeBroker) -> None:
    fake.script(respond(500), respond(202, {"operation": "o"}), poll, respond(200))
    error = error_of(CREATIONS["provision"], make_client(fake))
    assert fake.methods == ["PUT", "DELETE", "GET", "DELETE"]
    assert error.mitigation is not None
    assert (error.mitigation.gone, error.mitigation.deletes) == (True, 2)


@pytest.mark.parametrize(
    "responders",
    [
        [respond(500)],
        [respond(500), respond(202, {"operation": "o"}), respond(200, {"state": "in progress"})],
    ],
    ids=["error response", "still in progress"],
)
def test_orphan_mitigation_gives_up_with_warning(responders: list[Responder], fake: FakeBroker) -> None:
    """After the time limit the exception says that the resource may still exist."""
    fake.script(*responders)
    error = error_of(CREATIONS["provision"], make_client(fake, mitigate_for=30))
    assert error.mitigation is not None
    assert not error.mitigation.gone
    assert error.mitigation.deletes == fake.methods.count("DELETE") < 10
    assert "may still exist" in str(error)
    assert error.mitigation.last.request_line in str(error)


def test_orphan_mitigation_can_be_disabled(fake: FakeBroker) -> None:
    fake.script(respond(500), respond(200))
    error = error_of(CREATIONS["provision"], make_client(fake, mitigate_for=0))
    assert fake.methods == ["PUT"]
    assert error.mitigation is None
    assert "left behind" not in str(error)


@pytest.mark.parametrize(
    ("responder", "error_type"), [(respond(500), BrokerRefused), (respond(201, b"?"), BrokerMistake)]
)
def test_orphan_mitigation_keeps_the_original_error(
    responder: Responder, error_type: type[ClientError], fake: FakeBroker
) -> None:
    fake.script(responder, respond(200))
    assert type(error_of(CREATIONS["provision"], make_client(fake))) is error_type


def test_orphan_mitigation_without_polling_is_synchronous(fake: FakeBroker) -> None:
    """A platform that cannot poll sends the delete without `accepts_incomplete`."""
    fake.script(respond(500), respond(200))
    client = make_client(fake)
    error_of(lambda client: client.provision("i1", "s", "p", accepts_incomplete=False), client)
    assert fake.requests[1].query == {"service_id": "s", "plan_id": "p"}


def test_orphan_mitigation_sends_no_originating_identity(fake: FakeBroker) -> None:
    fake.script(respond(500), respond(200))
    error_of(CREATIONS["provision"], make_client(fake, platform=cloudfoundry()))
    identities = [request.headers.keys() & {"X-Broker-API-Originating-Identity"} for request in fake.requests]
    assert identities == [{"X-Broker-API-Originating-Identity"}, set()]


def test_orphan_mitigation_requests_are_observed(fake: FakeBroker) -> None:
    fake.script(respond(500), respond(202, {"operation": "o"}), respond(410))
    seen: list[str] = []
    client = make_client(fake, observe=lambda exchange: seen.append(exchange.url.removeprefix(fake.url)))
    error_of(CREATIONS["provision"], client)
    assert seen == [request.target for request in fake.requests]
    assert len(seen) == 3


@pytest.mark.rule("R-ERR-4", "R-DEL-5")
def test_failed_provision_leaves_nothing_in_store(recorder: Recorder, tmp_path: Any) -> None:
    """Orphan mitigation removes the failed provision from a store, and a new provision succeeds."""
    recorder.answers["provision"] = RuntimeError("the disk is full")
    kind = BROKER_KINDS["store, synchronous"]
    with broker_app(kind, recorder, tmp_path) as app:
        recorder.answers["provision"] = RuntimeError("the disk is full")
        client = make_client(app)
        error = error_of(CREATIONS["provision"], client)
        assert error.mitigation is not None
        assert error.mitigation.gone
        recorder.answers["provision"] = None
        client.provision("i1", OFFERING, SMALL)
    assert [type(request).__name__ for request in recorder.requests] == [
        "ProvisionRequest",
        "DeprovisionRequest",
        "ProvisionRequest",
    ]


@pytest.mark.integration
def test_orphan_mitigation_time_limits_hanging_requests(served_fake: FakeBroker, hang: Responder) -> None:
    """A hanging broker does not extend the time limit of orphan mitigation."""
    served_fake.script(respond(500), hang)
    start = time.monotonic()
    error = error_of(CREATIONS["provision"], make_client(served_fake.url, timeout=60, mitigate_for=0.1))
    assert time.monotonic() - start < 15
    assert error.mitigation is not None
    assert (error.mitigation.gone, error.mitigation.deletes) == (False, 1)
