"""Tests of `request.instance`, `request.binding` and the stored `data` of handlers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokerkit import Binding, InstanceMetadata, Provisioned, Updated

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import Platform, Serve

DATA = {"text": "naïve 🙂 \0", "number": -1.5, "big": 2**53, "list": [None, True, {}], "": {"a": {"b": []}}}
CONTEXT = {"platform": "cloudfoundry", "organization_guid": "o1", "space_guid": "s1", "instance_name": "mine"}


def test_request_instance_has_stored_fields(platform: Platform, recorder: Recorder) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    recorder.answers["provision"] = Provisioned(
        dashboard_url="https://db.example.org",
        metadata=InstanceMetadata(labels={"region": "eu"}),
        data=DATA,
    )
    body = {**PROVISION, "parameters": {"size": 3}, "context": CONTEXT}
    platform.put(INSTANCE, body)
    platform.put(BINDING, {**IDS, "parameters": {"role": "reader"}})
    instance = recorder.requests[-1].instance
    assert instance.instance_id == "i1"
    assert (instance.offering.id, instance.plan.id, instance.plan.name) == ("db-id", "small-id", "small")
    assert (instance.parameters, instance.context) == ({"size": 3}, CONTEXT)
    assert (instance.organization_guid, instance.space_guid) == ("o1", "s1")
    assert instance.maintenance_info.version == "1.0.0"
    assert instance.dashboard_url == "https://db.example.org"
    assert instance.metadata == InstanceMetadata(labels={"region": "eu"})
    assert instance.data == DATA
    assert before < instance.created_at <= instance.updated_at < datetime.now(UTC) + timedelta(seconds=1)
    assert instance.created_at.tzinfo is UTC


def test_request_binding_has_stored_fields(platform: Platform, recorder: Recorder) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    platform.put(INSTANCE, PROVISION)
    binding_result = Binding(credentials={"uri": "db://secret"}, data=DATA)
    recorder.answers["bind"] = binding_result
    body = {
        **IDS,
        "parameters": {"role": "reader"},
        "context": CONTEXT,
        "bind_resource": {"app_guid": "a1", "route": "r.example.org", "backup_agent": True},
    }
    platform.put(BINDING, body)
    bind = recorder.requests[-1]
    assert bind.binding is None
    platform.delete(BINDING, query=DELETE_QUERY)
    binding = recorder.requests[-1].binding
    assert (binding.binding_id, binding.parameters, binding.context) == ("b1", {"role": "reader"}, CONTEXT)
    assert (binding.app_guid, binding.bind_resource.route) == ("a1", "r.example.org")
    assert binding.bind_resource.backup_agent is True
    assert binding.predecessor is None
    assert binding.result.credentials == {"uri": "db://secret"}
    assert binding.data == DATA
    assert before < binding.created_at <= binding.updated_at < datetime.now(UTC) + timedelta(seconds=1)


def test_responses_never_contain_handler_data(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["provision"] = Provisioned(data={"n": 1})
    recorder.answers["bind"] = Binding(credentials={}, data={"n": 1})
    responses = [platform.put(INSTANCE, PROVISION), platform.get(INSTANCE), platform.put(INSTANCE, PROVISION)]
    responses += [platform.put(BINDING, IDS), platform.get(BINDING), platform.put(BINDING, IDS)]
    assert all(b"data" not in response.data for response in responses)


@pytest.mark.parametrize(
    ("returned", "expected"), [({"m": 2}, {"m": 2}), (None, {"n": 1}), ({}, {})], ids=["new", "none", "empty"]
)
def test_update_data_replaces_stored_data(
    platform: Platform, recorder: Recorder, returned: Any, expected: Any
) -> None:
    """None keeps the stored data."""
    recorder.answers["provision"] = Provisioned(data={"n": 1})
    recorder.answers["update"] = Updated(data=returned)
    platform.put(INSTANCE, PROVISION)
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}})
    assert recorder.requests[-1].instance.data == {"n": 1}
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert recorder.requests[-1].instance.data == expected


@pytest.mark.rule("R-DEL-5")
@pytest.mark.parametrize("data", [["a list"], "a text", {"a": object()}, {1: {"b": print}}])
def test_data_outside_json_is_500(platform: Platform, recorder: Recorder, data: Any) -> None:
    """The failed instance can be deleted."""
    recorder.answers["provision"] = Provisioned(data=data)
    assert platform.put(INSTANCE, PROVISION).status_code == 500
    assert platform.put(INSTANCE, PROVISION).status_code == 409
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-UPD-2")
def test_update_request_has_previous_instance(platform: Platform, recorder: Recorder) -> None:
    """`request.instance` has the values before the update.

    Parameters are merged, and the context is replaced.
    """
    platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 3, "tags": {"a": 1}}, "context": CONTEXT})
    renamed = {**CONTEXT, "instance_name": "yours"}
    body = {
        "service_id": "db-id",
        "plan_id": "large-id",
        "parameters": {"size": 4, "tags": {"b": 2}},
        "context": renamed,
    }
    platform.patch(INSTANCE, body)
    update = recorder.requests[-1]
    assert (update.plan.id, update.parameters) == ("large-id", {"size": 4, "tags": {"b": 2}})
    assert (update.instance.plan.id, update.instance.context) == ("small-id", CONTEXT)
    assert update.instance.parameters == {"size": 3, "tags": {"a": 1}}
    platform.delete(INSTANCE, query=DELETE_QUERY)
    instance = recorder.requests[-1].instance
    assert (instance.plan.id, instance.context) == ("large-id", renamed)
    assert instance.parameters == {"size": 4, "tags": {"b": 2}}
    assert instance.maintenance_info is None
    assert instance.updated_at > instance.created_at
    assert instance.organization_guid == "o1"


def test_request_instance_lists_bindings_by_age(platform: Platform, recorder: Recorder) -> None:
    """Update and deprovision handlers get the existing bindings, the oldest first."""
    platform.put(INSTANCE, PROVISION)
    lists: list[list[str]] = []

    def record_bindings(request: Any) -> None:
        bindings = request.instance.bindings
        lists.append([binding.binding_id for binding in bindings])
        assert len(bindings) == len(lists[-1])
        assert list(bindings[1:]) == list(bindings)[1:]

    recorder.answers["update"] = recorder.answers["deprovision"] = record_bindings
    for name in ("z", "a", "m"):
        platform.put(f"{INSTANCE}/service_bindings/{name}", IDS)
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}})
    platform.delete(f"{INSTANCE}/service_bindings/a", query=DELETE_QUERY)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert lists == [["z", "a", "m"], ["z", "m"]]


def test_handler_data_survives_restart(serve: Serve, recorder: Recorder) -> None:
    recorder.answers["provision"] = Provisioned(data=DATA)
    recorder.answers["bind"] = Binding(credentials={"uri": "x"}, data=DATA)
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    serve.stop()
    platform = serve(recorder)
    platform.delete(BINDING, query=DELETE_QUERY)
    request = recorder.requests[-1]
    assert (request.instance.data, request.binding.data) == (DATA, DATA)


def test_request_repr_shows_no_secrets(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["provision"] = Provisioned(data={"key": "hunter2"})
    recorder.answers["bind"] = Binding(credentials={"uri": "hunter2"}, data={"key": "hunter2"})
    platform.put(INSTANCE, {**PROVISION, "parameters": {"password": "hunter22"}})
    platform.put(BINDING, {**IDS, "parameters": {"password": "hunter22"}})
    platform.delete(BINDING, query=DELETE_QUERY)
    assert "hunter2" not in repr(recorder.requests)
