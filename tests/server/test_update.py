"""Update: R-UPD."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from brokerkit import (
    Accepted,
    AsyncRequired,
    Broker,
    Catalog,
    ConcurrencyError,
    InstanceDoesNotExist,
    InstanceMetadata,
    MaintenanceInfo,
    MaintenanceInfoConflict,
    PlanChangeNotSupported,
    PreviousValues,
    ServiceOffering,
    ServicePlan,
    Updated,
)

from ..support.broker import (
    CREDENTIALS,
    HANDLERS,
    IDS,
    INSTANCE,
    PARAMETERS,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

POLLS = "accepts_incomplete=true"
SERVICE = {"service_id": "db-id"}
CONTEXT = {"platform": "cloudfoundry", "instance_name": "orders"}


def previous(plan_id: str) -> dict[str, Any]:
    return {"previous_values": {"service_id": "db-id", "plan_id": plan_id}}


def platform_with(recorder: Recorder, **fields: Any) -> Platform:
    return Platform(make_app(make_broker(recorder, make_offering(**fields))))


@pytest.mark.rule("R-UPD-1")
@pytest.mark.parametrize("answer", [None, Updated()])
def test_update_is_200_with_empty_object(answer: object, platform: Platform, recorder: Recorder) -> None:
    recorder.answers["update"] = answer
    response = platform.patch(INSTANCE, IDS)
    assert (response.status_code, response.json) == (200, {})


@pytest.mark.rule("R-UPD-1")
def test_update_is_200_with_dashboard_url(platform: Platform, recorder: Recorder) -> None:
    """The response also contains the metadata."""
    recorder.answers["update"] = Updated(
        dashboard_url="https://d", metadata=InstanceMetadata(attributes={"nodes": 3})
    )
    response = platform.patch(INSTANCE, IDS)
    assert response.status_code == 200
    assert response.json == {
        "dashboard_url": "https://d",
        "metadata": {"attributes": {"nodes": 3}},
    }


@pytest.mark.rule("R-UPD-1")
@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (Accepted(operation="job 7"), {"operation": "job 7"}),
        (Accepted(), {"operation": "update"}),
        (
            Accepted(operation="job 7", dashboard_url="https://d"),
            {"operation": "job 7", "dashboard_url": "https://d"},
        ),
    ],
)
def test_update_in_progress_repeats_202_with_operation(
    answer: Accepted, body: dict[str, Any], platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["update"] = answer
    for _ in range(2):
        response = platform.patch(INSTANCE, IDS, query=POLLS)
        assert (response.status_code, response.json) == (202, body)
    assert len(recorder.requests) == 2


@pytest.mark.rule("R-UPD-2")
def test_update_without_plan_id_keeps_plan(platform: Platform, recorder: Recorder) -> None:
    """The current plan is taken from the previous values."""
    body = {**SERVICE, "parameters": {"size": 2}, **previous("small-id")}
    assert platform.patch(INSTANCE, body).status_code == 200
    assert recorder.request.plan.id == "small-id"
    assert recorder.request.parameters == {"size": 2}


@pytest.mark.rule("R-UPD-2")
def test_update_without_plan_information_has_no_plan(platform: Platform, recorder: Recorder) -> None:
    assert platform.patch(INSTANCE, {**SERVICE, "parameters": {"size": 2}}).status_code == 200
    assert recorder.request.plan is None
    assert recorder.request.offering.id == "db-id"


@pytest.mark.rule("R-UPD-2")
def test_update_without_parameters_passes_none(platform: Platform, recorder: Recorder) -> None:
    """The handler gets an empty dict and can see in the body that the parameters were absent."""
    assert platform.patch(INSTANCE, IDS).status_code == 200
    assert recorder.request.parameters == {}
    assert "parameters" not in recorder.request.body


def test_update_handler_receives_all_request_fields(platform: Platform, recorder: Recorder) -> None:
    body = {
        **SERVICE,
        "plan_id": "small-id",
        "parameters": {"size": 2},
        "context": CONTEXT,
        "maintenance_info": {"version": "1.0.0"},
        "previous_values": {
            "service_id": "db-id",
            "plan_id": "large-id",
            "organization_id": "o1",
            "space_id": "s1",
            "maintenance_info": {"version": "0.9.0"},
        },
    }
    assert platform.patch(INSTANCE, body, query=POLLS).status_code == 200
    request = recorder.request
    assert (request.instance_id, request.offering.id, request.plan.id) == ("i1", "db-id", "small-id")
    assert request.parameters == {"size": 2}
    assert request.context == CONTEXT
    assert request.maintenance_info == MaintenanceInfo("1.0.0")
    assert request.previous_values == PreviousValues(
        service_id="db-id",
        plan_id="large-id",
        organization_id="o1",
        space_id="s1",
        maintenance_info=MaintenanceInfo("0.9.0"),
    )
    assert request.accepts_incomplete is True
    assert request.body == body


PLANS = [
    ServicePlan(id="fixed-id", name="fixed", description="…", plan_updateable=False),
    ServicePlan(id="free-id", name="free", description="…", plan_updateable=True),
    ServicePlan(id="as-told-id", name="as-told", description="…"),
]


@pytest.mark.rule("R-UPD-3")
@pytest.mark.parametrize(
    ("offering", "current", "wanted", "status"),
    [
        # It is the plan that the instance has that decides, not the one that is wanted,
        (True, "fixed-id", "free-id", 422),
        (True, "free-id", "fixed-id", 200),
        (False, "free-id", "fixed-id", 200),
        # and the offering, where that plan says nothing.
        (True, "as-told-id", "free-id", 200),
        (False, "as-told-id", "free-id", 422),
        # A plan that has left the catalog is as updateable as its offering says.
        (True, "gone-id", "free-id", 200),
        (False, "gone-id", "free-id", 422),
        # To stay is no change.
        (False, "fixed-id", "fixed-id", 200),
        (False, "fixed-id", None, 200),
    ],
)
def test_plan_change_requires_updateable_current_plan(
    offering: bool, current: str, wanted: str | None, status: int, recorder: Recorder
) -> None:
    """The offering decides if the plan has no own value. The target plan does not matter."""
    platform = platform_with(recorder, plan_updateable=offering, plans=PLANS)
    body = {**SERVICE, "plan_id": wanted, **previous(current)}
    response = platform.patch(INSTANCE, body)
    assert response.status_code == status
    if status == 422:
        assert error_of(response)["error"] == "PlanChangeNotSupported"
        assert not recorder.requests


@pytest.mark.rule("R-UPD-3")
def test_update_handler_may_refuse_plan_change(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["update"] = PlanChangeNotSupported("A large one cannot shrink.")
    response = platform.patch(INSTANCE, {**IDS, **previous("large-id")})
    assert response.status_code == 422
    assert error_of(response)["description"] == "A large one cannot shrink."


@pytest.mark.rule("R-UPD-3")
def test_update_without_handler_is_422(recorder: Recorder) -> None:
    offering = make_offering(
        plan_updateable=False,
        allow_context_updates=False,
        plans=[ServicePlan(id="small-id", name="small", description="A small one")],
    )
    broker = Broker(Catalog([offering]), auth=CREDENTIALS)
    for operation in HANDLERS:
        if operation != "update":
            getattr(broker, operation)(recorder.handler(operation))
    response = Platform(make_app(broker)).patch(INSTANCE, IDS)
    assert response.status_code == 422
    assert error_of(response)["error"] == "UpdateNotSupported"


@pytest.mark.rule("R-UPD-4")
@pytest.mark.parametrize(
    ("body", "context_only"),
    [
        ({"context": CONTEXT}, True),
        ({"context": CONTEXT, **previous("small-id")}, True),
        ({"context": CONTEXT, "plan_id": "small-id", **previous("small-id")}, True),
        ({"context": CONTEXT, "parameters": None, "maintenance_info": None}, True),
        ({"context": CONTEXT, "parameters": {"size": 2}}, False),
        ({"context": CONTEXT, "plan_id": "large-id", **previous("small-id")}, False),
        ({"context": CONTEXT, "maintenance_info": {"version": "1.0.0"}}, False),
        pytest.param(
            {"context": CONTEXT, "plan_id": "large-id"},
            False,
            id="a plan that may be another one: previous_values are optional",
        ),
        ({"parameters": {"size": 2}}, False),
        ({"plan_id": "small-id"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_context_only_update_requires_allow_context_updates(
    body: dict[str, Any], context_only: bool, allowed: bool, recorder: Recorder
) -> None:
    platform = platform_with(recorder, allow_context_updates=allowed)
    response = platform.patch(INSTANCE, {**SERVICE, **body})
    if context_only and not allowed:
        assert response.status_code == 422
        assert error_of(response)["error"] == "ContextUpdateNotSupported"
        assert not recorder.requests
    else:
        assert response.status_code == 200
        assert recorder.request.context == body.get("context", {})


@pytest.mark.rule("R-UPD-5", "R-ERR-3")
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AsyncRequired(), 422),
        (ConcurrencyError(), 422),
        (MaintenanceInfoConflict(), 422),
        (InstanceDoesNotExist(), 404),
    ],
)
def test_update_handler_error_determines_status(
    error: Exception, status: int, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers["update"] = error
    response = platform.patch(INSTANCE, IDS)
    assert response.status_code == status
    assert error_of(response)["error"] == type(error).__name__


@pytest.mark.rule("R-UPD-5")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**IDS, "maintenance_info": {"version": "1.0.0"}}, 200),
        ({**IDS, "maintenance_info": {"version": "2.0.0"}}, 422),
        ({**SERVICE, **previous("small-id"), "maintenance_info": {"version": "2.0.0"}}, 422),
        ({**SERVICE, "plan_id": "large-id", "maintenance_info": {"version": "1.0.0"}}, 422),
        # The platform names the previous version; the current catalog does not matter.
        (
            {**IDS, "previous_values": {"maintenance_info": {"version": "0.1.0"}}},
            200,
        ),
        # Without a plan, it must be that of one of the plans.
        ({**SERVICE, "maintenance_info": {"version": "1.0.0"}}, 200),
        ({**SERVICE, "maintenance_info": {"version": "2.0.0"}}, 422),
    ],
)
def test_update_with_other_maintenance_version_is_422(
    body: dict[str, Any], status: int, platform: Platform, recorder: Recorder
) -> None:
    """The version is compared with the target plan's; previous values are not checked."""
    response = platform.patch(INSTANCE, body)
    assert response.status_code == status
    if status == 422:
        assert error_of(response)["error"] == "MaintenanceInfoConflict"
        assert not recorder.requests


