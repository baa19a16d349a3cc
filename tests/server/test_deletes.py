"""Unbind and deprovision: R-UNB, R-DEL."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import (
    Accepted,
    AsyncRequired,
    BindingDoesNotExist,
    BrokerError,
    ConcurrencyError,
    Deprovisioned,
    InstanceDoesNotExist,
    ServicePlan,
    Unbound,
)

from ..support.broker import (
    BINDING,
    DELETE_QUERY,
    INSTANCE,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

DELETES = [
    pytest.param("deprovision", INSTANCE, id="deprovision"),
    pytest.param("unbind", BINDING, id="unbind"),
]
both = pytest.mark.parametrize(("operation", "path"), DELETES)
SUCCESS = {"deprovision": Deprovisioned(), "unbind": Unbound()}
GONE: dict[str, type[BrokerError]] = {
    "deprovision": InstanceDoesNotExist,
    "unbind": BindingDoesNotExist,
}


@pytest.mark.rule("R-DEL-1", "R-UNB-1")
@both
@pytest.mark.parametrize("explicit", [True, False])
def test_delete_is_200_with_empty_object(
    operation: str, path: str, explicit: bool, platform: Platform, recorder: Recorder
) -> None:
    """A handler may return None or the result object."""
    recorder.answers[operation] = SUCCESS[operation] if explicit else None
    response = platform.delete(path, query=DELETE_QUERY)
    assert (response.status_code, response.data) == (200, b"{}")


@pytest.mark.rule("R-DEL-1", "R-UNB-1")
@both
def test_delete_in_progress_repeats_202_with_operation(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = Accepted(operation="job 7")
    for _ in range(2):
        response = platform.delete(path, query=f"{DELETE_QUERY}&accepts_incomplete=true")
        assert (response.status_code, response.json) == (202, {"operation": "job 7"})


@pytest.mark.rule("R-DEL-1", "R-UNB-1")
@both
def test_delete_of_missing_resource_is_410(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    """The body is an empty object."""
    recorder.answers[operation] = GONE[operation]("It was deleted by the operator.")
    response = platform.delete(path, query=DELETE_QUERY)
    assert (response.status_code, response.data) == (410, b"{}")


@pytest.mark.rule("R-UNB-1")
def test_unbind_from_missing_instance_is_410(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["unbind"] = InstanceDoesNotExist()
    assert platform.delete(BINDING, query=DELETE_QUERY).status_code == 410


@pytest.mark.rule("R-DEL-2", "R-UNB-2")
@both
@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("", "The query string must have service_id and plan_id."),
        ("service_id=db-id", "The query string must have plan_id."),
        ("plan_id=small-id", "The query string must have service_id."),
        ("service_id=&plan_id=small-id", "The query string must have service_id."),
        (
            "service_id=nope&plan_id=small-id",
            "service_id: The catalog has no service offering 'nope'.",
        ),
        (
            "service_id=db-id&plan_id=nope",
            "plan_id: The catalog has no service plan 'nope'.",
        ),
        (
            "service_id=db-id&plan_id=tiny-id",
            "plan_id: The service offering 'db' has no service plan 'tiny-id'.",
        ),
        (
            "service_id=db-id&service_id=cache-id&plan_id=small-id",
            "The query parameter service_id is given more than once, with different values.",
        ),
        (
            "service_id=%FF&plan_id=small-id",
            "service_id: The catalog has no service offering '\ufffd'.",
        ),
    ],
)
def test_delete_without_valid_catalog_ids_is_400(
    operation: str, path: str, query: str, fault: str, recorder: Recorder
) -> None:
    """The ids of an offering and one of its plans are required in the query string."""
    tiny = ServicePlan(id="tiny-id", name="tiny", description="A tiny one")
    cache = make_offering(id="cache-id", name="cache", plans=[tiny])
    platform = Platform(make_app(make_broker(recorder, make_offering(), cache)))
    response = platform.delete(path, query=query)
    assert response.status_code == 400
    assert error_of(response)["description"] == fault
    assert not recorder.requests


@pytest.mark.rule("R-DEL-2", "R-UNB-2", "R-ERR-3")
@both
@pytest.mark.parametrize("error", [AsyncRequired(), ConcurrencyError()])
def test_delete_handler_may_refuse_with_422(
    operation: str, path: str, error: BrokerError, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = error
    response = platform.delete(path, query=DELETE_QUERY)
    assert response.status_code == 422
    assert error_of(response)["error"] == type(error).__name__


@pytest.mark.rule("R-DEL-4", "R-UNB-4")
@both
def test_delete_202_has_default_operation(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = Accepted()
    response = platform.delete(path, query=f"{DELETE_QUERY}&accepts_incomplete=true")
    assert (response.status_code, response.json) == (202, {"operation": operation})


@both
@pytest.mark.parametrize("more", [{}, {"data": b"{"}, {"data": b"[]", "body": None}])
def test_delete_ignores_request_body(
    operation: str, path: str, more: dict[str, Any], platform: Platform
) -> None:
    assert platform.delete(path, query=DELETE_QUERY, **more).status_code == 200


@pytest.mark.rule("R-REQ-9")
@both
def test_delete_handler_receives_all_request_fields(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    platform.delete(path, query=f"{DELETE_QUERY}&accepts_incomplete=true")
    request = recorder.request
    assert request.instance_id == "i1"
    assert getattr(request, "binding_id", "b1") == "b1"
    assert (request.offering.name, request.plan.name) == ("db", "small")
    assert request.accepts_incomplete is True


@pytest.mark.rule("R-UNB-1")
def test_unbind_of_unbindable_plan_calls_handler(
    recorder: Recorder,
) -> None:
    """A platform can still clean up a binding after the plan became unbindable."""
    plans = [ServicePlan(id="small-id", name="small", description="…", bindable=False)]
    platform = Platform(make_app(make_broker(recorder, make_offering(plans=plans))))
    assert platform.delete(BINDING, query=DELETE_QUERY).status_code == 200
    assert recorder.request.binding_id == "b1"
