"""GET of an instance (R-GETI) or a binding (R-GETB) in a broker with a store."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import Accepted, Binding, InstanceDetails, InstanceDoesNotExist, InstanceMetadata, Provisioned

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
from ..support.stateful import CAN_POLL, CHANGING, DELETE_AND_POLL, POLLED, Platform, Serve, poll_until_done


@pytest.mark.rule("R-GETI")
def test_fetch_returns_provisioned_instance(platform: Platform, recorder: Recorder) -> None:
    """The stored instance is returned with the maintenance version of the catalog at creation.

    No handler is called.
    """
    recorder.answers["provision"] = Provisioned(
        dashboard_url="https://db.example.org", metadata=InstanceMetadata(labels={"region": "eu"})
    )
    platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 3}})
    assert platform.get(INSTANCE).json == {
        **IDS,
        "dashboard_url": "https://db.example.org",
        "parameters": {"size": 3},
        "maintenance_info": {"version": "1.0.0"},
        "metadata": {"labels": {"region": "eu"}},
    }
    assert len(recorder.requests) == 1


@pytest.mark.rule("R-GETI", "R-UPD-2")
def test_fetch_returns_updated_instance(platform: Platform) -> None:
    """Parameters that the update does not name are kept."""
    platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 3, "name": "x"}})
    platform.patch(INSTANCE, {"service_id": "db-id", "plan_id": "large-id", "parameters": {"size": 5}})
    instance = platform.get(INSTANCE).json
    assert instance == {
        "service_id": "db-id",
        "plan_id": "large-id",
        "parameters": {"size": 5, "name": "x"},
    }


@pytest.mark.rule("R-GETI", "R-GETB")
@pytest.mark.parametrize("path", [INSTANCE, BINDING])
def test_fetch_of_missing_resource_is_404(platform: Platform, path: str) -> None:
    assert platform.get(path).status_code == 404
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    assert platform.get(path).status_code == 200
    platform.delete(path, query=DELETE_QUERY)
    assert platform.get(path).status_code == 404


@pytest.mark.rule("R-GETI")
def test_fetch_during_provision_is_404(platform: Platform, recorder: Recorder) -> None:
    """The instance can be fetched as soon as a poll returned `succeeded`."""
    recorder.answers["provision"] = Accepted()
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    assert platform.get(INSTANCE).status_code == 404
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"
    assert platform.get(INSTANCE).status_code == 200


@pytest.mark.rule("R-GETI")
@pytest.mark.parametrize("change", ["update", "deprovision"])
def test_fetch_during_instance_change_is_422(platform: Platform, recorder: Recorder, change: str) -> None:
    """ConcurrencyError is returned during an update and a deprovision."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers[change] = Accepted()
    if change == "update":
        platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL)
    else:
        platform.delete(INSTANCE, query=DELETE_AND_POLL)
    response = platform.get(INSTANCE)
    assert response.status_code == 422
    assert error_of(response)["error"] == "ConcurrencyError"


@pytest.mark.rule("R-GETB")
def test_fetch_returns_binding_with_parameters(platform: Platform, recorder: Recorder) -> None:
    platform.put(INSTANCE, PROVISION)
    created = platform.put(BINDING, {**IDS, "parameters": {"role": "reader"}}).json
    assert platform.get(BINDING).json == {**created, "parameters": {"role": "reader"}}


@pytest.mark.rule("R-GETB")
@pytest.mark.parametrize("way", ["bind", "unbind"])
def test_fetch_of_binding_in_progress_is_404(platform: Platform, recorder: Recorder, way: str) -> None:
    """A binding cannot be fetched during bind or unbind."""
    platform.put(INSTANCE, PROVISION)
    if way == "unbind":
        platform.put(BINDING, IDS)
        recorder.answers["unbind"] = Accepted()
        assert platform.delete(BINDING, query=DELETE_AND_POLL).status_code == 202
    else:
        recorder.answers["bind"] = Accepted()
        assert platform.put(BINDING, IDS, query=CAN_POLL).status_code == 202
    assert platform.get(BINDING).status_code == 404


@pytest.mark.rule("R-GETI", "R-GETB")
@pytest.mark.parametrize(
    ("path", "unfetchable"), [(INSTANCE, "instances_retrievable"), (BINDING, "bindings_retrievable")]
)
def test_fetch_requires_retrievable_offering(
    serve: Serve, recorder: Recorder, path: str, unfetchable: str
) -> None:
    platform = serve(recorder, make_offering(**{unfetchable: False}))
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    assert platform.get(path).status_code == 404


@pytest.mark.rule("R-GETI")
def test_get_instance_handler_receives_stored_instance(serve: Serve, recorder: Recorder) -> None:
    """The handler gets the stored plan without query hints, and its result is the response."""
    platform = serve(recorder, handlers=[*CHANGING, "get_instance"])
    recorder.answers["provision"] = Provisioned(data={"n": 1})
    platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 2}})
    recorder.answers["get_instance"] = lambda request: InstanceDetails(
        parameters={"size": request.instance.parameters["size"], "n": request.instance.data["n"]}
    )
    assert platform.get(INSTANCE).json == {"parameters": {"size": 2, "n": 1}}
    request = recorder.requests[-1]
    assert (request.offering.id, request.plan.id) == ("db-id", "small-id")


@pytest.mark.rule("R-GETB")
def test_get_binding_handler_receives_stored_binding(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder, handlers=[*CHANGING, "get_binding"])
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Binding(credentials={"user": "u"}, data={"user": "u"})
    platform.put(BINDING, {**IDS, "parameters": {"role": "reader"}})
    recorder.answers["get_binding"] = lambda request: Binding(
        credentials={"user": request.binding.data["user"], "of": request.instance.instance_id},
        parameters=request.binding.parameters,
    )
    assert platform.get(BINDING).json == {
        "credentials": {"user": "u", "of": "i1"},
        "parameters": {"role": "reader"},
    }


@pytest.mark.rule("R-GETI", "R-GETB")
@pytest.mark.parametrize("path", [INSTANCE, BINDING])
def test_fetch_handler_skipped_for_missing_resource(serve: Serve, recorder: Recorder, path: str) -> None:
    """A missing resource or one in progress is 404 without a handler call."""
    platform = serve(recorder, handlers=[*CHANGING, *POLLED, "get_instance", "get_binding"])
    assert platform.get(path).status_code == 404
    recorder.answers["provision"] = Accepted()
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    assert platform.get(path).status_code == 404
    assert [type(request).__name__ for request in recorder.requests] == ["ProvisionRequest"]


@pytest.mark.rule("R-REQ-8", "R-GETI")
@pytest.mark.parametrize(
    ("answer", "status"), [(InstanceDoesNotExist(), 404), (ValueError("inside"), 500), (None, 500)]
)
def test_failed_fetch_handler_changes_nothing(
    serve: Serve, recorder: Recorder, answer: Any, status: int
) -> None:
    platform = serve(recorder, handlers=[*CHANGING, "get_instance"])
    platform.put(INSTANCE, PROVISION)
    recorder.answers["get_instance"] = answer
    assert platform.get(INSTANCE).status_code == status
    assert platform.put(INSTANCE, PROVISION).status_code == 200


@pytest.mark.rule("R-GETI", "R-GETB")
def test_fetch_returns_same_body_after_restart(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder)
    platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 3}})
    platform.put(BINDING, IDS)
    before = [platform.get(path).json for path in (INSTANCE, BINDING)]
    serve.stop()
    platform = serve(recorder)
    assert [platform.get(path).json for path in (INSTANCE, BINDING)] == before
