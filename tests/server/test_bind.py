"""Bind: R-BIND."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from brokerkit import (
    Accepted,
    AsyncRequired,
    Binding,
    BindingAlreadyExists,
    BindingMetadata,
    BindResource,
    ConcurrencyError,
    Endpoint,
    InstanceDoesNotExist,
    RequiresApp,
    ServicePlan,
    VolumeDevice,
    VolumeMount,
)

from ..support.broker import BINDING, IDS, Platform, Recorder, error_of, make_app, make_broker, make_offering

POLLS = "accepts_incomplete=true"
MOUNT = VolumeMount(
    driver="nfs",
    container_dir="/data",
    mode="rw",
    device=VolumeDevice(volume_id="v1", mount_config={"uid": 1000}),
)
EVERY_REQUIREMENT = ["syslog_drain", "route_forwarding", "volume_mount"]


def platform_with(recorder: Recorder, **fields: Any) -> Platform:
    return Platform(make_app(make_broker(recorder, make_offering(**fields))))


@pytest.mark.rule("R-BIND-1")
def test_bind_synchronous_is_201_with_binding(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["bind"] = Binding(credentials={"uri": "db://u:p@h/d", "ports": [1, 2]})
    response = platform.put(BINDING, IDS)
    assert response.status_code == 201
    assert response.json == {"credentials": {"uri": "db://u:p@h/d", "ports": [1, 2]}}


@pytest.mark.rule("R-BIND-1")
def test_bind_with_empty_binding_is_201(platform: Platform, recorder: Recorder) -> None:
    """A binding without any field is encoded as an empty object."""
    recorder.answers["bind"] = Binding()
    response = platform.put(BINDING, IDS)
    assert (response.status_code, response.json) == (201, {})


@pytest.mark.rule("R-BIND-1")
@pytest.mark.parametrize(
    ("answer", "operation"), [(Accepted(operation="job 7"), "job 7"), (Accepted(), "bind")]
)
def test_bind_in_progress_repeats_202_with_operation(
    answer: Accepted, operation: str, platform: Platform, recorder: Recorder
) -> None:
    """The 202 body contains only `operation`; a repeated request gets the same response."""
    recorder.answers["bind"] = answer
    for _ in range(2):
        response = platform.put(BINDING, IDS, query=POLLS)
        assert (response.status_code, response.json) == (202, {"operation": operation})


@pytest.mark.rule("R-BIND-1")
def test_bind_of_identical_existing_binding_is_200(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["bind"] = Binding(credentials={"uri": "db://secret"}, exists=True)
    response = platform.put(BINDING, IDS)
    assert (response.status_code, response.json) == (200, {"credentials": {"uri": "db://secret"}})


@pytest.mark.rule("R-BIND-1", "R-BIND-5", "R-ERR-3")
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BindingAlreadyExists(), 409),  # R-BIND-1
        (AsyncRequired(), 422),
        (RequiresApp(), 422),  # R-BIND-5
        (ConcurrencyError(), 422),  # R-BIND-5
        (InstanceDoesNotExist(), 404),  # R-BIND-5
    ],
)
def test_bind_handler_error_determines_status(
    error: Exception, status: int, platform: Platform, recorder: Recorder
) -> None:
    """An error raised by the handler is encoded with its own status and error code."""
    recorder.answers["bind"] = error
    response = platform.put(BINDING, IDS)
    assert response.status_code == status
    assert error_of(response)["error"] == type(error).__name__


@pytest.mark.rule("R-BIND-2", "R-BIND-3", "R-BIND-4")
def test_bind_response_contains_all_binding_fields(recorder: Recorder) -> None:
    recorder.answers["bind"] = Binding(
        credentials={"uri": "db://secret"},
        syslog_drain_url="syslog-tls://logs.example.org",
        route_service_url="https://routes.example.org",
        volume_mounts=[MOUNT],
        endpoints=[Endpoint(host="db.example.org", ports=["443", "9000-9010"])],
        metadata=BindingMetadata(expires_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
    )
    response = platform_with(recorder, requires=EVERY_REQUIREMENT).put(BINDING, IDS)
    assert response.status_code == 201
    assert response.json == {
        "credentials": {"uri": "db://secret"},
        "syslog_drain_url": "syslog-tls://logs.example.org",
        "route_service_url": "https://routes.example.org",
        "volume_mounts": [
            {
                "driver": "nfs",
                "container_dir": "/data",
                "mode": "rw",
                "device_type": "shared",
                "device": {"volume_id": "v1", "mount_config": {"uid": 1000}},
            }
        ],
        "endpoints": [{"host": "db.example.org", "ports": ["443", "9000-9010"], "protocol": "tcp"}],
        "metadata": {"expires_at": "2030-01-02T03:04:05.0Z"},
    }


@pytest.mark.rule("R-BIND-2")
@pytest.mark.parametrize(
    ("binding", "field", "requirement"),
    [
        (Binding(syslog_drain_url="syslog://l"), "syslog_drain_url", "syslog_drain"),
        (Binding(route_service_url="https://r"), "route_service_url", "route_forwarding"),
        (Binding(volume_mounts=[MOUNT]), "volume_mounts", "volume_mount"),
    ],
)
def test_bind_field_without_offering_requirement_is_500(
    binding: Binding,
    field: str,
    requirement: str,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A drain, route service or volume mount needs the matching entry in `requires`. The log names it."""
    recorder.answers["bind"] = binding
    allowed = platform_with(recorder, requires=[requirement]).put(BINDING, IDS)
    assert allowed.status_code == 201
    assert list(allowed.get_json()) == [field]
    others = [other for other in EVERY_REQUIREMENT if other != requirement]
    refused = platform_with(recorder, requires=others).put(BINDING, IDS)
    assert refused.status_code == 500
    assert field not in refused.text
    assert f"does not require '{requirement}'; add that to its `requires`" in caplog.text


