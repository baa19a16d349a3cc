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
def test_r_last_1_a_poll_is_200_with_the_state_and_description(
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


@pytest.mark.parametrize("usable", [True, False])
@pytest.mark.parametrize("repeatable", [True, False])
def test_r_last_1_a_failed_instance_operation_tells_what_the_instance_is_still_good_for(
    usable: bool, repeatable: bool, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["last_operation"] = LastOperation.failed(
        "It broke.", instance_usable=usable, update_repeatable=repeatable
    )
    assert platform.get(POLL).json == {
        "state": "failed",
        "description": "It broke.",
        "instance_usable": usable,
        "update_repeatable": repeatable,
    }


def test_r_err_2_a_failed_binding_operation_tells_nothing_of_the_instance(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["last_binding_operation"] = LastOperation.failed(instance_usable=False)
    assert platform.get(POLL_BINDING).status_code == 500
    assert "LastOperation(instance_usable=…)" in caplog.text


@both
@pytest.mark.parametrize("seconds", [0, 1, 3600])
def test_r_last_2_retry_after_says_when_to_poll_again(
    operation: str, path: str, seconds: int, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = LastOperation.in_progress("Waiting", retry_after=seconds)
    response = platform.get(path)
    assert response.headers["Retry-After"] == str(seconds)
    assert response.json == {"state": "in progress", "description": "Waiting"}


@pytest.mark.parametrize("seconds", [-1, 0.5, "1", True])
def test_r_last_2_retry_after_is_a_whole_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(ValueError, match="retry_after"):
        LastOperation.in_progress(retry_after=seconds)


@pytest.mark.parametrize(
    ("operation", "path", "error"),
    [
        ("last_operation", POLL, InstanceDoesNotExist()),
        ("last_binding_operation", POLL_BINDING, BindingDoesNotExist()),
        ("last_binding_operation", POLL_BINDING, InstanceDoesNotExist()),
    ],
)
def test_r_last_3_what_does_not_exist_is_404(
    operation: str, path: str, error: Exception, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = error
    response = platform.get(path)
    assert response.status_code == 404
    assert error_of(response)["error"] == type(error).__name__


@pytest.mark.parametrize(
    ("operation", "path", "error"),
    [
        ("last_operation", POLL, InstanceDoesNotExist(status=410)),
        ("last_binding_operation", POLL_BINDING, BindingDoesNotExist(status=410)),
    ],
)
def test_r_last_3_a_handler_that_knows_of_the_delete_may_answer_410(
    operation: str, path: str, error: Exception, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = error
    response = platform.get(path)
    assert (response.status_code, response.json) == (410, {})


@both
def test_r_last_4_an_operation_that_the_handler_does_not_know_is_400(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = BrokerError(
        "There is no such operation.", status=400, error="UnknownOperation"
    )
    response = platform.get(path, query="operation=nope")
    assert response.status_code == 400
    assert error_of(response)["error"] == "UnknownOperation"


@both
def test_r_last_4_a_query_field_given_twice_with_different_values_is_400(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    assert platform.get(path, query="operation=a&operation=b").status_code == 400
    assert not recorder.requests
    assert platform.get(path, query="operation=a&operation=a").status_code == 200


@both
def test_r_last_4_a_broker_that_never_answers_accepted_knows_no_operation(
    operation: str, path: str, recorder: Recorder
) -> None:
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
    ("query", "told"),
    [
        ("", None),
        ("operation=", None),
        ("operation=job+7", "job 7"),
        ("operation=a%26b%3D%2F%C3%A9%0A", "a&b=/é\n"),
        ("operation=" + "x" * 10_000, "x" * 10_000),
    ],
)
def test_r_last_the_operation_is_told_to_the_handler(
    operation: str, path: str, query: str, told: str | None, platform: Platform, recorder: Recorder
) -> None:
    assert platform.get(path, query=query).status_code == 200
    assert recorder.request.operation == told
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
def test_r_last_service_and_plan_are_hints_that_refuse_nothing(
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


@both
def test_r_last_5_the_same_poll_reaches_the_handler_again(
    operation: str, path: str, platform: Platform, recorder: Recorder
) -> None:
    first, second = (platform.get(path, query="operation=job") for _ in range(2))
    assert first.json == second.json == {"state": "succeeded"}
    assert recorder.requests[0] == recorder.requests[1]


def test_r_upd_6_a_poll_that_names_the_plan_before_the_update_reaches_the_handler_that_knows() -> None:
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


def test_r_upd_6_the_handler_of_the_named_plan_is_asked_first() -> None:
    asked: list[str] = []
    broker = Broker(Catalog([make_offering(bindable=False)]), auth=CREDENTIALS)
    for operation in ("provision", "deprovision", "get_instance", "update"):
        getattr(broker, operation)(lambda request: None)

    @broker.last_operation(plan="large")
    def of_large(request: LastOperationRequest) -> LastOperation:
        asked.append("large")
        return LastOperation.succeeded()

    @broker.last_operation(plan="small")
    def of_small(request: LastOperationRequest) -> LastOperation:
        asked.append("small")
        raise InstanceDoesNotExist

    poll = Platform(make_app(broker)).get(f"{INSTANCE}/last_operation", query=DELETE_QUERY)
    assert poll.status_code == 200
    assert asked == ["small", "large"]


def test_r_last_3_where_no_update_leads_away_from_a_plan_its_handler_alone_is_asked() -> None:
    broker = Broker(Catalog([make_offering(bindable=False, plan_updateable=False)]), auth=CREDENTIALS)
    for operation in ("provision", "deprovision", "get_instance", "update"):
        getattr(broker, operation)(lambda request: None)
    broker.last_operation(plan="large")(lambda request: LastOperation.failed("not asked"))

    @broker.last_operation(plan="small")
    def of_small(request: LastOperationRequest) -> LastOperation:
        raise InstanceDoesNotExist

    poll = Platform(make_app(broker)).get(f"{INSTANCE}/last_operation", query=DELETE_QUERY)
    assert poll.status_code == 404
