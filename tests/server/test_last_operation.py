"""Last operation: R-LAST."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import (
    Accepted,
    BindingDoesNotExist,
    Broker,
    BrokerError,
    Catalog,
    InstanceDoesNotExist,
    LastOperation,
    LastOperationRequest,
    ServicePlan,
)

from ..support.broker import (
    BINDING,
    CREDENTIALS,
    DELETE_QUERY,
    HANDLERS,
    INSTANCE,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

POLL = f"{INSTANCE}/last_operation"
POLL_BINDING = f"{BINDING}/last_operation"
both = pytest.mark.parametrize(
    ("operation", "path"),
    [
        pytest.param("last_operation", POLL, id="instance"),
        pytest.param("last_binding_operation", POLL_BINDING, id="binding"),
    ],
)


@pytest.mark.rule("R-LAST-1")
@both
@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (LastOperation.in_progress(), {"state": "in progress"}),
        (
            LastOperation.in_progress("Creating volume"),
            {"state": "in progress", "description": "Creating volume"},
        ),
        (LastOperation.succeeded(), {"state": "succeeded"}),
        (LastOperation.succeeded("Done."), {"state": "succeeded", "description": "Done."}),
        (LastOperation.failed(), {"state": "failed"}),
        (LastOperation.failed("No room."), {"state": "failed", "description": "No room."}),
    ],
)
def test_poll_is_200_with_state_and_description(
    operation: str,
    path: str,
    answer: LastOperation,
    body: dict[str, Any],
    platform: Platform,
    recorder: Recorder,
) -> None:
    recorder.answers[operation] = answer
    response = platform.get(path)
    assert (response.status_code, response.json) == (200, body)
    assert "Retry-After" not in response.headers


@pytest.mark.rule("R-LAST-1", "R-ERR-2")
@pytest.mark.parametrize("usable", [True, False])
@pytest.mark.parametrize("repeatable", [True, False])
def test_failed_instance_poll_contains_usability_fields(
    usable: bool, repeatable: bool, platform: Platform, recorder: Recorder
) -> None:
    """The response contains `instance_usable` and `update_repeatable`."""
    recorder.answers["last_operation"] = LastOperation.failed(
        "It broke.", instance_usable=usable, update_repeatable=repeatable
    )
    assert platform.get(POLL).json == {
        "state": "failed",
        "description": "It broke.",
        "instance_usable": usable,
        "update_repeatable": repeatable,
    }


@pytest.mark.rule("R-ERR-2", "R-LAST-1")
def test_failed_binding_poll_refuses_usability_fields(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The usability fields in a binding's poll result are a handler mistake and get 500."""
    recorder.answers["last_binding_operation"] = LastOperation.failed(instance_usable=False)
    assert platform.get(POLL_BINDING).status_code == 500
    assert "LastOperation(instance_usable=…)" in caplog.text


