"""Encoding of results. An invalid result is reported to the broker's author, not to the platform."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from brokerkit import (
    Accepted,
    Binding,
    BindingMetadata,
    Deprovisioned,
    Endpoint,
    InstanceDetails,
    InstanceMetadata,
    LastOperation,
    Provisioned,
    Unbound,
    Updated,
    VolumeDevice,
    VolumeMount,
)

from ..support.broker import (
    BINDING,
    DELETE_QUERY,
    IDS,
    INSTANCE,
    PROVISION,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

NOW = datetime(2026, 11, 23, 15, 55, tzinfo=UTC)
ASYNC = "accepts_incomplete=true"
LAST = f"{INSTANCE}/last_operation"
LAST_BINDING = f"{BINDING}/last_operation"


def ask(platform: Platform, operation: str) -> Any:
    """Send the request for an operation as a platform that can poll."""
    match operation:
        case "provision":
            return platform.put(INSTANCE, PROVISION, query=ASYNC)
        case "update":
            return platform.patch(INSTANCE, IDS, query=ASYNC)
        case "deprovision":
            return platform.delete(INSTANCE, query=f"{DELETE_QUERY}&{ASYNC}")
        case "bind":
            return platform.put(BINDING, IDS, query=ASYNC)
        case "unbind":
            return platform.delete(BINDING, query=f"{DELETE_QUERY}&{ASYNC}")
        case "get_instance":
            return platform.get(INSTANCE, query=DELETE_QUERY)
        case "get_binding":
            return platform.get(BINDING, query=DELETE_QUERY)
        case "last_operation":
            return platform.get(LAST)
        case _:
            return platform.get(LAST_BINDING)


# Accepted


@pytest.mark.rule("R-PROV-1")
@pytest.mark.parametrize("operation", ["x", "x" * 10_000, "grün"])
def test_accepted_allows_operation_up_to_limit(operation: str) -> None:
    """An operation may have 1 to 10,000 characters."""
    assert Accepted(operation=operation).operation == operation


@pytest.mark.rule("R-PROV-1")
@pytest.mark.parametrize("length", [0, 10_001])
def test_accepted_constructor_refuses_operation_length(length: int) -> None:
    """An empty operation or one over 10,000 characters raises ValueError."""
    with pytest.raises(ValueError, match=rf"operation=….* has {length:,} characters"):
        Accepted(operation="x" * length)


@pytest.mark.parametrize("operation", [7, b"job", ["job"]])
def test_accepted_constructor_refuses_non_text_operation(operation: Any) -> None:
    """The id of a job is often a number; the error names the field."""
    with pytest.raises((TypeError, ValueError), match="operation"):
        Accepted(operation=operation)


@pytest.mark.rule("R-PROV-1")
def test_accepted_with_long_operation_is_500(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log states the length and the limit."""
    recorder.answers["provision"] = lambda request: Accepted(operation="x" * 10_001)
    assert ask(platform, "provision").status_code == 500
    assert "10,001 characters; pass 1 to 10,000" in caplog.text


@pytest.mark.rule("R-DEL-4", "R-UNB-4", "R-PROV-1", "R-UPD-1", "R-BIND-1")
@pytest.mark.parametrize("operation", ["provision", "update", "deprovision", "bind", "unbind"])
def test_accepted_without_operation_uses_default(
    operation: str, platform: Platform, recorder: Recorder
) -> None:
    """The default operation is the name of the requested operation, for example 'bind'."""
    recorder.answers[operation] = Accepted()
    response = ask(platform, operation)
    assert response.status_code == 202
    assert response.json == {"operation": operation}


@pytest.mark.rule("R-PROV-2", "R-UPD-1")
@pytest.mark.parametrize("operation", ["provision", "update"])
def test_accepted_may_contain_dashboard_url(operation: str, platform: Platform, recorder: Recorder) -> None:
    """A 202 to a provision or an update may contain the dashboard URL and the metadata."""
    recorder.answers[operation] = Accepted(
        operation="job",
        dashboard_url="https://db.example.org",
        metadata=InstanceMetadata(labels={"a": "b"}),
    )
    assert ask(platform, operation).json == {
        "operation": "job",
        "dashboard_url": "https://db.example.org",
        "metadata": {"labels": {"a": "b"}},
    }