@pytest.mark.rule("R-BIND-3")
@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (
            VolumeMount(driver="d", container_dir="/c", mode="r", device=VolumeDevice(volume_id="v")),
            {"mode": "r", "device_type": "shared", "device": {"volume_id": "v"}},
        ),
        (MOUNT, {"mode": "rw", "device": {"volume_id": "v1", "mount_config": {"uid": 1000}}}),
    ],
)
def test_volume_mount_is_encoded_with_all_fields(
    mount: VolumeMount, expected: dict[str, Any], recorder: Recorder
) -> None:
    recorder.answers["bind"] = Binding(volume_mounts=[mount])
    response = platform_with(recorder, requires=["volume_mount"]).put(BINDING, IDS)
    (written,) = response.get_json()["volume_mounts"]
    assert written.keys() == {"driver", "container_dir", "mode", "device_type", "device"}
    assert expected.items() <= written.items()


@pytest.mark.rule("R-BIND-3")
@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", "x"), ("device_type", "dedicated"), ("driver", None), ("device", "v1")],
)
def test_invalid_volume_mount_field_is_500(
    field: str, value: Any, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the invalid field of the volume mount."""
    mount = VolumeMount(
        **{
            "driver": "d",
            "container_dir": "/c",
            "mode": "r",
            "device": VolumeDevice(volume_id="v"),
            field: value,
        }
    )
    recorder.answers["bind"] = Binding(volume_mounts=[mount])
    response = platform_with(recorder, requires=["volume_mount"]).put(BINDING, IDS)
    assert response.status_code == 500
    assert f"volume_mounts[0].{field}" in caplog.text


@pytest.mark.rule("R-BIND-3")
@pytest.mark.parametrize("protocol", ["tcp", "udp", "all"])
@pytest.mark.parametrize("ports", [["443"], ["1", "65535"], ["9000-9010"], ["53-53", "80"]])
def test_endpoint_is_encoded_with_all_fields(
    protocol: Any, ports: list[str], platform: Platform, recorder: Recorder
) -> None:
    """Host, ports and protocol of an endpoint appear in the response."""
    recorder.answers["bind"] = Binding(endpoints=[Endpoint(host="10.0.0.1", ports=ports, protocol=protocol)])
    response = platform.put(BINDING, IDS)
    assert response.get_json()["endpoints"] == [{"host": "10.0.0.1", "ports": ports, "protocol": protocol}]


@pytest.mark.rule("R-BIND-3")
@pytest.mark.parametrize(
    "ports",
    [[], "443", [443], [""], ["0"], ["65536"], ["http"], ["9010-9000"], ["1-2-3"], ["-1"], ["1,2"]],
)
def test_endpoint_constructor_refuses_invalid_ports(ports: Any) -> None:
    with pytest.raises(ValueError, match="ports"):
        Endpoint(host="db.example.org", ports=ports)


@pytest.mark.rule("R-BIND-3")
def test_endpoint_constructor_requires_host() -> None:
    with pytest.raises(ValueError, match="host"):
        Endpoint(host="", ports=["443"])


@pytest.mark.rule("R-BIND-3")
def test_endpoint_with_unknown_protocol_is_500(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the invalid field of the endpoint."""
    protocol: Any = "icmp"
    recorder.answers["bind"] = Binding(endpoints=[Endpoint(host="h", ports=["1"], protocol=protocol)])
    assert platform.put(BINDING, IDS).status_code == 500
    assert "endpoints[0].protocol" in caplog.text


NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.rule("R-BIND-4")
@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (NOON, "2026-11-23T12:00:00.0Z"),
        (NOON.replace(microsecond=500_000), "2026-11-23T12:00:00.5Z"),
        (NOON.replace(microsecond=123_456), "2026-11-23T12:00:00.123456Z"),
        (NOON.astimezone(timezone(timedelta(hours=5, minutes=30))), "2026-11-23T12:00:00.0Z"),
        (NOON.astimezone(timezone(timedelta(hours=-12))), "2026-11-23T12:00:00.0Z"),
    ],
)
def test_binding_metadata_times_are_encoded_in_utc(
    moment: datetime, written: str, platform: Platform, recorder: Recorder
) -> None:
    metadata = BindingMetadata(expires_at=moment, renew_before=moment)
    recorder.answers["bind"] = Binding(metadata=metadata)
    response = platform.put(BINDING, IDS)
    assert response.json == {"metadata": {"expires_at": written, "renew_before": written}}