@pytest.mark.rule("R-LAST-2")
@both
@pytest.mark.parametrize("seconds", [0, 1, 3600])
def test_poll_sends_retry_after_header(
    operation: str, path: str, seconds: int, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = LastOperation.in_progress("Waiting", retry_after=seconds)
    response = platform.get(path)
    assert response.headers["Retry-After"] == str(seconds)
    assert response.json == {"state": "in progress", "description": "Waiting"}


@pytest.mark.rule("R-LAST-2")
@pytest.mark.parametrize("seconds", [-1, 0.5, "1", True])
def test_retry_after_must_be_whole_seconds(seconds: Any) -> None:
    with pytest.raises(ValueError, match="retry_after"):
        LastOperation.in_progress(retry_after=seconds)


@pytest.mark.rule("R-LAST-3")
@pytest.mark.parametrize(
    ("operation", "path", "error"),
    [
        ("last_operation", POLL, InstanceDoesNotExist()),
        ("last_binding_operation", POLL_BINDING, BindingDoesNotExist()),
        ("last_binding_operation", POLL_BINDING, InstanceDoesNotExist()),
    ],
)
def test_poll_of_missing_resource_is_404(
    operation: str, path: str, error: Exception, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = error
    response = platform.get(path)
    assert response.status_code == 404
    assert error_of(response)["error"] == type(error).__name__


@pytest.mark.rule("R-LAST-3")
@pytest.mark.parametrize(
    ("operation", "path", "error"),
    [
        ("last_operation", POLL, InstanceDoesNotExist(status=410)),
        ("last_binding_operation", POLL_BINDING, BindingDoesNotExist(status=410)),
    ],
)
def test_poll_handler_may_return_410(
    operation: str, path: str, error: Exception, platform: Platform, recorder: Recorder
) -> None:
    """A handler may return 410 for a deleted resource."""
    recorder.answers[operation] = error
    response = platform.get(path)
    assert (response.status_code, response.json) == (410, {})


@pytest.mark.rule("R-LAST-4")
@both
def test_poll_of_unknown_operation_is_400(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = BrokerError(
        "There is no such operation.", status=400, error="UnknownOperation"
    )
    response = platform.get(path, query="operation=nope")
    assert response.status_code == 400
    assert error_of(response)["error"] == "UnknownOperation"


@pytest.mark.rule("R-LAST-4")
@both
def test_poll_with_conflicting_query_parameter_is_400(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    """The same value given twice is accepted."""
    assert platform.get(path, query="operation=a&operation=b").status_code == 400
    assert not recorder.requests
    assert platform.get(path, query="operation=a&operation=a").status_code == 200


@pytest.mark.rule("R-LAST-4")
@both
def test_poll_without_handler_is_400(operation: str, path: str, recorder: Recorder) -> None:
    """A broker without a poll handler knows no operation."""
    broker = Broker(Catalog([make_offering()]), auth=CREDENTIALS)
    for other in HANDLERS:
        if other != operation:
            getattr(broker, other)(recorder.handler(other))
    response = Platform(make_app(broker)).get(path)
    assert response.status_code == 400
    assert error_of(response)["error"] == "UnknownOperation"
    assert not recorder.requests


@both
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("operation=", None),
        ("operation=job+7", "job 7"),
        ("operation=a%26b%3D%2F%C3%A9%0A", "a&b=/é\n"),
        ("operation=" + "x" * 10_000, "x" * 10_000),
    ],
)
def test_poll_passes_operation_to_handler(
    operation: str, path: str, query: str, expected: str | None, platform: Platform, recorder: Recorder
) -> None:
    """The operation is decoded from the query string; an empty one is None."""
    assert platform.get(path, query=query).status_code == 200
    assert recorder.request.operation == expected
    assert recorder.request.instance_id == "i1"
    assert getattr(recorder.request, "binding_id", "b1") == "b1"


@both
@pytest.mark.parametrize(
    ("query", "service", "plan"),
    [
        ("service_id=db-id&plan_id=small-id", "db-id", "small-id"),
        ("plan_id=tiny-id", "cache-id", "tiny-id"),
        ("service_id=gone&plan_id=gone", None, None),
    ],
)
def test_poll_accepts_unknown_offering_and_plan_hints(
    operation: str,
    path: str,
    query: str,
    service: str | None,
    plan: str | None,
    recorder: Recorder,
) -> None:
    tiny = ServicePlan(id="tiny-id", name="tiny", description="A tiny one")
    cache = make_offering(id="cache-id", name="cache", plans=[tiny])
    platform = Platform(make_app(make_broker(recorder, make_offering(), cache)))
    assert platform.get(path, query=query).status_code == 200
    assert (recorder.request.offering and recorder.request.offering.id) == service
    assert (recorder.request.plan and recorder.request.plan.id) == plan


@pytest.mark.rule("R-LAST-5")
@both
def test_repeated_poll_reaches_handler_again(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    first, second = (platform.get(path, query="operation=job") for _ in range(2))
    assert first.json == second.json == {"state": "succeeded"}
    assert recorder.requests[0] == recorder.requests[1]


@pytest.mark.rule("R-UPD-6")
def test_poll_with_previous_plan_finds_handler() -> None:
    """A poll with the plan before the update reaches the handler of the new plan."""
    broker = Broker(Catalog([make_offering(bindable=False)]), auth=CREDENTIALS)
    for operation in ("provision", "deprovision", "get_instance"):
        getattr(broker, operation)(lambda request: None)
    broker.update(lambda request: Accepted(operation="to large"))

    @broker.last_operation(plan="large")
    def of_large(request: LastOperationRequest) -> LastOperation:
        return LastOperation.in_progress("Moving")

    platform = Platform(make_app(broker))
    body = {"service_id": "db-id", "plan_id": "large-id", "previous_values": {"plan_id": "small-id"}}
    accepted = platform.patch(INSTANCE, body, query="accepts_incomplete=true")
    assert accepted.status_code == 202
    poll = platform.get(f"{INSTANCE}/last_operation", query=DELETE_QUERY)
    assert poll.json == {"state": "in progress", "description": "Moving"}


@pytest.mark.rule("R-UPD-6")
def test_poll_tries_handler_of_named_plan_first() -> None:
    """If that handler does not know the instance, the next one is called."""
    called: list[str] = []
    broker = Broker(Catalog([make_offering(bindable=False)]), auth=CREDENTIALS)
    for operation in ("provision", "deprovision", "get_instance", "update"):
        getattr(broker, operation)(lambda request: None)

    @broker.last_operation(plan="large")
    def of_large(request: LastOperationRequest) -> LastOperation:
        called.append("large")
        return LastOperation.succeeded()

    @broker.last_operation(plan="small")
    def of_small(request: LastOperationRequest) -> LastOperation:
        called.append("small")
        raise InstanceDoesNotExist

    poll = Platform(make_app(broker)).get(f"{INSTANCE}/last_operation", query=DELETE_QUERY)
    assert poll.status_code == 200
    assert called == ["small", "large"]


@pytest.mark.rule("R-LAST-3")
def test_poll_of_fixed_plan_tries_one_handler() -> None:
    """Without plan updates, only the handler of the named plan is called."""
    broker = Broker(Catalog([make_offering(bindable=False, plan_updateable=False)]), auth=CREDENTIALS)
    for operation in ("provision", "deprovision", "get_instance", "update"):
        getattr(broker, operation)(lambda request: None)
    broker.last_operation(plan="large")(lambda request: LastOperation.failed("not asked"))

    @broker.last_operation(plan="small")
    def of_small(request: LastOperationRequest) -> LastOperation:
        raise InstanceDoesNotExist

    poll = Platform(make_app(broker)).get(f"{INSTANCE}/last_operation", query=DELETE_QUERY)
    assert poll.status_code == 404
