"""Fetching an instance or a binding: R-GETI, R-GETB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from brokerkit import (
    Binding,
    BindingDoesNotExist,
    BindingMetadata,
    ConcurrencyError,
    Endpoint,
    InstanceDetails,
    InstanceDoesNotExist,
    InstanceMetadata,
    MaintenanceInfo,
    ServicePlan,
)

from ..support.broker import (
    BINDING,
    INSTANCE,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

both = pytest.mark.parametrize(
    ("operation", "path"),
    [
        pytest.param("get_instance", INSTANCE, id="instance"),
        pytest.param("get_binding", BINDING, id="binding"),
    ],
)


@pytest.mark.rule("R-GETI")
def test_fetch_instance_returns_all_fields(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["get_instance"] = InstanceDetails(
        service_id="db-id",
        plan_id="small-id",
        dashboard_url="https://d",
        parameters={"size": 2},
        maintenance_info=MaintenanceInfo("1.0.0", description="TLS 1.3"),
        metadata=InstanceMetadata(labels={"region": "eu"}),
    )
    response = platform.get(INSTANCE)
    assert response.status_code == 200
    assert response.json == {
        "service_id": "db-id",
        "plan_id": "small-id",
        "dashboard_url": "https://d",
        "parameters": {"size": 2},
        "maintenance_info": {"version": "1.0.0", "description": "TLS 1.3"},
        "metadata": {"labels": {"region": "eu"}},
    }


@pytest.mark.rule("R-GETI")
def test_fetch_instance_omits_absent_fields(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["get_instance"] = InstanceDetails(parameters={})
    assert platform.get(INSTANCE).json == {"parameters": {}}


@pytest.mark.rule("R-GETB")
def test_fetch_binding_returns_binding_with_parameters(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["get_binding"] = Binding(
        credentials={"uri": "db://secret"},
        endpoints=[Endpoint(host="h", ports=["443"])],
        metadata=BindingMetadata(expires_at=datetime(2030, 1, 1, tzinfo=UTC)),
        parameters={"size": 2},
        exists=True,
    )
    response = platform.get(BINDING)
    assert response.status_code == 200
    assert response.json == {
        "credentials": {"uri": "db://secret"},
        "endpoints": [{"host": "h", "ports": ["443"], "protocol": "tcp"}],
        "metadata": {"expires_at": "2030-01-01T00:00:00.0Z"},
        "parameters": {"size": 2},
    }


@pytest.mark.rule("R-GETI", "R-GETB")
@pytest.mark.parametrize(
    ("path", "operation", "error", "status"),
    [
        (INSTANCE, "get_instance", InstanceDoesNotExist(), 404),
        (INSTANCE, "get_instance", ConcurrencyError(), 422),
        (BINDING, "get_binding", BindingDoesNotExist(), 404),
        (BINDING, "get_binding", InstanceDoesNotExist(), 404),
    ],
)
def test_fetch_handler_error_determines_status(
    path: str,
    operation: str,
    error: Exception,
    status: int,
    platform: Platform,
    recorder: Recorder,
) -> None:
    """A missing resource gets 404, and an instance under change gets 422 ConcurrencyError."""
    recorder.answers[operation] = error
    response = platform.get(path)
    assert response.status_code == status
    assert error_of(response)["error"] == type(error).__name__


@pytest.mark.rule("R-GETI", "R-GETB")
@both
@pytest.mark.parametrize(
    ("query", "service", "plan"),
    [
        ("", None, None),
        ("service_id=db-id&plan_id=small-id", "db-id", "small-id"),
        ("service_id=db-id", "db-id", None),
        ("plan_id=small-id", "db-id", "small-id"),
        # A hint that the catalog does not know hides nothing that exists.
        ("service_id=gone&plan_id=small-id", "db-id", "small-id"),
        ("service_id=db-id&plan_id=gone", "db-id", None),
        ("service_id=gone&plan_id=gone", None, None),
        ("service_id=cache-id&plan_id=small-id", "cache-id", None),
    ],
)
def test_fetch_accepts_unknown_offering_and_plan_hints(
    operation: str,
    path: str,
    query: str,
    service: str | None,
    plan: str | None,
    recorder: Recorder,
) -> None:
    """Unknown or contradictory hints do not cause a refusal."""
    tiny = ServicePlan(id="tiny-id", name="tiny", description="A tiny one")
    cache = make_offering(id="cache-id", name="cache", plans=[tiny])
    platform = Platform(make_app(make_broker(recorder, make_offering(), cache)))
    assert platform.get(path, query=query).status_code == 200
    request = recorder.request
    assert (request.offering and request.offering.id) == service
    assert (request.plan and request.plan.id) == plan
    assert request.instance_id == "i1"
    assert getattr(request, "binding_id", "b1") == "b1"


@pytest.mark.rule("R-GETI", "R-GETB")
@both
@pytest.mark.parametrize("query", ["service_id=db-id&plan_id=small-id", "service_id=db-id"])
def test_fetch_of_unretrievable_offering_is_404(
    operation: str, path: str, query: str, recorder: Recorder
) -> None:
    offering = make_offering(instances_retrievable=False, bindings_retrievable=False)
    platform = Platform(make_app(make_broker(recorder, offering)))
    response = platform.get(path, query=query)
    assert response.status_code == 404
    assert error_of(response)["error"] == "FetchNotSupported"
    assert not recorder.requests


@pytest.mark.rule("R-GETI", "R-GETB")
@both
def test_fetch_without_hints_needs_retrievable_offering(
    operation: str, path: str, recorder: Recorder
) -> None:
    """Without hints, a fetch is 404 if no offering is retrievable."""
    offering = make_offering(instances_retrievable=False, bindings_retrievable=False)
    platform = Platform(make_app(make_broker(recorder, offering)))
    assert platform.get(path).status_code == 404
    assert not recorder.requests


@pytest.mark.rule("R-GETI", "R-GETB")
@both
def test_fetch_distinguishes_retrievable_offerings(operation: str, path: str, recorder: Recorder) -> None:
    tiny = ServicePlan(id="tiny-id", name="tiny", description="A tiny one")
    cache: Any = make_offering(
        id="cache-id",
        name="cache",
        plans=[tiny],
        instances_retrievable=False,
        bindings_retrievable=False,
    )
    platform = Platform(make_app(make_broker(recorder, make_offering(), cache)))
    assert platform.get(path, query="service_id=db-id&plan_id=small-id").status_code == 200
    assert platform.get(path, query="service_id=cache-id&plan_id=tiny-id").status_code == 404
    assert len(recorder.requests) == 1