@pytest.mark.rule("R-UPD-5", "R-REQ-6")
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"plan_id": "small-id"}, "service_id: is required"),
        ({**SERVICE, "plan_id": "nope"}, "plan_id: The catalog has no service plan 'nope'."),
        (
            {"service_id": "nope"},
            "service_id: The catalog has no service offering 'nope'.",
        ),
        ({**SERVICE, "parameters": []}, "parameters: expected an object, got an array"),
    ],
)
def test_update_with_invalid_field_is_400(
    body: dict[str, Any], fault: str, platform: Platform, recorder: Recorder
) -> None:
    """The description names the missing or malformed field; the handler is not called."""
    response = platform.patch(INSTANCE, body)
    assert response.status_code == 400
    assert error_of(response)["description"] == fault
    assert not recorder.requests


@pytest.mark.rule("R-UPD-5", "R-CAT-4")
@pytest.mark.parametrize(
    ("plans", "status"),
    [
        ({"plan_id": "small-id"}, 400),
        ({"plan_id": "small-id", **previous("large-id")}, 400),
        (previous("small-id"), 400),
        ({"plan_id": "large-id", **previous("small-id")}, 200),
        ({}, 200),
    ],
)
def test_update_parameters_use_schema_of_target_plan(
    plans: dict[str, Any], status: int, platform: Platform, recorder: Recorder
) -> None:
    assert PARAMETERS["properties"]  # the update schema of the plan `small`
    body = {**SERVICE, **plans, "parameters": {"password": "hunter2"}}
    response = platform.patch(INSTANCE, body)
    assert response.status_code == status
    if status == 400:
        assert error_of(response)["description"].startswith("parameters.password: ")
        assert "hunter2" not in response.text
        assert not recorder.requests