@pytest.mark.rule("R-BIND-1", "R-UNB-1", "R-DEL-1")
@pytest.mark.parametrize("operation", ["deprovision", "bind", "unbind"])
def test_accepted_with_misplaced_dashboard_url_is_500(
    operation: str, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A 202 to other operations contains only `operation`. The log names the field."""
    recorder.answers[operation] = Accepted(operation="job", dashboard_url="https://x")
    assert ask(platform, operation).status_code == 500
    assert "returned Accepted(dashboard_url=…), but the response to" in caplog.text


@pytest.mark.rule("R-REQ-9")
@pytest.mark.parametrize(
    ("method", "path", "body", "query", "operation"),
    [
        ("PUT", INSTANCE, PROVISION, "", "provision"),
        ("PATCH", INSTANCE, IDS, "accepts_incomplete=1", "update"),
        ("DELETE", INSTANCE, None, f"{DELETE_QUERY}&accepts_incomplete=false", "deprovision"),
        ("PUT", BINDING, IDS, "accepts_incomplete=True", "bind"),
        ("DELETE", BINDING, None, DELETE_QUERY, "unbind"),
    ],
)
def test_accepted_without_polling_support_is_500(
    method: str,
    path: str,
    body: object,
    query: str,
    operation: str,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log advises to raise AsyncRequired before the work starts."""
    recorder.answers[operation] = Accepted(operation="job")
    assert platform.send(method, path, body, query=query).status_code == 500
    assert "raise AsyncRequired() before the work starts" in caplog.text


# Endpoint


@pytest.mark.rule("R-BIND-3")
@pytest.mark.parametrize(
    "ports", [["443"], ["1"], ["65535"], ["9000-9010"], ["7-7"], ["443", "9000-9010"], ("80",)]
)
def test_endpoint_accepts_ports_and_ranges(ports: Any) -> None:
    assert Endpoint(host="db.example.org", ports=ports).ports == ports


@pytest.mark.rule("R-BIND-3")
@pytest.mark.parametrize(
    "ports",
    [
        [],
        (),
        "443",
        None,
        [443],
        [""],
        ["0"],
        ["65536"],
        ["99999"],
        ["-1"],
        ["9010-9000"],
        ["1-65536"],
        ["0-1"],
        ["1-"],
        ["-"],
        ["1-2-3"],
        ["http"],
        [" 443"],
        ["443\n"],
        ["٤٤٣"],
        ["443", "x"],
    ],
)
def test_endpoint_refuses_invalid_ports(ports: Any) -> None:
    with pytest.raises(ValueError, match=r"Endpoint\(ports=…\)"):
        Endpoint(host="db.example.org", ports=ports)


@pytest.mark.rule("R-BIND-3")
@pytest.mark.parametrize("host", ["", None])
def test_endpoint_requires_host(host: Any) -> None:
    with pytest.raises(ValueError, match=r"Endpoint\(host=…\)"):
        Endpoint(host=host, ports=["443"])


@pytest.mark.rule("R-BIND-3")
def test_endpoint_protocol_defaults_to_tcp() -> None:
    assert Endpoint(host="h", ports=["1"]).protocol == "tcp"


# BindingMetadata


@pytest.mark.rule("R-BIND-4")
@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"expires_at": NOW},
        {"renew_before": NOW},
        {"expires_at": NOW, "renew_before": NOW},
        {"expires_at": NOW, "renew_before": NOW - timedelta(days=1)},
        {
            "expires_at": NOW,
            "renew_before": (NOW - timedelta(minutes=1)).astimezone(timezone(timedelta(hours=9))),
        },
    ],
)
def test_binding_metadata_accepts_ordered_times(metadata: dict[str, datetime]) -> None:
    """The renewal time may be before or equal to the expiry, in any time zone."""
    binding_metadata = BindingMetadata(**metadata)
    assert binding_metadata.expires_at == metadata.get("expires_at")
    assert binding_metadata.renew_before == metadata.get("renew_before")


@pytest.mark.rule("R-BIND-4")
@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-9))])
def test_binding_metadata_refuses_renewal_after_expiry(zone: timezone) -> None:
    with pytest.raises(ValueError, match=r"renew_before=….* is after expires_at"):
        BindingMetadata(expires_at=NOW, renew_before=(NOW + timedelta(seconds=1)).astimezone(zone))


