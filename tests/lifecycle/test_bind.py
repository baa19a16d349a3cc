"""PUT of a service binding in a broker with a store (R-BIND)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from brokerkit import Accepted, Binding, BindingMetadata, Endpoint, LastOperation, VolumeDevice, VolumeMount

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
from ..support.stateful import CAN_POLL, DELETE_AND_POLL, SECRET, Gate, Platform, Serve, poll_until_done

SUCCESSOR = f"{INSTANCE}/service_bindings/b2"
BODY = {**IDS, "bind_resource": {"app_guid": "a1"}, "parameters": {"role": "reader"}}
OTHERS: list[dict[str, Any]] = [
    {"bind_resource": {"app_guid": "a2"}},
    {"bind_resource": {}},
    {"bind_resource": {"app_guid": "a1", "route": "r.example.org"}},
    {"parameters": {"role": "writer"}},
    {"parameters": None},
    {"plan_id": "large-id"},
]


def binds(recorder: Recorder) -> list[Any]:
    return [request for request in recorder.requests if type(request).__name__ == "BindRequest"]


@pytest.fixture
def instance(platform: Platform) -> Platform:
    """A platform that has an instance."""
    assert platform.put(INSTANCE, PROVISION).status_code == 201
    return platform


@pytest.mark.rule("R-BIND-1")
def test_repeated_bind_calls_handler_once(instance: Platform, recorder: Recorder) -> None:
    """The first PUT is 201, and an identical PUT is 200 with the same binding."""
    recorder.answers["bind"] = Binding(
        credentials={"uri": "db://secret"},
        endpoints=[Endpoint(host="db.example.org", ports=["5432"])],
        metadata=BindingMetadata(expires_at=datetime(2999, 1, 2, tzinfo=UTC)),
    )
    first = instance.put(BINDING, BODY)
    again = instance.put(BINDING, BODY)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert first.json["credentials"] == {"uri": "db://secret"}
    assert len(binds(recorder)) == 1


@pytest.mark.rule("R-BIND-2", "R-BIND-3", "R-GETB")
def test_bind_returns_all_binding_fields(serve: Serve, recorder: Recorder) -> None:
    """Drain, route service and volume mounts are returned by bind, by a repeated bind and by a fetch."""
    requires = ["syslog_drain", "route_forwarding", "volume_mount"]
    platform = serve(recorder, make_offering(requires=requires))
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Binding(
        syslog_drain_url="syslog://logs.example.org",
        route_service_url="https://route.example.org",
        volume_mounts=[
            VolumeMount(
                driver="nfs",
                container_dir="/data",
                mode="rw",
                device=VolumeDevice(volume_id="v", mount_config={"a": [1]}),
            )
        ],
    )
    first = platform.put(BINDING, BODY)
    assert first.status_code == 201
    assert platform.put(BINDING, BODY).json == first.json
    assert platform.get(BINDING).json == {**first.json, "parameters": {"role": "reader"}}


@pytest.mark.rule("R-BIND-1")
@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_bind_with_other_attributes_is_409(
    instance: Platform, recorder: Recorder, other: dict[str, Any]
) -> None:
    instance.put(BINDING, BODY)
    response = instance.put(BINDING, {**BODY, **other})
    assert response.status_code == 409
    assert error_of(response)["error"] == "BindingAlreadyExists"
    assert len(binds(recorder)) == 1


@pytest.mark.rule("R-BIND-1")
def test_bind_accepts_deprecated_app_guid(instance: Platform) -> None:
    """`app_guid` in the body is compared like `bind_resource.app_guid`."""
    body = {**IDS, "app_guid": "a1"}
    assert instance.put(BINDING, body).status_code == 201
    assert instance.put(BINDING, body).status_code == 200
    assert instance.put(BINDING, {**IDS, "app_guid": "a2"}).status_code == 409


@pytest.mark.rule("R-BIND-1")
def test_binding_ids_are_scoped_to_instance(instance: Platform, recorder: Recorder) -> None:
    """The same binding id on another instance is a different binding."""
    instance.put("/v2/service_instances/i2", PROVISION)
    assert instance.put(BINDING, BODY).status_code == 201
    assert instance.put("/v2/service_instances/i2/service_bindings/b1", BODY).status_code == 201
    assert len(binds(recorder)) == 2


@pytest.mark.rule("R-BIND-1", "R-GETB")
@pytest.mark.parametrize("way", ["accepted", "background"])
def test_bind_in_progress_returns_same_operation(serve: Serve, recorder: Recorder, way: str) -> None:
    """The 202 body has only `operation`.

    Other attributes are 409, and a platform that cannot poll gets 422.
    """
    gate = Gate(SECRET)
    recorder.answers["bind"] = Accepted() if way == "accepted" else gate
    recorder.answers["last_binding_operation"] = LastOperation.succeeded(result=SECRET)
    platform = serve(recorder, background=["bind"] if way == "background" else [])
    platform.put(INSTANCE, PROVISION)
    first = platform.put(BINDING, BODY, query=CAN_POLL)
    again = platform.put(BINDING, BODY, query=CAN_POLL)
    assert first.status_code == again.status_code == 202
    assert first.json == again.json
    assert first.json.keys() == {"operation"}
    assert platform.put(BINDING, {**BODY, **OTHERS[0]}, query=CAN_POLL).status_code == 409
    cannot_poll = platform.put(BINDING, BODY)
    assert (cannot_poll.status_code, error_of(cannot_poll)["error"]) == (422, "ConcurrencyError")
    gate.open()
    assert poll_until_done(platform, BINDING, first.json["operation"]) == {"state": "succeeded"}
    assert len(binds(recorder)) == 1
    assert platform.get(BINDING).json["credentials"] == {"uri": "db://secret"}
    repeated = platform.put(BINDING, BODY, query=CAN_POLL)
    assert (repeated.status_code, repeated.json) == (200, {"credentials": {"uri": "db://secret"}})


@pytest.mark.rule("R-BIND-1")
def test_bind_during_unbind_is_422(instance: Platform, recorder: Recorder) -> None:
    """An identical PUT during an unbind is ConcurrencyError. A PUT with other attributes is 409."""
    instance.put(BINDING, BODY)
    recorder.answers["unbind"] = Accepted()
    assert instance.delete(BINDING, query=DELETE_AND_POLL).status_code == 202
    response = instance.put(BINDING, BODY, query=CAN_POLL)
    assert (response.status_code, error_of(response)["error"]) == (422, "ConcurrencyError")
    assert instance.put(BINDING, {**BODY, **OTHERS[0]}, query=CAN_POLL).status_code == 409


@pytest.mark.rule("R-ERR-3", "R-REQ-9")
def test_background_bind_without_polling_is_async_required(serve: Serve, recorder: Recorder) -> None:
    """No binding is stored."""
    platform = serve(recorder, background=["bind"])
    platform.put(INSTANCE, PROVISION)
    response = platform.put(BINDING, BODY)
    assert (response.status_code, error_of(response)["error"]) == (422, "AsyncRequired")
    assert platform.delete(BINDING, query=DELETE_QUERY).status_code == 410


@pytest.mark.rule("R-BIND-5")
def test_bind_to_missing_instance_is_404(platform: Platform, recorder: Recorder) -> None:
    """The instance was never created, was deleted, or its creation failed."""
    assert platform.put(BINDING, BODY).status_code == 404
    platform.put(INSTANCE, PROVISION)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert platform.put(BINDING, BODY).status_code == 404
    recorder.answers["provision"] = ValueError("inside")
    platform.put(INSTANCE, PROVISION)
    assert platform.put(BINDING, BODY).status_code == 404
    assert not binds(recorder)


@pytest.mark.rule("R-BIND-5")
@pytest.mark.parametrize("busy", ["provision", "update", "deprovision"])
def test_bind_during_instance_operation_is_422(platform: Platform, recorder: Recorder, busy: str) -> None:
    """ConcurrencyError is returned during provision, update and deprovision."""
    recorder.answers["last_operation"] = LastOperation.in_progress()
    if busy == "provision":
        recorder.answers[busy] = Accepted()
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    recorder.answers[busy] = Accepted()
    if busy == "update":
        platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL)
    elif busy == "deprovision":
        platform.delete(INSTANCE, query=DELETE_AND_POLL)
    response = platform.put(BINDING, BODY, query=CAN_POLL)
    assert (response.status_code, error_of(response)["error"]) == (422, "ConcurrencyError")
    assert not binds(recorder)


@pytest.mark.rule("R-BIND-5")
def test_binds_of_one_instance_run_concurrently(instance: Platform, recorder: Recorder) -> None:
    """ConcurrencyError applies to operations of the instance, not to other bindings."""
    recorder.answers["bind"] = Accepted()
    assert instance.put(BINDING, BODY, query=CAN_POLL).status_code == 202
    assert instance.put(SUCCESSOR, BODY, query=CAN_POLL).status_code == 202


@pytest.mark.rule("R-BIND-5")
def test_bind_to_unbindable_plan_is_400(serve: Serve, recorder: Recorder) -> None:
    """The stored plan decides, even if the request names a bindable plan."""
    offering = make_offering()
    plans = [offering.plans[0], msgspec.structs.replace(offering.plans[1], bindable=False)]
    platform = serve(recorder, make_offering(plans=plans))
    platform.put(INSTANCE, {**PROVISION, "plan_id": "large-id"})
    assert platform.put(BINDING, {**IDS, "plan_id": "large-id"}).status_code == 400
    assert platform.put(BINDING, IDS).status_code == 400
    assert not binds(recorder)


@pytest.mark.rule("R-BIND-6", "R-GETB")
def test_successor_inherits_predecessor_parameters(instance: Platform, recorder: Recorder) -> None:
    """Both bindings stay valid, and an identical PUT of the successor is 200."""
    instance.put(BINDING, BODY)
    successor = {**IDS, "bind_resource": {"app_guid": "a1"}, "predecessor_binding_id": "b1"}
    assert instance.put(SUCCESSOR, successor).status_code == 201
    request = binds(recorder)[-1]
    assert (request.predecessor, request.parameters) == ("b1", {"role": "reader"})
    assert instance.get(SUCCESSOR).json["parameters"] == {"role": "reader"}
    assert instance.put(SUCCESSOR, successor).status_code == 200
    assert instance.get(BINDING).status_code == 200
    assert len(binds(recorder)) == 2


@pytest.mark.rule("R-BIND-6", "R-BIND-1")
def test_successor_can_override_parameters(instance: Platform, recorder: Recorder) -> None:
    instance.put(BINDING, BODY)
    successor = {**BODY, "parameters": {"role": "writer"}, "predecessor_binding_id": "b1"}
    assert instance.put(SUCCESSOR, successor).status_code == 201
    assert binds(recorder)[-1].parameters == {"role": "writer"}
    assert instance.put(SUCCESSOR, successor).status_code == 200
    assert instance.put(SUCCESSOR, {**successor, "parameters": {"role": "reader"}}).status_code == 409


@pytest.mark.rule("R-BIND-6")
def test_repeated_successor_bind_survives_predecessor_deletion(
    instance: Platform, recorder: Recorder
) -> None:
    """An identical PUT of the successor is 200 after its predecessor was deleted."""
    instance.put(BINDING, BODY)
    successor = {**BODY, "predecessor_binding_id": "b1"}
    instance.put(SUCCESSOR, successor)
    instance.delete(BINDING, query=DELETE_QUERY)
    assert instance.put(SUCCESSOR, successor).status_code == 200
    assert instance.get(SUCCESSOR).status_code == 200


@pytest.mark.rule("R-BIND-6")
@pytest.mark.parametrize(
    "why", ["unknown", "expired", "deleted", "being deleted", "failed", "of another instance"]
)
def test_bind_with_invalid_predecessor_is_400(instance: Platform, recorder: Recorder, why: str) -> None:
    """The predecessor must be a ready, unexpired binding of the same instance. The handler is not called."""
    predecessor = BINDING
    if why == "of another instance":
        instance.put("/v2/service_instances/i2", PROVISION)
        predecessor = "/v2/service_instances/i2/service_bindings/b1"
    if why == "expired":
        past = BindingMetadata(expires_at=datetime.now(UTC) - timedelta(seconds=1))
        recorder.answers["bind"] = Binding(credentials={}, metadata=past)
    if why == "failed":
        recorder.answers["bind"] = ValueError("inside")
    if why != "unknown":
        instance.put(predecessor, BODY)
    if why == "deleted":
        instance.delete(predecessor, query=DELETE_QUERY)
    if why == "being deleted":
        recorder.answers["unbind"] = Accepted()
        instance.delete(predecessor, query=DELETE_AND_POLL)
    recorder.answers["bind"] = SECRET
    before = len(binds(recorder))
    response = instance.put(SUCCESSOR, {**BODY, "predecessor_binding_id": "b1"})
    assert response.status_code == 400
    assert "predecessor_binding_id" in error_of(response)["description"]
    assert len(binds(recorder)) == before
    assert instance.put(SUCCESSOR, BODY).status_code == 201


@pytest.mark.rule("R-BIND-6")
def test_predecessor_requires_binding_rotatable_plan(platform: Platform, recorder: Recorder) -> None:
    platform.put(INSTANCE, {**PROVISION, "plan_id": "large-id"})
    body = {**IDS, "plan_id": "large-id"}
    platform.put(BINDING, body)
    assert platform.put(SUCCESSOR, {**body, "predecessor_binding_id": "b1"}).status_code == 400


@pytest.mark.rule("R-BIND-1")
def test_repeated_bind_after_restart_is_200(serve: Serve, recorder: Recorder) -> None:
    """A new process returns the stored binding with its credentials."""
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    first = platform.put(BINDING, BODY)
    serve.stop()
    again = serve(recorder).put(BINDING, BODY)
    assert (again.status_code, again.json) == (200, first.json)
    assert len(binds(recorder)) == 1