@pytest.mark.rule("R-UPD-6")
def test_poll_accepts_plan_before_update(platform: Platform, recorder: Recorder) -> None:
    response = platform.get(
        f"{INSTANCE}/last_operation", query="service_id=db-id&plan_id=large-id&operation=update"
    )
    assert response.status_code == 200
    assert recorder.request.plan.id == "large-id"


@pytest.mark.rule("R-UPD-5", "R-CAT-4")
@pytest.mark.parametrize("of_one_plan", [True, False])
def test_update_refuses_parameters_invalid_for_every_plan(of_one_plan: bool, recorder: Recorder) -> None:
    """Parameters invalid under every plan's schema get 400 even if the request names no plan."""
    small = make_offering().plans[0]
    other = msgspec.structs.replace(small, id="other-id", name="other")
    offering = make_offering(plans=[small] if of_one_plan else [small, other])
    platform = Platform(make_app(make_broker(recorder, offering)))
    response = platform.patch(INSTANCE, {**SERVICE, "parameters": {"size": "x"}})
    assert response.status_code == 400
    assert error_of(response)["error"] == "InvalidParameters"
    assert not recorder.requests
    assert platform.patch(INSTANCE, {**SERVICE, "parameters": {"size": 3}}).status_code == 200
    assert recorder.request.plan == (small_of(offering) if of_one_plan else None)


def small_of(offering: ServiceOffering) -> ServicePlan:
    return Catalog([offering]).services[0].plans[0]