@pytest.mark.rule("R-BIND-4")
@pytest.mark.parametrize(
    ("times", "fault"),
    [
        ({"expires_at": NOON, "renew_before": NOON + timedelta(seconds=1)}, "renew_before"),
        ({"expires_at": datetime(2026, 11, 23)}, "expires_at.*time zone"),
        ({"renew_before": datetime(2026, 11, 23)}, "renew_before.*time zone"),
    ],
)
def test_binding_metadata_constructor_refuses_invalid_times(times: dict[str, datetime], fault: str) -> None:
    """A time without a time zone, or a renewal time after the expiry, raises ValueError."""
    with pytest.raises(ValueError, match=fault):
        BindingMetadata(**times)


@pytest.mark.rule("R-BIND-4")
def test_bind_with_renewal_after_expiry_is_500(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the field and the correction."""

    def bind(request: object) -> Binding:
        return Binding(metadata=BindingMetadata(expires_at=NOON, renew_before=NOON + timedelta(days=1)))

    recorder.answers["bind"] = bind
    assert platform.put(BINDING, IDS).status_code == 500
    assert "renew_before=…) is after expires_at; pass an earlier time" in caplog.text


@pytest.mark.rule("R-BIND-5", "R-CAT-3")
@pytest.mark.parametrize(
    ("offering", "plan", "status"),
    [
        (True, None, 201),
        (False, None, 400),
        (True, False, 400),
        (False, True, 201),
    ],
)
def test_bind_of_unbindable_plan_is_400(
    offering: bool, plan: bool | None, status: int, recorder: Recorder
) -> None:
    """The plan's `bindable` overrides the offering's. The handler is not called."""
    plans = [ServicePlan(id="small-id", name="small", description="…", bindable=plan)]
    response = platform_with(recorder, bindable=offering, plans=plans).put(BINDING, IDS)
    assert response.status_code == status
    if status == 400:
        assert "is not bindable" in error_of(response)["description"]
        assert not recorder.requests


@pytest.mark.rule("R-BIND-5")
@pytest.mark.parametrize(
    ("body", "app_guid"),
    [
        ({}, None),
        ({"app_guid": "a"}, "a"),
        ({"bind_resource": {"app_guid": "a"}}, "a"),
        ({"bind_resource": {"app_guid": "a"}, "app_guid": "deprecated"}, "a"),
        ({"bind_resource": {"route": "r.example.org"}, "app_guid": "a"}, "a"),
    ],
)
def test_bind_app_guid_prefers_bind_resource(
    body: dict[str, Any], app_guid: str | None, platform: Platform, recorder: Recorder
) -> None:
    """`bind_resource.app_guid` takes precedence over the deprecated `app_guid` of the body."""
    assert platform.put(BINDING, {**IDS, **body}).status_code == 201
    assert recorder.request.app_guid == app_guid


def test_bind_handler_receives_all_request_fields(platform: Platform, recorder: Recorder) -> None:
    resource = {
        "app_guid": "a1",
        "route": "r.example.org",
        "space_guid": "s1",
        "app_annotations": {"example.org/owner": "team-a"},
        "credential_client_id": "cc_service_key_client",
        "backup_agent": True,
    }
    body = {
        **IDS,
        "context": {"platform": "cloudfoundry"},
        "bind_resource": resource,
        "parameters": {"size": 3},
        "predecessor_binding_id": "b0",
    }
    assert platform.put(BINDING, body, query=POLLS).status_code == 201
    request = recorder.request
    assert (request.instance_id, request.binding_id) == ("i1", "b1")
    assert (request.offering.id, request.plan.id) == ("db-id", "small-id")
    assert request.context == {"platform": "cloudfoundry"}
    assert request.bind_resource == BindResource(
        app_guid="a1",
        route="r.example.org",
        space_guid="s1",
        app_annotations={"example.org/owner": "team-a"},
        credential_client_id="cc_service_key_client",
        backup_agent=True,
    )
    assert request.parameters == {"size": 3}
    assert request.accepts_incomplete is True
    assert request.body == body


@pytest.mark.rule("R-BIND-5", "R-REQ-6")
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"plan_id": "small-id"}, "service_id: is required"),
        ({"service_id": "db-id"}, "plan_id: is required"),
        (
            {"service_id": "nope", "plan_id": "small-id"},
            "service_id: The catalog has no service offering 'nope'.",
        ),
        (
            {"service_id": "db-id", "plan_id": "nope"},
            "plan_id: The catalog has no service plan 'nope'.",
        ),
        ({**IDS, "bind_resource": []}, "bind_resource: expected an object, got an array"),
    ],
)
def test_bind_with_invalid_field_is_400(
    body: dict[str, Any], fault: str, platform: Platform, recorder: Recorder
) -> None:
    """The description names the missing or malformed field; the handler is not called."""
    response = platform.put(BINDING, body)
    assert response.status_code == 400
    assert error_of(response)["description"] == fault
    assert not recorder.requests


@pytest.mark.rule("R-BIND-5", "R-CAT-4")
def test_bind_with_parameters_violating_schema_is_400(platform: Platform, recorder: Recorder) -> None:
    """The description names the parameter but does not contain its value."""
    response = platform.put(BINDING, {**IDS, "parameters": {"password": "hunter2"}})
    assert response.status_code == 400
    assert error_of(response)["description"].startswith("parameters.password: ")
    assert "hunter2" not in response.text
    assert not recorder.requests


@pytest.mark.rule("R-BIND-6")
def test_bind_passes_predecessor_binding_id(platform: Platform, recorder: Recorder) -> None:
    """The handler receives the predecessor of a rotated binding."""
    response = platform.put(BINDING, {**IDS, "predecessor_binding_id": "b0"})
    assert response.status_code == 201
    assert recorder.request.predecessor == "b0"


@pytest.mark.rule("R-BIND-6")
def test_bind_successor_without_rotatable_plan_is_400(platform: Platform, recorder: Recorder) -> None:
    body = {"service_id": "db-id", "plan_id": "large-id", "predecessor_binding_id": "b0"}
    response = platform.put(BINDING, body)
    assert response.status_code == 400
    assert error_of(response)["description"].startswith("predecessor_binding_id: ")
    assert not recorder.requests


@pytest.mark.rule("R-BIND-1")
def test_async_bind_without_bindings_retrievable_is_500(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The platform could not fetch the credentials later. The log names the missing field."""
    recorder.answers["bind"] = Accepted(operation="job 7")
    platform = platform_with(recorder, bindings_retrievable=False)
    response = platform.put(BINDING, IDS, query="accepts_incomplete=true")
    assert response.status_code == 500
    assert "set bindings_retrievable in the offering 'db'" in caplog.text
