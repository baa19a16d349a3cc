"""Tests of the exceptions for invalid responses and for error responses."""

from __future__ import annotations

import copy
import gzip
import pickle
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
    OperationFailed,
    PollingTimeout,
)
from brokerkit.client.exchange import Exchange
from brokerkit.results import MAX_OPERATION, LastOperation

from ..support.broker import make_offering
from ..support.fake_broker import FakeBroker, respond, respond_raw
from .conftest import OFFERING, SMALL, make_client

Call = Callable[[BrokerClient], Any]

CALLS: dict[str, Call] = {
    "catalog": lambda client: client.catalog(),
    "provision": lambda client: client.provision("i1", "s", "p"),
    "update": lambda client: client.update("i1", "s"),
    "deprovision": lambda client: client.deprovision("i1", "s", "p"),
    "bind": lambda client: client.bind("i1", "b1", "s", "p"),
    "unbind": lambda client: client.unbind("i1", "b1", "s", "p"),
    "get_instance": lambda client: client.get_instance("i1"),
    "get_binding": lambda client: client.get_binding("i1", "b1"),
    "last_operation": lambda client: client.last_operation("i1"),
    "last_binding_operation": lambda client: client.last_binding_operation("i1", "b1"),
}


def mistake_of(fake: FakeBroker, call: str) -> BrokerMistake:
    """Return the error that a call raises."""
    with pytest.raises(BrokerMistake) as caught:
        CALLS[call](make_client(fake, mitigate_for=0))
    return caught.value


UNEXPECTED_STATUSES = [
    ("catalog", 204, "200"),
    ("catalog", 304, "200"),
    ("provision", 204, "200 or 201 or 202, or an error status"),
    ("update", 201, "200 or 202, or an error status"),
    ("deprovision", 204, "200 or 202, or an error status"),
    ("bind", 203, "200 or 201 or 202, or an error status"),
    ("unbind", 201, "200 or 202, or an error status"),
    ("get_instance", 202, "200, or an error status"),
    ("get_binding", 201, "200, or an error status"),
    ("last_operation", 202, "200, or an error status"),
    ("last_binding_operation", 299, "200, or an error status"),
]


@pytest.mark.parametrize(("call", "status", "expected"), UNEXPECTED_STATUSES)
def test_client_rejects_unexpected_status_code(
    call: str, status: int, expected: str, fake: FakeBroker
) -> None:
    fake.script(respond(status, b"" if status in (204, 304) else None))
    error = mistake_of(fake, call)
    assert error.faults == (f"the status is {status}; it must be {expected}",)
    assert error.exchange.status == status


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("location", ["/v2/elsewhere", "http://["])
def test_client_does_not_follow_redirects(call: str, location: str, fake: FakeBroker) -> None:
    fake.script(respond(302, Location=location), respond(200, {"services": [], "state": "succeeded"}))
    (fault,) = mistake_of(fake, call).faults
    assert fault.startswith("the status is 302; it must be 200")
    assert len(fake.requests) == 1