@pytest.mark.rule("R-BIND-4")
@pytest.mark.parametrize("field", ["expires_at", "renew_before"])
def test_binding_metadata_refuses_naive_time(field: str) -> None:
    with pytest.raises(ValueError, match=rf"BindingMetadata\({field}=…\) has no time zone"):
        BindingMetadata(**{field: NOW.replace(tzinfo=None)})


@pytest.mark.rule("R-BIND-4")
@pytest.mark.parametrize("field", ["expires_at", "renew_before"])
@pytest.mark.parametrize("moment", ["2026-11-23T15:55:00Z", 1_700_000_000])
def test_binding_metadata_refuses_non_datetime(field: str, moment: Any) -> None:
    """The error names the field."""
    with pytest.raises((TypeError, ValueError), match=field):
        BindingMetadata(**{field: moment})


@pytest.mark.rule("R-BIND-4")
@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (NOW, "2026-11-23T15:55:00.0Z"),
        (NOW.replace(microsecond=120_000), "2026-11-23T15:55:00.12Z"),
        (NOW.replace(microsecond=1), "2026-11-23T15:55:00.000001Z"),
        (NOW.astimezone(timezone(timedelta(hours=9))), "2026-11-23T15:55:00.0Z"),
    ],
)
@pytest.mark.parametrize("operation", ["bind", "get_binding"])
def test_binding_metadata_times_are_encoded_in_utc(
    operation: str, moment: datetime, written: str, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = Binding(metadata=BindingMetadata(expires_at=moment, renew_before=moment))
    assert ask(platform, operation).json == {"metadata": {"expires_at": written, "renew_before": written}}


# LastOperation


@pytest.mark.rule("R-LAST-1")
def test_last_operation_constructors_set_state() -> None:
    assert LastOperation.in_progress().state == "in progress"
    assert LastOperation.succeeded().state == "succeeded"
    assert LastOperation.failed().state == "failed"


@pytest.mark.rule("R-LAST-1")
@pytest.mark.parametrize(
    ("result", "body"),
    [
        (LastOperation.in_progress(), {"state": "in progress"}),
        (
            LastOperation.in_progress("Creating"),
            {"state": "in progress", "description": "Creating"},
        ),
        (LastOperation.succeeded("Done"), {"state": "succeeded", "description": "Done"}),
        (LastOperation.failed("No disk"), {"state": "failed", "description": "No disk"}),
    ],
)
@pytest.mark.parametrize("operation", ["last_operation", "last_binding_operation"])
def test_last_operation_encodes_state_and_description(
    operation: str,
    result: LastOperation,
    body: dict[str, str],
    platform: Platform,
    recorder: Recorder,
) -> None:
    recorder.answers[operation] = result
    response = ask(platform, operation)
    assert response.status_code == 200
    assert response.json == body
    assert "Retry-After" not in response.headers


@pytest.mark.rule("R-LAST-1", "R-ERR-2")
def test_failed_instance_operation_encodes_usability_fields(platform: Platform, recorder: Recorder) -> None:
    recorder.answers["last_operation"] = LastOperation.failed(instance_usable=False, update_repeatable=True)
    assert ask(platform, "last_operation").json == {
        "state": "failed",
        "instance_usable": False,
        "update_repeatable": True,
    }


@pytest.mark.rule("R-ERR-2")
@pytest.mark.parametrize("field", ["instance_usable", "update_repeatable"])
def test_failed_binding_operation_refuses_usability_fields(
    field: str, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the misplaced field."""
    recorder.answers["last_binding_operation"] = LastOperation.failed(
        **{field: False}  # type: ignore[arg-type]
    )
    assert ask(platform, "last_binding_operation").status_code == 500
    assert f"returned LastOperation({field}=…), but the response to" in caplog.text


@pytest.mark.rule("R-LAST-2")
@pytest.mark.parametrize("seconds", [0, 1, 3600])
@pytest.mark.parametrize("operation", ["last_operation", "last_binding_operation"])
def test_retry_after_is_header_only(
    operation: str, seconds: int, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = LastOperation.in_progress(retry_after=seconds)
    response = ask(platform, operation)
    assert response.headers["Retry-After"] == str(seconds)
    assert response.json == {"state": "in progress"}


@pytest.mark.rule("R-LAST-2")
@pytest.mark.parametrize("seconds", [-1, 1.5, "30", "30\r\nX: y"])
def test_retry_after_refuses_invalid_seconds(seconds: Any) -> None:
    with pytest.raises(ValueError, match="pass a whole number of seconds"):
        LastOperation.in_progress(retry_after=seconds)


@pytest.mark.rule("R-LAST-1")
@pytest.mark.parametrize("state", ["done", "In Progress", "", None])
def test_last_operation_with_unknown_state_is_500(
    state: Any, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["last_operation"] = lambda request: LastOperation(state=state)
    assert ask(platform, "last_operation").status_code == 500
    assert "LastOperation" in caplog.text or "state" in caplog.text


# None, and the wrong type


@pytest.mark.parametrize(
    ("operation", "status"),
    [("provision", 201), ("update", 200), ("deprovision", 200), ("unbind", 200)],
)
def test_none_result_means_success(
    operation: str, status: int, platform: Platform, recorder: Recorder
) -> None:
    recorder.answers[operation] = None
    response = ask(platform, operation)
    assert response.status_code == status
    assert response.json == {}


@pytest.mark.parametrize(
    ("operation", "kinds"),
    [
        ("bind", "Binding(…) or Accepted(…)"),
        ("get_instance", "InstanceDetails(…)"),
        ("get_binding", "Binding(…)"),
        ("last_operation", "LastOperation.in_progress(…), .succeeded(…) or .failed(…)"),
        ("last_binding_operation", "LastOperation.in_progress(…), .succeeded(…) or .failed(…)"),
    ],
)
def test_none_result_without_meaning_is_500(
    operation: str,
    kinds: str,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the handler, its location and the valid results."""
    recorder.answers[operation] = None
    response = ask(platform, operation)
    assert response.status_code == 500
    assert error_of(response)["error"] == "InternalError"
    assert f"handle_{operation}' (" in caplog.text, "the log names the handler and where it stands"
    assert f"returned None; return {kinds}, or raise a BrokerError" in caplog.text


RESULTS = {
    Provisioned: {"provision"},
    Updated: {"update"},
    Deprovisioned: {"deprovision"},
    Unbound: {"unbind"},
    Binding: {"bind", "get_binding"},
    InstanceDetails: {"get_instance"},
}
OPERATIONS = sorted(set().union(*RESULTS.values()))


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        *(
            (operation, kind())
            for operation in OPERATIONS
            for kind, fitting in RESULTS.items()
            if operation not in fitting
        ),
        *((operation, LastOperation.succeeded()) for operation in OPERATIONS),
        *((operation, Accepted()) for operation in ("get_instance", "get_binding")),
        ("last_operation", Accepted()),
        ("last_operation", Provisioned()),
        ("last_binding_operation", Binding()),
        ("provision", {"dashboard_url": "https://x"}),
        ("provision", ({}, 201)),
        ("provision", "done"),
        ("provision", True),
        ("provision", Provisioned),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_result_of_wrong_type_is_500(
    operation: str,
    answer: object,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the returned type, without a traceback."""
    # A class would be called by the recorder.
    recorder.answers[operation] = lambda request: answer
    response = ask(platform, operation)
    assert response.status_code == 500
    assert error_of(response)["description"] == "The service broker failed. See its log for the cause."
    kind = f"the class {answer.__name__}" if isinstance(answer, type) else f"a {type(answer).__name__}"
    assert f"returned {kind}; return " in caplog.text
    assert "Traceback" not in caplog.text


# A field of the wrong type


def _mount(**fields: Any) -> Binding:
    mount: dict[str, Any] = {
        "driver": "nfs",
        "container_dir": "/data",
        "mode": "rw",
        "device": VolumeDevice(volume_id="v1"),
        **fields,
    }
    return Binding(volume_mounts=[VolumeMount(**mount)])


Wrong = Callable[[], Any]

WRONG: list[tuple[str, Wrong, str]] = [
    ("provision", lambda: Provisioned(dashboard_url=7), "dashboard_url"),  # type: ignore[arg-type]
    ("provision", lambda: Provisioned(metadata={"labels": 7}), "metadata.labels"),  # type: ignore[arg-type]
    ("update", lambda: Updated(dashboard_url=["x"]), "dashboard_url"),  # type: ignore[arg-type]
    ("provision", lambda: Accepted(dashboard_url=7), "dashboard_url"),  # type: ignore[arg-type]
    ("bind", lambda: Binding(credentials="hunter2"), "credentials"),  # type: ignore[arg-type]
    ("bind", lambda: Binding(credentials=["hunter2"]), "credentials"),  # type: ignore[arg-type]
    ("bind", lambda: Binding(syslog_drain_url=7), "syslog_drain_url"),  # type: ignore[arg-type]
    ("bind", lambda: Binding(endpoints=[{"host": "h"}]), "endpoints"),  # type: ignore[list-item]
    ("bind", lambda: _mount(mode="rwx"), "mode"),
    ("bind", lambda: _mount(device_type="own"), "device_type"),
    ("bind", lambda: _mount(driver=None), "driver"),
    ("bind", lambda: _mount(device={"mount_config": {}}), "device"),
    ("bind", lambda: Binding(endpoints=[Endpoint(host="h", ports=["1"], protocol="icmp")]), "protocol"),  # type: ignore[arg-type]
    ("get_instance", lambda: InstanceDetails(parameters=["hunter2"]), "parameters"),  # type: ignore[arg-type]
    ("get_instance", lambda: InstanceDetails(maintenance_info={"version": 1}), "maintenance_info"),  # type: ignore[arg-type]
    ("last_operation", lambda: LastOperation.succeeded(7), "description"),  # type: ignore[arg-type]
    ("last_operation", lambda: LastOperation.failed(instance_usable="no"), "instance_usable"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("operation", "make", "field"), WRONG)
def test_result_field_of_wrong_type_is_500(
    operation: str, make: Wrong, field: str, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the field but contains no value."""
    offering = make_offering(requires=["syslog_drain", "route_forwarding", "volume_mount"])
    recorder.answers[operation] = lambda request: make()
    response = ask(Platform(make_app(make_broker(recorder, offering))), operation)
    assert response.status_code == 500
    assert field in caplog.text
    assert "returned an invalid" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "credentials",
    [{"x": object()}, {"x": "\ud800"}, {("a", "b"): 1}, {"x": 1 + 2j}],
    ids=["object", "surrogate", "key", "complex"],
)
def test_credentials_unrepresentable_in_json_are_500(
    credentials: Any, platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The log states the reason but contains no credentials."""
    recorder.answers["bind"] = Binding(credentials={"password": "hunter2", **credentials})
    assert ask(platform, "bind").status_code == 500
    assert "returned a Binding that cannot be encoded as JSON" in caplog.text
    assert "hunter2" not in caplog.text


def test_cyclic_credentials_are_500(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    credentials: dict[str, Any] = {}
    credentials["self"] = credentials
    recorder.answers["bind"] = Binding(credentials=credentials)
    assert ask(platform, "bind").status_code == 500
    assert "returned a Binding that cannot be encoded as JSON" in caplog.text


@pytest.mark.rule("R-BIND-2")
@pytest.mark.parametrize(
    ("result", "requirement"),
    [
        (Binding(syslog_drain_url="syslog://example.org"), "syslog_drain"),
        (Binding(route_service_url="https://example.org"), "route_forwarding"),
        (_mount(), "volume_mount"),
    ],
)
@pytest.mark.parametrize("operation", ["bind", "get_binding"])
def test_binding_field_without_offering_requirement_is_500(
    operation: str,
    result: Binding,
    requirement: str,
    platform: Platform,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the missing entry of `requires`; with it, the binding is accepted."""
    recorder.answers[operation] = result
    assert ask(platform, operation).status_code == 500
    assert f"the offering 'db' does not require '{requirement}'" in caplog.text

    recorder.requests.clear()
    offering = make_offering(requires=[requirement])
    granted = Platform(make_app(make_broker(recorder, offering)))
    assert ask(granted, operation).status_code in (200, 201)


def test_bind_result_with_parameters_is_500(
    platform: Platform, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.answers["bind"] = Binding(parameters={"a": 1})
    assert ask(platform, "bind").status_code == 500
    assert "returned Binding(parameters=…), but the response to bind has no such field" in caplog.text


# Every field of a result is encoded


@pytest.mark.rule("R-BIND-2", "R-BIND-3", "R-GETB")
def test_binding_encodes_every_field(recorder: Recorder) -> None:
    """A fetched binding also contains its parameters."""
    recorder.answers["bind"] = Binding(
        credentials={"uri": "db://u:p@h"},
        syslog_drain_url="syslog://example.org",
        route_service_url="https://example.org",
        volume_mounts=[
            VolumeMount(
                driver="nfs",
                container_dir="/data",
                mode="r",
                device=VolumeDevice(volume_id="v1", mount_config={"a": 1}),
            )
        ],
        endpoints=[Endpoint(host="h", ports=["443", "9000-9010"], protocol="udp")],
        metadata=BindingMetadata(expires_at=NOW),
    )
    expected = {
        "credentials": {"uri": "db://u:p@h"},
        "syslog_drain_url": "syslog://example.org",
        "route_service_url": "https://example.org",
        "volume_mounts": [
            {
                "driver": "nfs",
                "container_dir": "/data",
                "mode": "r",
                "device_type": "shared",
                "device": {"volume_id": "v1", "mount_config": {"a": 1}},
            }
        ],
        "endpoints": [{"host": "h", "ports": ["443", "9000-9010"], "protocol": "udp"}],
        "metadata": {"expires_at": "2026-11-23T15:55:00.0Z"},
    }
    offering = make_offering(requires=["syslog_drain", "route_forwarding", "volume_mount"])
    platform = Platform(make_app(make_broker(recorder, offering)))
    response = ask(platform, "bind")
    assert response.status_code == 201
    assert response.json == expected
    recorder.answers["get_binding"] = msgspec.structs.replace(recorder.answers["bind"], parameters={"a": 1})
    assert ask(platform, "get_binding").json == {**expected, "parameters": {"a": 1}}


@pytest.mark.rule("R-PROV-3", "R-BIND-1")
@pytest.mark.parametrize(
    ("operation", "result"),
    [("provision", Provisioned(exists=True, dashboard_url="https://x")), ("bind", Binding(exists=True))],
)
def test_result_with_exists_is_200(
    operation: str, result: object, platform: Platform, recorder: Recorder
) -> None:
    """The field `exists` itself is not in the response."""
    recorder.answers[operation] = result
    response = ask(platform, operation)
    assert response.status_code == 200
    assert "exists" not in response.json


@pytest.mark.parametrize(
    "result",
    [
        Provisioned(),
        Updated(),
        Accepted(),
        Binding(),
        InstanceDetails(),
        LastOperation.succeeded(),
        Endpoint(host="h", ports=["1"]),
        BindingMetadata(),
    ],
    ids=lambda result: type(result).__name__,
)
def test_results_are_frozen(result: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(result, result.__struct_fields__[0], "x")


TOLD = {
    Provisioned: {"dashboard_url", "metadata", "exists"},
    Updated: {"dashboard_url", "metadata"},
    Deprovisioned: set(),
    Unbound: set(),
    Accepted: {"operation", "dashboard_url", "metadata"},
    Binding: {
        "credentials",
        "syslog_drain_url",
        "route_service_url",
        "volume_mounts",
        "endpoints",
        "metadata",
        "parameters",
        "exists",
    },
    InstanceDetails: {
        "service_id",
        "plan_id",
        "dashboard_url",
        "parameters",
        "maintenance_info",
        "metadata",
    },
    LastOperation: {"state", "description", "instance_usable", "update_repeatable", "retry_after"},
}
"""The results with the fields that platforms get."""


KEPT = {
    Provisioned: {"data"},
    Updated: {"data"},
    Accepted: {"data"},
    Binding: {"data"},
    LastOperation: {"result"},
}
"""The fields that are for the broker's memory alone."""


@pytest.mark.parametrize("kind", TOLD)
def test_result_fields_are_all_classified(kind: type[msgspec.Struct]) -> None:
    """Every field of a result is either sent to the platform or kept in the store."""
    assert set(kind.__struct_fields__) == TOLD[kind] | KEPT.get(kind, set())
