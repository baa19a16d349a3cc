"""What a broker that remembers answers to a DELETE of a binding (R-UNB) or an instance (R-DEL)."""

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


def asked(recorder: Recorder, operation: str) -> list[Any]:
    name = f"{operation.title()}Request"
    return [request for request in recorder.requests if type(request).__name__ == name]


@pytest.fixture
def bound(platform: Platform) -> Platform:
    """A platform that has an instance and a binding."""
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    return platform


@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_it_is_deleted_once(bound: Platform, recorder: Recorder, path: str, operation: str) -> None:
    """R-UNB-1, R-DEL-1: 200, then 410, each with an empty object."""
    first = bound.delete(path, query=DELETE_QUERY)
    assert (first.status_code, first.json) == (200, {})
    again = bound.delete(path, query=DELETE_QUERY)
    assert again.status_code == 410
    assert len(asked(recorder, operation)) == 1


@pytest.mark.parametrize("path", [INSTANCE, BINDING])
def test_what_never_was_is_gone(platform: Platform, recorder: Recorder, path: str) -> None:
    """R-UNB-1, R-DEL-1."""
    assert platform.delete(path, query=DELETE_QUERY).status_code == 410
    assert platform.delete(path, query=DELETE_AND_POLL).status_code == 410
    assert not recorder.requests


@pytest.mark.parametrize(("path", "operation"), PATHS)
@pytest.mark.parametrize("way", ["accepted", "background"])
def test_the_same_while_in_progress_is_the_same_operation(
    serve: Serve, recorder: Recorder, path: str, operation: str, way: str
) -> None:
    """R-UNB-1, R-DEL-1, R-DEL-4: also for a platform that lost the first answer."""
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
    assert len(asked(recorder, operation)) == 1


@pytest.mark.parametrize(
    "query", ["", "service_id=db-id", "plan_id=small-id", "service_id=x&plan_id=small-id"]
)
@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_offering_and_plan_are_required(
    bound: Platform, recorder: Recorder, path: str, operation: str, query: str
) -> None:
    """R-UNB-2, R-DEL-2."""
    assert bound.delete(path, query=query).status_code == 400
    assert not asked(recorder, operation)


@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_the_stored_plan_decides(bound: Platform, recorder: Recorder, path: str, operation: str) -> None:
    """A platform may not know how an update ended, and must be able to delete all the same."""
    bound.patch(INSTANCE, {"service_id": "db-id", "plan_id": "large-id"})
    assert bound.delete(path, query=DELETE_QUERY).status_code == 200
    (request,) = asked(recorder, operation)
    assert request.plan.id == request.instance.plan.id == "large-id"


@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_another_offering_is_refused(serve: Serve, recorder: Recorder, path: str, operation: str) -> None:
    plan = ServicePlan(id="tiny-id", name="tiny", description="Tiny")
    platform = serve(recorder, make_offering(), make_offering(id="cache-id", name="cache", plans=[plan]))
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    assert platform.delete(path, query="service_id=cache-id&plan_id=tiny-id").status_code == 400
    assert not asked(recorder, operation)


@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_async_required(serve: Serve, recorder: Recorder, path: str, operation: str) -> None:
    """R-UNB-2, R-DEL-2."""
    platform = serve(recorder, background=[operation])
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    response = platform.delete(path, query=DELETE_QUERY)
    assert (response.status_code, error_of(response)["error"]) == (422, "AsyncRequired")
    assert platform.get(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "busy"),
    [(INSTANCE, "update"), (INSTANCE, "bind"), (BINDING, "update"), (BINDING, "deprovision")],
)
def test_not_while_something_else_is_in_progress(
    bound: Platform, recorder: Recorder, path: str, busy: str
) -> None:
    """R-UNB-2, R-DEL-2: ConcurrencyError."""
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


