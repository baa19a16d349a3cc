"""Ids and parameters of every kind are kept apart, and come back as they were."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from brokerkit import Binding, Provisioned

from ..support.broker import DELETE_QUERY, IDS, PROVISION, Recorder
from ..support.stateful import CAN_POLL, CHANGING, DELETE_AND_POLL, Platform, Serve, poll_until_done

LARGE = {**PROVISION, "plan_id": "large-id"}

STRANGE = {
    "NUL": "a\0b",
    "4-byte characters": "🙂𝔘🇪🇺",
    "slashes": "a/b//c/../d",
    "percent": "a%2Fb%00%",
    "spaces and quotes": " '\"; -- \\ ",
    "8 kB": "x" * 8192,
    "8 kB of 4-byte characters": "🙂" * 2000,
    "like a hash": "~" + "0" * 64,
    "dots": "...",
    "question": "a?b#c&d=e;f",
    "newline": "a\r\nb",
    "a placeholder": "%(o_id)s :o_id ?",
}


def path_of(instance_id: str, binding_id: str | None = None) -> str:
    path = f"/v2/service_instances/{quote(instance_id, safe='')}"
    return path if binding_id is None else f"{path}/service_bindings/{quote(binding_id, safe='')}"


def raw(path: str) -> dict[str, Any]:
    """A server's word for the path as it was sent."""
    return {"environ": {"REQUEST_URI": path, "RAW_URI": path}}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
@pytest.mark.parametrize("background", [False, True], ids=["inline", "background"])
def test_lifecycle_with_special_ids(serve: Serve, recorder: Recorder, strange: str, background: bool) -> None:
    """An instance and a binding with special ids go through all operations, synchronously and in the
    background. Handlers get the ids unchanged.
    """
    platform = serve(recorder, background=CHANGING if background else [])
    instance, binding = path_of(strange), path_of(strange, strange)

    def done(path: str, status: int, method: str, body: Any = None, query: str = CAN_POLL) -> None:
        response = platform.send(method, path, body, query=query, **raw(path))
        assert response.status_code == (202 if background else status), response.data
        if background:
            poll = f"{path}/last_operation"
            while platform.get(poll, **raw(poll)).json["state"] == "in progress":
                pass
            result = platform.get(poll, query=f"operation={response.json['operation']}", **raw(poll)).json
            assert result["state"] == "succeeded", result

    done(instance, 201, "PUT", {**PROVISION, "parameters": {"size": 3}})
    assert (
        platform.put(instance, {**PROVISION, "parameters": {"size": 3}}, **raw(instance)).status_code == 200
    )
    done(binding, 201, "PUT", IDS)
    assert platform.get(binding, **raw(binding)).json == {"credentials": {"uri": "db://secret"}}
    done(instance, 200, "PATCH", {**IDS, "parameters": {"size": 4}})
    assert platform.get(instance, **raw(instance)).json["parameters"] == {"size": 4}
    done(binding, 200, "DELETE", query=DELETE_AND_POLL)
    done(instance, 200, "DELETE", query=DELETE_AND_POLL)
    assert platform.get(instance, **raw(instance)).status_code == 404
    for request in recorder.requests:
        assert request.instance_id == strange
        assert getattr(request, "binding_id", strange) == strange
        if request.instance is not None:
            assert request.instance.instance_id == strange


ALIKE = {
    "case": ("Instance", "instance"),
    "after 200 characters": ("x" * 200 + "a", "x" * 200 + "b"),
    "exactly 200 characters": ("x" * 200, "x" * 201),
    "space at the end": ("a", "a "),
    "NUL at the end": ("a", "a\0"),
    "NUL in the middle": ("a\0b", "a\0c"),
    "composed": ("\u00e9", "e\u0301"),
    "numbers": ("1", "01"),
    "plus": ("a+b", "a b"),
    "wildcards": ("a_b", "a%b"),
}


