"""DELETE of a binding (R-UNB) or an instance (R-DEL) in a broker with a store."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import (
    Accepted,
    BindingDoesNotExist,
    BrokerError,
    InstanceDoesNotExist,
    LastOperation,
    ServicePlan,
)

from ..support.broker import (
    BINDING,
    DELETE_QUERY,
    IDS,
    INSTANCE,
    PROVISION,
    Recorder,
    error_of,
    make_offering,
)
from ..support.stateful import (
    CAN_POLL,
    DELETE_AND_POLL,
    SECRET,
    Gate,
    Platform,
    Serve,
    last_operation,
    poll_until_done,
)

PATHS = [pytest.param(INSTANCE, "deprovision", id="instance"), pytest.param(BINDING, "unbind", id="binding")]


def requests_of(recorder: Recorder, operation: str) -> list[Any]:
    name = f"{operation.title()}Request"
    return [request for request in recorder.requests if type(request).__name__ == name]


@pytest.fixture
def bound(platform: Platform) -> Platform:
    """A platform that has an instance and a binding."""
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    return platform


@pytest.mark.rule("R-UNB-1", "R-DEL-1")
@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_repeated_delete_is_410(bound: Platform, recorder: Recorder, path: str, operation: str) -> None:
    """The first DELETE is 200 with an empty object, and the handler is called once."""
    first = bound.delete(path, query=DELETE_QUERY)
    assert (first.status_code, first.json) == (200, {})
    again = bound.delete(path, query=DELETE_QUERY)
    assert again.status_code == 410
    assert len(requests_of(recorder, operation)) == 1


@pytest.mark.rule("R-UNB-1", "R-DEL-1")
@pytest.mark.parametrize("path", [INSTANCE, BINDING])
def test_delete_of_unknown_resource_is_410(platform: Platform, recorder: Recorder, path: str) -> None:
    assert platform.delete(path, query=DELETE_QUERY).status_code == 410
    assert platform.delete(path, query=DELETE_AND_POLL).status_code == 410
    assert not recorder.requests


@pytest.mark.rule("R-UNB-1", "R-DEL-1", "R-DEL-4", "R-UNB-4")
@pytest.mark.parametrize(("path", "operation"), PATHS)
@pytest.mark.parametrize("way", ["accepted", "background"])
def test_delete_in_progress_returns_same_operation(
    serve: Serve, recorder: Recorder, path: str, operation: str, way: str
) -> None:
    """A repeated DELETE returns 202 with the same `operation`.

    A platform that cannot poll gets 422 ConcurrencyError.
    """
    gate = Gate()
    recorder.answers[operation] = Accepted() if way == "accepted" else gate
    platform = serve(recorder, background=[operation] if way == "background" else [])
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    first = platform.delete(path, query=DELETE_AND_POLL)
    again = platform.delete(path, query=DELETE_AND_POLL)
    assert first.status_code == again.status_code == 202
    assert first.json == again.json
    assert first.json["operation"]
    cannot_poll = platform.delete(path, query=DELETE_QUERY)
    assert (cannot_poll.status_code, error_of(cannot_poll)["error"]) == (422, "ConcurrencyError")
    gate.open()
    assert poll_until_done(platform, path, first.json["operation"])["state"] == "succeeded"
    assert platform.delete(path, query=DELETE_AND_POLL).status_code == 410
    assert len(requests_of(recorder, operation)) == 1


@pytest.mark.rule("R-UNB-2", "R-DEL-2")
@pytest.mark.parametrize(
    "query", ["", "service_id=db-id", "plan_id=small-id", "service_id=x&plan_id=small-id"]
)
@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_delete_requires_service_and_plan(
    bound: Platform, recorder: Recorder, path: str, operation: str, query: str
) -> None:
    assert bound.delete(path, query=query).status_code == 400
    assert not requests_of(recorder, operation)


@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_delete_uses_stored_plan(bound: Platform, recorder: Recorder, path: str, operation: str) -> None:
    """A DELETE that names an outdated plan is accepted, and the handler gets the stored plan."""
    bound.patch(INSTANCE, {"service_id": "db-id", "plan_id": "large-id"})
    assert bound.delete(path, query=DELETE_QUERY).status_code == 200
    (request,) = requests_of(recorder, operation)
    assert request.plan.id == request.instance.plan.id == "large-id"


@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_delete_with_other_offering_is_400(
    serve: Serve, recorder: Recorder, path: str, operation: str
) -> None:
    plan = ServicePlan(id="tiny-id", name="tiny", description="Tiny")
    platform = serve(recorder, make_offering(), make_offering(id="cache-id", name="cache", plans=[plan]))
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    assert platform.delete(path, query="service_id=cache-id&plan_id=tiny-id").status_code == 400
    assert not requests_of(recorder, operation)


@pytest.mark.rule("R-UNB-2", "R-DEL-2")
@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_background_delete_without_polling_is_async_required(
    serve: Serve, recorder: Recorder, path: str, operation: str
) -> None:
    """The resource is unchanged."""
    platform = serve(recorder, background=[operation])
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    response = platform.delete(path, query=DELETE_QUERY)
    assert (response.status_code, error_of(response)["error"]) == (422, "AsyncRequired")
    assert platform.get(path).status_code == 200


@pytest.mark.rule("R-UNB-2", "R-DEL-2")
@pytest.mark.parametrize(
    ("path", "busy"),
    [(INSTANCE, "update"), (INSTANCE, "bind"), (BINDING, "update"), (BINDING, "deprovision")],
)
def test_delete_during_other_operation_is_422(
    bound: Platform, recorder: Recorder, path: str, busy: str
) -> None:
    recorder.answers[busy] = Accepted()
    recorder.answers["last_operation"] = LastOperation.in_progress()
    match busy:
        case "update":
            bound.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL)
        case "bind":
            bound.put(f"{INSTANCE}/service_bindings/b2", IDS, query=CAN_POLL)
        case _:
            bound.delete(INSTANCE, query=DELETE_AND_POLL)
    response = bound.delete(path, query=DELETE_AND_POLL)
    assert (response.status_code, error_of(response)["error"]) == (422, "ConcurrencyError")


@pytest.mark.rule("R-DEL-1", "R-UNB-1", "R-GETB")
def test_deprovision_deletes_remaining_bindings(bound: Platform, recorder: Recorder) -> None:
    """The handler gets the remaining bindings. They stay deleted when the instance is created again."""
    bound.put(f"{INSTANCE}/service_bindings/b2", {**IDS, "parameters": {"role": "reader"}})
    seen: list[Any] = []

    def look(request: Any) -> None:
        seen.extend(
            (binding.binding_id, binding.parameters, binding.result) for binding in request.instance.bindings
        )

    recorder.answers["deprovision"] = look
    assert bound.delete(INSTANCE, query=DELETE_QUERY).status_code == 200
    assert seen == [("b1", {}, SECRET), ("b2", {"role": "reader"}, SECRET)]
    assert bound.get(BINDING).status_code == 404
    assert bound.delete(BINDING, query=DELETE_QUERY).status_code == 410
    bound.put(INSTANCE, PROVISION)
    assert bound.get(BINDING).status_code == 404
    assert bound.delete(BINDING, query=DELETE_QUERY).status_code == 410
    assert bound.put(BINDING, IDS).status_code == 201


@pytest.mark.rule("R-REQ-8", "R-LAST-1")
@pytest.mark.parametrize("error", [ValueError("inside"), BrokerError("Out of order", status=503)])
@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_failed_delete_leaves_resource_usable(
    bound: Platform, recorder: Recorder, path: str, operation: str, error: Exception
) -> None:
    """The resource is unchanged, polls return failed, and a second DELETE is 200."""
    recorder.answers[operation] = error
    assert bound.delete(path, query=DELETE_QUERY).status_code >= 500
    assert bound.get(path).status_code == 200
    assert last_operation(bound, path)["state"] == "failed"
    recorder.answers[operation] = None
    assert bound.delete(path, query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-UNB-1", "R-DEL-1")
@pytest.mark.parametrize(
    ("path", "operation", "error"),
    [
        (INSTANCE, "deprovision", InstanceDoesNotExist),
        (BINDING, "unbind", BindingDoesNotExist),
        (BINDING, "unbind", InstanceDoesNotExist),
    ],
)
def test_handler_reporting_missing_resource_is_410(
    bound: Platform, recorder: Recorder, path: str, operation: str, error: type[Exception]
) -> None:
    """The deletion is stored, so a second DELETE does not call the handler."""
    recorder.answers[operation] = error()
    assert bound.delete(path, query=DELETE_QUERY).status_code == 410
    assert bound.get(path).status_code == 404
    assert bound.delete(path, query=DELETE_QUERY).status_code == 410
    assert len(requests_of(recorder, operation)) == 1


@pytest.mark.rule("R-LAST-3", "R-UNB-1", "R-DEL-1")
@pytest.mark.parametrize("way", ["accepted", "background"])
@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_missing_resource_ends_asynchronous_delete_successfully(
    serve: Serve, recorder: Recorder, path: str, operation: str, way: str
) -> None:
    """DoesNotExist from the background handler or from a poll ends the operation as succeeded."""
    gone = InstanceDoesNotExist() if operation == "deprovision" else BindingDoesNotExist()
    polled = "last_operation" if operation == "deprovision" else "last_binding_operation"
    recorder.answers[operation] = Accepted() if way == "accepted" else gone
    recorder.answers[polled] = gone
    platform = serve(recorder, background=[operation] if way == "background" else [])
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    first = platform.delete(path, query=DELETE_AND_POLL).json["operation"]
    assert poll_until_done(platform, path, first) == {"state": "succeeded"}
    assert platform.delete(path, query=DELETE_QUERY).status_code == 410


@pytest.mark.rule("R-DEL-5", "R-UNB-5")
@pytest.mark.parametrize(("path", "operation"), PATHS)
@pytest.mark.parametrize("error", [ValueError("inside"), BrokerError("Out of order", status=503), "a text"])
def test_delete_after_failed_creation_calls_handler(
    platform: Platform, recorder: Recorder, path: str, operation: str, error: Any
) -> None:
    """After a failed creation a PUT is 409 until a DELETE has called the handler."""
    creation = "provision" if operation == "deprovision" else "bind"
    body = PROVISION if operation == "deprovision" else IDS
    if operation == "unbind":
        platform.put(INSTANCE, PROVISION)
    recorder.answers[creation] = error
    assert platform.put(path, body).status_code >= 500
    assert platform.put(path, body).status_code == 409
    assert platform.get(path).status_code == 404
    assert last_operation(platform, path)["state"] == "failed"
    assert platform.delete(path, query=DELETE_QUERY).status_code == 200
    assert len(requests_of(recorder, operation)) == 1
    assert platform.delete(path, query=DELETE_QUERY).status_code == 410
    recorder.answers[creation] = None if operation == "deprovision" else SECRET
    assert platform.put(path, body).status_code == 201


@pytest.mark.rule("R-DEL-5", "R-UNB-5")
@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_delete_after_failed_asynchronous_creation_calls_handler(
    platform: Platform, recorder: Recorder, path: str, operation: str
) -> None:
    """A creation that a poll reported as failed must still be cleaned up by the DELETE handler."""
    creation, polled = (
        ("provision", "last_operation") if path == INSTANCE else ("bind", "last_binding_operation")
    )
    if path == BINDING:
        platform.put(INSTANCE, PROVISION)
    recorder.answers[creation] = Accepted()
    recorder.answers[polled] = LastOperation.failed("No room")
    body = PROVISION if path == INSTANCE else IDS
    first = platform.put(path, body, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, path, first) == {"state": "failed", "description": "No room"}
    assert platform.put(path, body, query=CAN_POLL).status_code == 409
    assert platform.delete(path, query=DELETE_QUERY).status_code == 200
    assert len(requests_of(recorder, operation)) == 1


@pytest.mark.rule("R-DEL-1", "R-LAST-5")
def test_deletion_is_known_after_restart(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    serve.stop()
    platform = serve(recorder)
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 410
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}