def test_bindings_that_are_left_go_with_their_instance(bound: Platform, recorder: Recorder) -> None:
    """The handler sees them, to delete what belongs to them."""
    bound.put(f"{INSTANCE}/service_bindings/b2", {**IDS, "parameters": {"role": "reader"}})
    seen: list[Any] = []

    def look(request: Any) -> None:
        seen.extend((each.binding_id, each.parameters, each.result) for each in request.instance.bindings)

    recorder.answers["deprovision"] = look
    assert bound.delete(INSTANCE, query=DELETE_QUERY).status_code == 200
    assert seen == [("b1", {}, SECRET), ("b2", {"role": "reader"}, SECRET)]
    assert bound.get(BINDING).status_code == 404
    assert bound.delete(BINDING, query=DELETE_QUERY).status_code == 410
    bound.put(INSTANCE, PROVISION)
    assert bound.get(BINDING).status_code == 404
    assert bound.delete(BINDING, query=DELETE_QUERY).status_code == 410
    assert bound.put(BINDING, IDS).status_code == 201


@pytest.mark.parametrize("error", [ValueError("inside"), BrokerError("Out of order", status=503)])
@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_it_is_as_before_if_its_handler_fails(
    bound: Platform, recorder: Recorder, path: str, operation: str, error: Exception
) -> None:
    """R-REQ-8: and can be deleted again."""
    recorder.answers[operation] = error
    assert bound.delete(path, query=DELETE_QUERY).status_code >= 500
    assert bound.get(path).status_code == 200
    assert last_operation(bound, path)["state"] == "failed"
    recorder.answers[operation] = None
    assert bound.delete(path, query=DELETE_QUERY).status_code == 200


@pytest.mark.parametrize(
    ("path", "operation", "error"),
    [
        (INSTANCE, "deprovision", InstanceDoesNotExist),
        (BINDING, "unbind", BindingDoesNotExist),
        (BINDING, "unbind", InstanceDoesNotExist),
    ],
)
def test_what_the_handler_says_is_gone_is_gone(
    bound: Platform, recorder: Recorder, path: str, operation: str, error: type[Exception]
) -> None:
    """R-UNB-1, R-DEL-1: 410, and it is remembered."""
    recorder.answers[operation] = error()
    assert bound.delete(path, query=DELETE_QUERY).status_code == 410
    assert bound.get(path).status_code == 404
    assert bound.delete(path, query=DELETE_QUERY).status_code == 410
    assert len(asked(recorder, operation)) == 1


@pytest.mark.parametrize("way", ["accepted", "background"])
@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_what_is_found_gone_while_it_is_deleted_is_deleted(
    serve: Serve, recorder: Recorder, path: str, operation: str, way: str
) -> None:
    """R-LAST-3: it counts as success for a delete."""
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


@pytest.mark.parametrize(("path", "operation"), PATHS)
@pytest.mark.parametrize("error", [ValueError("inside"), BrokerError("Out of order", status=503), "a text"])
def test_after_a_failed_creation_the_delete_reaches_the_handler(
    platform: Platform, recorder: Recorder, path: str, operation: str, error: Any
) -> None:
    """R-DEL-5: and until then the id is taken."""
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
    assert len(asked(recorder, operation)) == 1
    assert platform.delete(path, query=DELETE_QUERY).status_code == 410
    recorder.answers[creation] = None if operation == "deprovision" else SECRET
    assert platform.put(path, body).status_code == 201


@pytest.mark.parametrize(("path", "operation"), PATHS)
def test_after_a_creation_that_failed_in_a_poll_the_delete_reaches_the_handler(
    platform: Platform, recorder: Recorder, path: str, operation: str
) -> None:
    """R-DEL-5."""
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
    assert len(asked(recorder, operation)) == 1


def test_a_delete_is_known_to_the_next_process(serve: Serve, recorder: Recorder) -> None:
    """R-DEL-1, R-LAST-5."""
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    serve.stop()
    platform = serve(recorder)
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 410
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}