@pytest.mark.rule("R-BIND-1")
@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=ALIKE.keys())
def test_similar_ids_are_distinct(platform: Platform, recorder: Recorder, one: str, other: str) -> None:
    """Similar ids of instances and bindings are never confused."""
    for instance_id, body in ((one, PROVISION), (other, LARGE)):
        path = path_of(instance_id)
        assert platform.put(path, body, **raw(path)).status_code == 201
    for binding_id in (one, other):
        path = path_of(one, binding_id)
        bind: dict[str, Any] = {**IDS, "parameters": {"for": binding_id}}
        assert platform.put(path, bind, **raw(path)).status_code == 201
    for binding_id in (one, other):
        path = path_of(one, binding_id)
        assert platform.get(path, **raw(path)).json["parameters"] == {"for": binding_id}
    path = path_of(one)
    assert platform.delete(path, query=DELETE_QUERY, **raw(path)).status_code == 200
    path = path_of(other)
    assert platform.get(path, **raw(path)).json["plan_id"] == "large-id"


def test_id_equal_to_stored_key_is_distinct(platform: Platform) -> None:
    """The hashed key of a long id is a different id when a platform sends it."""
    from brokerkit.store.resource_keys import resource_key

    long = "x" * 300
    platform.put(path_of(long), PROVISION)
    assert platform.get(path_of(resource_key(long))).status_code == 404
    assert platform.put(path_of(resource_key(long)), LARGE).status_code == 201
    assert platform.get(path_of(long)).json["plan_id"] == "small-id"


PARAMETERS: dict[str, Any] = {
    "NUL": {"a\0": "b\0c"},
    "4-byte characters": {"🙂": "𝔘"},
    "numbers": {"int": 2**63, "negative": -(2**63), "float": 1e300, "small": 1.5e-10, "zero": -0.0},
    "empty": {"": "", "list": [], "object": {}, "null": None},
    "deep": {"a": [[[[[[{"b": [{}]}]]]]]]},
    "1 MiB": {"text": "x" * (1024 * 1024 - 300)},
    "many": {f"k{number}": number for number in range(20_000)},
}


@pytest.mark.rule("R-PROV-3", "R-BIND-1", "R-GETI", "R-GETB")
@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS.keys())
@pytest.mark.parametrize("background", [False, True], ids=["inline", "background"])
def test_parameters_round_trip_unchanged(
    serve: Serve, recorder: Recorder, parameters: dict[str, Any], background: bool
) -> None:
    """Handlers and fetches get the same parameters, and a repeated PUT is identical."""
    platform = serve(recorder, background=["provision"] if background else [])
    path = path_of("i1")
    body = {**LARGE, "parameters": parameters}
    assert platform.put(path, body, query=CAN_POLL).status_code == (202 if background else 201)
    assert poll_until_done(platform, path)["state"] == "succeeded"
    assert platform.put(path, body).status_code == 200
    assert recorder.requests[0].parameters == parameters
    assert platform.get(path).json["parameters"] == parameters
    binding = path_of("i1", "b1")
    bind = {"service_id": "db-id", "plan_id": "large-id", "parameters": parameters}
    assert platform.put(binding, bind).status_code == 201
    assert platform.put(binding, bind).status_code == 200
    assert platform.get(binding).json["parameters"] == parameters


@pytest.mark.rule("R-GETB")
@pytest.mark.parametrize("value", PARAMETERS.values(), ids=PARAMETERS.keys())
def test_data_and_credentials_round_trip_unchanged(
    platform: Platform, recorder: Recorder, value: dict[str, Any]
) -> None:
    recorder.answers["provision"] = Provisioned(data=value)
    recorder.answers["bind"] = Binding(credentials=value, data=value)
    platform.put(path_of("i1"), PROVISION)
    binding = path_of("i1", "b1")
    assert platform.put(binding, IDS).status_code == 201
    assert platform.get(binding).json["credentials"] == value
    platform.delete(binding, query=DELETE_QUERY)
    request = recorder.requests[-1]
    assert request.instance.data == request.binding.data == value