BODIES = {
    "empty": b"",
    "HTML": b"<html>It works!</html>",
    "array": b"[]",
    "string": b'"ok"',
    "null": b"null",
    "truncated object": b'{"state": ',
    "not UTF-8": b'{"state": "succe\xfcded", "services": []}',
    "UTF-16": '{"state": "succeeded"}'.encode("utf-16"),
    "101 nested objects": b'{"a":' * 101 + b"1" + b"}" * 101,
    "100,000 nested arrays": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("call", CALLS)
def test_client_rejects_non_object_json_body(call: str, body: str, fake: FakeBroker) -> None:
    fake.script(respond(200, BODIES[body]))
    error = mistake_of(fake, call)
    assert error.faults == ("the body is not a JSON object",)
    assert "the service broker returned an invalid response" in str(error)


MOUNT = {
    "driver": "d",
    "container_dir": "/",
    "mode": "r",
    "device_type": "shared",
    "device": {"volume_id": "v"},
}
FIELDS: list[tuple[str, int, dict[str, Any], list[str]]] = [
    ("provision", 201, {"dashboard_url": 1}, ["dashboard_url: expected a string, got a number"]),
    ("provision", 200, {"metadata": []}, ["metadata: expected an object, got an array"]),
    (
        "provision",
        202,
        {"operation": 7, "dashboard_url": [], "metadata": {"labels": "x", "attributes": [1]}},
        [
            "operation: expected a string, got a number",
            "dashboard_url: expected a string, got an array",
            "metadata.labels: expected an object, got a string",
            "metadata.attributes: expected an object, got an array",
        ],
    ),
    (
        "update",
        202,
        {"operation": "x" * (MAX_OPERATION + 1)},
        ["operation: has 10,001 characters; 1 to 10,000 are allowed (R-PROV-1)"],
    ),
    (
        "deprovision",
        202,
        {"operation": ""},
        ["operation: has 0 characters; 1 to 10,000 are allowed (R-PROV-1)"],
    ),
    ("bind", 202, {"operation": {}}, ["operation: expected a string, got an object"]),
    ("unbind", 202, {"operation": False}, ["operation: expected a string, got true or false"]),
    (
        "bind",
        201,
        {
            "credentials": "db://x",
            "syslog_drain_url": {},
            "route_service_url": 3,
            "volume_mounts": [{"mode": "x", "device": {}}, {**MOUNT, "device": 5}, 7],
            "endpoints": [
                {"host": "h", "ports": []},
                {"host": "", "ports": ["1"]},
                {"host": 1, "ports": [443]},
                {"host": "h", "ports": ["9-1"]},
                {"host": "h", "ports": ["443"], "protocol": "icmp"},
            ],
            "metadata": {"expires_at": "tomorrow", "renew_before": 5},
        },
        [
            "credentials: expected an object, got a string",
            "syslog_drain_url: expected a string, got an object",
            "route_service_url: expected a string, got a number",
            "volume_mounts[0].driver: is required",
            "volume_mounts[0].container_dir: is required",
            'volume_mounts[0].mode: is "x"; it must be "r" or "rw"',
            "volume_mounts[0].device.volume_id: is required",
            "volume_mounts[1].device: expected an object, got a number",
            "volume_mounts[2]: expected an object, got a number",
            'endpoints[0].ports: takes a list with at least one port, such as ["443"]',
            "endpoints[1].host: is empty",
            "endpoints[2].host: expected a string, got a number",
            "endpoints[2].ports[0]: expected a string, got a number",
            'endpoints[3].ports: \'9-1\' is neither a port ("443") nor a range ("9000-9010")',
            'endpoints[4].protocol: is "icmp"; it must be "tcp", "udp" or "all"',
            "metadata.expires_at: is not a time such as 2030-01-31T12:00:00.0Z",
            "metadata.renew_before: expected a time, got a number",
        ],
    ),
    (
        "get_binding",
        200,
        {
            "endpoints": {},
            "volume_mounts": "x",
            "parameters": [],
            "metadata": {"expires_at": "2030-01-01T00:00:00"},
        },
        [
            "volume_mounts: expected an array, got a string",
            "endpoints: expected an array, got an object",
            "metadata.expires_at: has no time zone",
            "parameters: expected an object, got an array",
        ],
    ),
    (
        "get_binding",
        200,
        {"metadata": {"expires_at": "2030-01-01T00:00:00Z", "renew_before": "2030-01-02T00:00:00Z"}},
        ["metadata.renew_before: is after expires_at"],
    ),
    (
        "get_instance",
        200,
        {"service_id": 1, "plan_id": [], "maintenance_info": {"description": 2}, "parameters": "x"},
        [
            "service_id: expected a string, got a number",
            "plan_id: expected a string, got an array",
            "parameters: expected an object, got a string",
            "maintenance_info.version: is required",
            "maintenance_info.description: expected a string, got a number",
        ],
    ),
    ("last_operation", 200, {}, ["state: is required"]),
    ("last_operation", 200, {"state": None}, ["state: is required"]),
    (
        "last_operation",
        200,
        {"state": "done", "description": 1, "instance_usable": "yes", "update_repeatable": 0},
        [
            'state: is "done"; it must be "in progress", "succeeded" or "failed"',
            "description: expected a string, got a number",
            "instance_usable: expected true or false, got a string",
            "update_repeatable: expected true or false, got a number",
        ],
    ),
    (
        "last_binding_operation",
        200,
        {"state": ["x" * 100]},
        [f'state: is ["{"x" * 58}…; it must be "in progress", "succeeded" or "failed"'],
    ),
]


@pytest.mark.parametrize(("call", "status", "body", "faults"), FIELDS)
def test_client_reports_every_invalid_field_with_path(
    call: str, status: int, body: dict[str, Any], faults: list[str], fake: FakeBroker
) -> None:
    fake.script(respond(status, body))
    error = mistake_of(fake, call)
    assert list(error.faults) == faults
    for fault in faults:
        assert fault in str(error)


@pytest.mark.parametrize(
    ("call", "status", "body"),
    [
        ("provision", 201, {"dashboard_url": None, "metadata": None, "operation": 7}),
        ("provision", 202, {"operation": None}),
        ("bind", 202, {"operation": "o", "metadata": 7}),
        ("bind", 201, {"credentials": None, "volume_mounts": [MOUNT], "endpoints": []}),
        ("deprovision", 410, b"gone"),
        ("unbind", 410, b""),
        ("update", 200, {"unknown": 1}),
        ("get_binding", 200, {"metadata": {"expires_at": "2030-01-01T00:00:00.0Z"}}),
    ],
)
def test_client_tolerates_harmless_deviations(call: str, status: int, body: object, fake: FakeBroker) -> None:
    """Null fields, unknown fields and bodies of a 410 that are not JSON are accepted, as by platforms."""
    fake.script(respond(status, body))
    assert CALLS[call](make_client(fake)) is not None


BINDING_WITH_FEATURES = {
    "syslog_drain_url": "syslog://logs.example.org",
    "route_service_url": "https://route.example.org",
    "volume_mounts": [MOUNT],
}


@pytest.mark.rule("R-BIND-2")
def test_binding_with_unrequired_features_is_rejected(fake: FakeBroker) -> None:
    """A drain, a route service or a volume mount needs the offering's `requires`.

    After such a bind, the client deletes the binding.
    """
    client = make_client(fake)
    faults = (
        "syslog_drain_url: the offering 'db' does not require 'syslog_drain'",
        "route_service_url: the offering 'db' does not require 'route_forwarding'",
        "volume_mounts: the offering 'db' does not require 'volume_mount'",
    )
    fake.script(respond(201, BINDING_WITH_FEATURES), respond(200))
    with pytest.raises(BrokerMistake) as caught:
        client.bind("i1", "b1", OFFERING, SMALL)
    assert caught.value.faults == faults
    assert fake.methods == ["PUT", "DELETE"], "the client must delete the invalid binding"
    fake.script(respond(200, BINDING_WITH_FEATURES))
    with pytest.raises(BrokerMistake) as caught:
        client.get_binding("i1", "b1", offering=OFFERING)
    assert caught.value.faults == faults


@pytest.mark.rule("R-BIND-2")
def test_binding_with_required_features_is_accepted(fake: FakeBroker) -> None:
    offering = make_offering(requires=["syslog_drain", "route_forwarding", "volume_mount"])
    client = make_client(fake)
    fake.script(respond(201, BINDING_WITH_FEATURES))
    assert client.bind("i1", "b1", offering, SMALL) == client.bind("i1", "b1", "another-id", SMALL)


def test_invalid_catalog_reports_all_errors(fake: FakeBroker) -> None:
    offering = {
        "id": "s",
        "name": "s",
        "bindable": "yes",
        "plans": [{"id": "p", "name": "p", "description": "p"}],
    }
    fake.script(respond(200, {"services": [offering, {**offering, "bindable": True, "description": "d"}]}))
    faults = mistake_of(fake, "catalog").faults
    assert any(fault.startswith("services[0]") and "'description' is required" in fault for fault in faults)
    assert any("services[0].bindable" in fault for fault in faults)


@pytest.mark.rule("R-CAT-6")
def test_platform_specific_catalog_limits_are_warnings(fake: FakeBroker) -> None:
    plan = {"id": "p", "name": "p", "description": "d" * 10_001, "unknown": 1}
    offering = {"id": "s", "name": "s", "description": "s", "bindable": True, "plans": [plan]}
    fake.script(respond(200, {"services": [offering]}))
    catalog = make_client(fake).catalog()
    assert catalog.warnings
    assert catalog.services[0].plans[0].free is True


def test_catalog_error_response_raises_broker_refused(fake: FakeBroker) -> None:
    fake.script(respond(503, {"description": "Come back later"}))
    with pytest.raises(BrokerRefused, match="returned 503: Come back later"):
        make_client(fake).catalog()


@pytest.mark.parametrize("call", ["catalog", "provision", "last_operation"])
@pytest.mark.parametrize("status", [200, 500])
def test_oversized_response_body_is_abandoned(call: str, status: int, fake: FakeBroker) -> None:
    """The client stops after 16 MiB and reports the limit."""
    fake.script(respond(status, b" " * (16 * 1024 * 1024 + 1)))
    error = mistake_of(fake, call)
    assert error.faults == ("the body is longer than 16,777,216 bytes",)
    assert len(str(error)) < 1000


@pytest.mark.parametrize("call", ["catalog", "update"])
def test_wrong_content_encoding_is_an_error(call: str, fake: FakeBroker) -> None:
    fake.script(respond(200, b"{}", Content_Encoding="gzip"))
    error = mistake_of(fake, call)
    assert error.faults == ("the body is not valid gzip, which the header Content-Encoding names",)


def test_compressed_response_is_decoded(fake: FakeBroker) -> None:
    fake.script(respond(200, gzip.compress(b'{"state": "succeeded"}'), Content_Encoding="gzip"))
    assert make_client(fake).last_operation("i1").state == "succeeded"


@pytest.mark.integration
def test_chunked_response_is_decoded(served_fake: FakeBroker) -> None:
    chunks = b'8\r\n{"state"\r\ne\r\n: "succeeded"}\r\n0\r\n\r\n'
    served_fake.script(respond(200, chunks, Transfer_Encoding="chunked"))
    assert make_client(served_fake.url).last_operation("i1").state == "succeeded"


@pytest.mark.integration
@pytest.mark.parametrize(
    "head", [b"X-Latin: \xfc\xff", b"X-Empty:", b"No colon here", b"X-Long: " + b"x" * 60_000]
)
def test_malformed_response_headers_are_tolerated(head: bytes, served_fake: FakeBroker) -> None:
    body = b'{"state": "succeeded"}'
    served_fake.script(respond_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n" + head + b"\r\n\r\n" + body))
    assert make_client(served_fake.url).last_operation("i1").state == "succeeded"


# Error responses

SUCCESSFUL_410 = {("deprovision", 410), ("unbind", 410)}
ERROR_RESPONSES = [
    (call, status)
    for call in CALLS
    for status in (400, 401, 404, 409, 410, 412, 422, 500, 599)
    if (call, status) not in SUCCESSFUL_410
]


@pytest.mark.parametrize(("call", "status"), ERROR_RESPONSES)
def test_error_response_raises_broker_refused(call: str, status: int, fake: FakeBroker) -> None:
    """The exception has the status code, the error code and the description."""
    fake.script(respond(status, {"error": "ErrorCode", "description": "The reason"}))
    with pytest.raises(BrokerRefused) as caught:
        CALLS[call](make_client(fake, mitigate_for=0))
    error = caught.value
    assert (error.status, error.error, error.description) == (status, "ErrorCode", "The reason")
    assert f"returned {status} ErrorCode: The reason" in str(error)
    assert f"→ {status} " in str(error)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad gateway</html>", b"[]", b'{"error": 1, "description": []}', b'{"description": ""}'],
)
def test_error_response_without_description_is_accepted(body: bytes, fake: FakeBroker) -> None:
    fake.script(respond(502, body))
    with pytest.raises(BrokerRefused, match="returned 502: no description") as caught:
        make_client(fake).update("i1", "s")
    assert (caught.value.error, caught.value.description) == (None, None)


@pytest.mark.rule("R-ERR-2")
@pytest.mark.parametrize(
    ("body", "usable", "repeatable"),
    [
        ({}, None, None),
        ({"instance_usable": False}, False, None),
        ({"instance_usable": True, "update_repeatable": False}, True, False),
        ({"instance_usable": "no", "update_repeatable": 0}, None, None),
    ],
)
def test_error_response_exposes_usability_flags(
    body: dict[str, Any], usable: bool | None, repeatable: bool | None, fake: FakeBroker
) -> None:
    """`instance_usable` and `update_repeatable` are read if they are booleans, and are None otherwise."""
    fake.script(respond(500, body))
    with pytest.raises(BrokerRefused) as caught:
        make_client(fake).update("i1", "s")
    assert (caught.value.instance_usable, caught.value.update_repeatable) == (usable, repeatable)


# Pickling

EXCHANGE = Exchange(
    method="PUT",
    url="http://broker.example/v2/service_instances/i1",
    headers={},
    status=500,
    response_body=b'{"error": "ErrorCode", "description": "The reason", "instance_usable": true}',
)
MITIGATION = Mitigation(gone=True, deletes=2, last=EXCHANGE)
ERRORS: list[ClientError] = [
    BrokerUnreachable(EXCHANGE),
    BrokerRefused(EXCHANGE),
    BrokerMistake(("state: is required", "operation: has 0 characters"), EXCHANGE),
    OperationFailed(LastOperation.failed("The disk is full"), EXCHANGE),
    PollingTimeout(1.5, EXCHANGE),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("mitigation", [None, MITIGATION], ids=["plain", "mitigation"])
def test_errors_can_be_pickled(error: ClientError, mitigation: Mitigation | None) -> None:
    """A pickled error keeps its class, texts and attributes, so that it can cross processes."""
    error = copy.copy(error)
    error.mitigation = mitigation
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is type(error)
    assert (str(restored), repr(restored), restored.args) == (str(error), repr(error), error.args)
    assert vars(restored) == vars(error)
