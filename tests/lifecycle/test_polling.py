"""Polls of a broker with a store (R-LAST), and their effect on accepted operations."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import (
    Accepted,
    Binding,
    BrokerError,
    InstanceDoesNotExist,
    InstanceMetadata,
    LastOperation,
    Provisioned,
    Updated,
)
from brokerkit.server import polling as lifecycle_polls

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder, error_of
from ..support.stateful import (
    CAN_POLL,
    CHANGING,
    DELETE_AND_POLL,
    LAST,
    SECRET,
    Platform,
    SentSignals,
    Serve,
    last_operation,
    poll_until_done,
    quick_offering,
    until,
)


def polls(recorder: Recorder) -> list[Any]:
    return [request for request in recorder.requests if type(request).__name__.startswith("Last")]


def begin(platform: Platform, recorder: Recorder, accepted: Accepted | None = None) -> str:
    """Ask for an instance that takes a while."""
    recorder.answers["provision"] = accepted or Accepted(operation="job 7")
    response = platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    assert response.status_code == 202
    operation: str = response.json["operation"]
    return operation


@pytest.mark.rule("R-LAST-1", "R-PROV-1")
def test_poll_maps_operation_id_to_handler(platform: Platform, recorder: Recorder) -> None:
    """The platform sees the stored operation id. The handler gets the operation from its own `Accepted`."""
    operation = begin(platform, recorder)
    assert operation != "job 7"
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    for query in ("", f"operation={operation}"):
        assert platform.get(LAST, query=query).json == {"state": "in progress", "description": "Half of it"}
    assert [request.operation for request in polls(recorder)] == ["job 7", "job 7"]
    assert {(request.offering.id, request.plan.id) for request in polls(recorder)} == {("db-id", "small-id")}


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision"])
def test_poll_passes_default_operation_name(platform: Platform, recorder: Recorder, operation: str) -> None:
    """Without `Accepted(operation=...)` the handler gets the operation's kind, as in a broker without a
    store.
    """
    if operation != "provision":
        platform.put(INSTANCE, PROVISION)
    recorder.answers[operation] = Accepted()
    match operation:
        case "provision":
            platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        case "update":
            platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL)
        case _:
            platform.delete(INSTANCE, query=DELETE_AND_POLL)
    platform.get(LAST)
    assert polls(recorder)[0].operation == operation


@pytest.mark.rule("R-LAST-1", "R-LAST-5")
def test_poll_stores_outcome_once(platform: Platform, recorder: Recorder) -> None:
    """The outcome is stored, and further polls do not call the handler."""
    operation = begin(platform, recorder)
    recorder.answers["last_operation"] = LastOperation.succeeded("Made on rack 4")
    for _ in range(3):
        assert last_operation(platform, INSTANCE, operation) == {
            "state": "succeeded",
            "description": "Made on rack 4",
        }
    assert len(polls(recorder)) == 1


@pytest.mark.rule("R-LAST-1")
def test_poll_result_completes_provision(platform: Platform, recorder: Recorder) -> None:
    """Dashboard URL, metadata and data from `Accepted` and from the poll result are stored."""
    begin(platform, recorder, Accepted(dashboard_url="https://early.example.org", data={"job": 7}))
    recorder.answers["last_operation"] = LastOperation.succeeded(
        result=Provisioned(metadata=InstanceMetadata(labels={"region": "eu"}), data={"database": "d"})
    )
    poll_until_done(platform, INSTANCE)
    assert polls(recorder)[0].instance.data == {"job": 7}
    assert platform.put(INSTANCE, PROVISION).json == {
        "dashboard_url": "https://early.example.org",
        "metadata": {"labels": {"region": "eu"}},
    }
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert recorder.requests[-1].instance.data == {"database": "d"}


@pytest.mark.rule("R-LAST-1", "R-UPD-1")
def test_poll_result_completes_update(platform: Platform, recorder: Recorder) -> None:
    """Dashboard URL and data from the poll result are stored."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.succeeded(
        result=Updated(dashboard_url="https://new.example.org", data={"n": 2})
    )
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL)
    poll_until_done(platform, INSTANCE)
    assert platform.get(INSTANCE).json["dashboard_url"] == "https://new.example.org"
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert recorder.requests[-1].instance.data == {"n": 2}


@pytest.mark.rule("R-LAST-1", "R-GETB", "R-BIND-1")
def test_poll_result_supplies_binding_credentials(platform: Platform, recorder: Recorder) -> None:
    """The poll response has no credentials. A fetch returns them."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Accepted(operation="job 8", data={"job": 8})
    recorder.answers["last_binding_operation"] = LastOperation.succeeded(result=SECRET)
    operation = platform.put(BINDING, IDS, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, BINDING, operation) == {"state": "succeeded"}
    (poll,) = polls(recorder)
    assert (poll.operation, poll.binding.data, poll.instance.instance_id) == ("job 8", {"job": 8}, "i1")
    assert platform.get(BINDING).json == {"credentials": {"uri": "db://secret"}}


def test_poll_success_without_binding_is_500(platform: Platform, recorder: Recorder) -> None:
    """The poll is an error of the handler, and the next poll calls the handler again."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Accepted()
    operation = platform.put(BINDING, IDS, query=CAN_POLL).json["operation"]
    assert platform.get(f"{BINDING}/last_operation").status_code == 500
    recorder.answers["last_binding_operation"] = LastOperation.succeeded(result=SECRET)
    assert poll_until_done(platform, BINDING, operation) == {"state": "succeeded"}


@pytest.mark.rule("R-GETB", "R-LAST-1")
def test_get_binding_handler_may_supply_credentials(serve: Serve, recorder: Recorder) -> None:
    """A poll may succeed without a binding if a `get_binding` handler exists."""
    platform = serve(recorder, handlers=[*CHANGING, "last_binding_operation", "get_binding"])
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Accepted()
    platform.put(BINDING, IDS, query=CAN_POLL)
    assert poll_until_done(platform, BINDING) == {"state": "succeeded"}
    assert platform.get(BINDING).json == {"credentials": {"uri": "db://secret"}}


@pytest.mark.rule("R-ERR-2", "R-LAST-1", "R-LAST-5")
def test_failed_update_poll_has_usability_flags(platform: Platform, recorder: Recorder) -> None:
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed(
        "No room", instance_usable=False, update_repeatable=False
    )
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL)
    expected = {
        "state": "failed",
        "description": "No room",
        "instance_usable": False,
        "update_repeatable": False,
    }
    assert [last_operation(platform, INSTANCE) for _ in range(2)] == [expected, expected]


@pytest.mark.rule("R-ERR-2", "R-LAST-1")
@pytest.mark.parametrize("way", ["provision", "bind", "unbind"])
def test_other_failed_polls_omit_usability_flags(platform: Platform, recorder: Recorder, way: str) -> None:
    """Failed provision, bind and unbind return neither `instance_usable` nor `update_repeatable`."""
    failed = LastOperation.failed("No room", instance_usable=False, update_repeatable=False)
    recorder.answers["last_operation"] = recorder.answers["last_binding_operation"] = failed
    if way == "provision":
        recorder.answers["provision"] = Accepted()
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    if way == "unbind":
        platform.put(BINDING, IDS)
    recorder.answers[way] = Accepted()
    if way == "bind":
        platform.put(BINDING, IDS, query=CAN_POLL)
    if way == "unbind":
        platform.delete(BINDING, query=DELETE_AND_POLL)
    path = INSTANCE if way == "provision" else BINDING
    response = until(lambda: platform.get(f"{path}/last_operation"))
    if response.status_code == 200:
        assert response.json == {"state": "failed", "description": "No room"}
    else:  # for a binding, this result is a mistake of the handler
        assert (path, response.status_code) == (BINDING, 500)


@pytest.mark.rule("R-ERR-2", "R-LAST-1")
def test_failed_deprovision_poll_has_instance_usable(platform: Platform, recorder: Recorder) -> None:
    platform.put(INSTANCE, PROVISION)
    recorder.answers["deprovision"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed("Locked", instance_usable=False)
    platform.delete(INSTANCE, query=DELETE_AND_POLL)
    assert last_operation(platform, INSTANCE) == {
        "state": "failed",
        "description": "Locked",
        "instance_usable": False,
    }
    assert platform.get(INSTANCE).status_code == 200


@pytest.mark.rule("R-LAST-3")
@pytest.mark.parametrize("path", [INSTANCE, BINDING])
def test_poll_of_missing_resource_is_404(platform: Platform, path: str) -> None:
    for query in ("", "operation=none"):
        assert platform.get(f"{path}/last_operation", query=query).status_code == 404
    platform.put(INSTANCE, PROVISION)
    assert platform.get(f"{BINDING}/last_operation").status_code == 404


@pytest.mark.rule("R-LAST-3")
@pytest.mark.parametrize("before", ["bound", "not bound", "not unbound"])
def test_poll_of_binding_after_deprovision_is_404(
    platform: Platform, recorder: Recorder, before: str
) -> None:
    """A binding that was deleted with its instance has no operation, even when the instance is created again.
    A binding that was deleted with its instance has no operation, even when the instance is created again.
    """
    platform.put(INSTANCE, PROVISION)
    if before == "not bound":
        recorder.answers["bind"] = ValueError("inside")
    platform.put(BINDING, IDS)
    if before == "not unbound":
        recorder.answers["unbind"] = ValueError("inside")
        platform.delete(BINDING, query=DELETE_QUERY)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert platform.get(f"{BINDING}/last_operation").status_code == 404
    platform.put(INSTANCE, PROVISION)
    assert platform.get(f"{BINDING}/last_operation").status_code == 404


@pytest.mark.rule("R-LAST-4")
@pytest.mark.parametrize("unknown", ["none", "%00", "%F0%9F%98%80", "x" * 9000])
def test_poll_with_unknown_operation_is_400(platform: Platform, unknown: str) -> None:
    platform.put(INSTANCE, PROVISION)
    response = platform.get(LAST, query=f"operation={unknown}")
    assert (response.status_code, error_of(response)["error"]) == (400, "UnknownOperation")


@pytest.mark.rule("R-LAST-4")
def test_poll_with_foreign_operation_is_refused(platform: Platform, recorder: Recorder) -> None:
    """An operation id of another instance is refused without a handler call."""
    operation = begin(platform, recorder)
    platform.put("/v2/service_instances/i2", PROVISION, query=CAN_POLL)
    for path in ("/v2/service_instances/i2", BINDING):
        response = platform.get(f"{path}/last_operation", query=f"operation={operation}")
        assert response.status_code in (400, 404)
    assert not polls(recorder)


@pytest.mark.rule("R-LAST-1", "R-LAST-5")
def test_poll_after_synchronous_operation_succeeds(platform: Platform) -> None:
    """A platform that lost a response can poll for the outcome of a synchronous operation."""
    platform.put(INSTANCE, PROVISION)
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}
    platform.put(BINDING, IDS)
    assert last_operation(platform, BINDING) == {"state": "succeeded"}
    platform.delete(BINDING, query=DELETE_QUERY)
    assert last_operation(platform, BINDING) == {"state": "succeeded"}
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}


@pytest.mark.rule("R-LAST-5")
def test_poll_returns_outcomes_of_earlier_operations(platform: Platform, recorder: Recorder) -> None:
    first = begin(platform, recorder)
    poll_until_done(platform, INSTANCE, first)
    recorder.answers["update"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    second = platform.patch(INSTANCE, {**IDS, "parameters": {"size": 1}}, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, INSTANCE, second)["state"] == "failed"
    platform.delete(INSTANCE, query=DELETE_QUERY)
    assert last_operation(platform, INSTANCE, first) == {"state": "succeeded"}
    assert last_operation(platform, INSTANCE, second) == {"state": "failed", "description": "No room"}
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}


@pytest.mark.rule("R-LAST-2")
def test_poll_uses_retry_after_of_handler(platform: Platform, recorder: Recorder) -> None:
    begin(platform, recorder)
    recorder.answers["last_operation"] = LastOperation.in_progress(retry_after=17)
    assert platform.get(LAST).headers["Retry-After"] == "17"


@pytest.mark.rule("R-LAST-2")
def test_poll_has_default_retry_after(platform: Platform, recorder: Recorder) -> None:
    """A recent operation has a short `Retry-After`. A finished operation has none."""
    begin(platform, recorder)
    recorder.answers["last_operation"] = LastOperation.in_progress()
    assert platform.get(LAST).headers["Retry-After"] == "1"
    recorder.answers["last_operation"] = LastOperation.succeeded()
    assert "Retry-After" not in platform.get(LAST).headers
    assert "Retry-After" not in platform.get(LAST).headers


@pytest.mark.rule("R-REQ-8")
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (ValueError("inside"), 500),
        ("a text", 500),
        (None, 500),
        (BrokerError("Away", status=503), 503),
        (InstanceDoesNotExist(), 404),
        (LastOperation.succeeded(result=SECRET), 500),
    ],
)
def test_failed_poll_keeps_operation_in_progress(
    platform: Platform, recorder: Recorder, answer: Any, status: int
) -> None:
    """After an error of the handler the next poll can still succeed."""
    operation = begin(platform, recorder)
    recorder.answers["last_operation"] = answer
    assert platform.get(LAST).status_code == status
    recorder.answers["last_operation"] = LastOperation.succeeded()
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"


@pytest.mark.rule("R-BIND-5")
@pytest.mark.parametrize("ends", ["succeeded", "failed"])
def test_conflicting_request_polls_accepted_operation(
    platform: Platform,
    recorder: Recorder,
    sent_signals: SentSignals,
    ends: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before a ConcurrencyError the broker polls the running operation itself.

    If it has ended, the request proceeds.
    """
    monkeypatch.setattr(lifecycle_polls, "QUIET", 0.0)
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 5}}, query=CAN_POLL)
    recorder.answers["last_operation"] = LastOperation.in_progress("Half of it")
    assert platform.put(BINDING, IDS).status_code == 422
    recorder.answers["last_operation"] = getattr(LastOperation, ends)()
    assert platform.put(BINDING, IDS).status_code == 201
    assert len(polls(recorder)) == 2
    assert platform.get(INSTANCE).json.get("parameters") == ({"size": 5} if ends == "succeeded" else None)
    done = "updated" if ends == "succeeded" else "operation_failed"
    assert sent_signals.names == ["provisioned", "operation_started", "operation_progressed", done, "bound"]


@pytest.mark.rule("R-BIND-5")
def test_conflicting_request_skips_poll_when_recent(platform: Platform, recorder: Recorder) -> None:
    """A recently started operation is not polled, and the request is 422."""
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 5}}, query=CAN_POLL)
    assert platform.put(BINDING, IDS).status_code == 422
    assert not polls(recorder)


@pytest.mark.rule("R-BIND-5")
@pytest.mark.parametrize("answer", [ValueError("inside"), BrokerError("Away", status=503), None], ids=repr)
def test_conflicting_request_is_422_after_failed_poll(
    platform: Platform, recorder: Recorder, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the polling handler does not fail the conflicting request. It is 422 ConcurrencyError."""
    monkeypatch.setattr(lifecycle_polls, "QUIET", 0.0)
    platform.put(INSTANCE, PROVISION)
    recorder.answers["update"] = Accepted()
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 5}}, query=CAN_POLL)
    recorder.answers["last_operation"] = answer
    response = platform.put(BINDING, IDS)
    assert (response.status_code, error_of(response)["error"]) == (422, "ConcurrencyError")


@pytest.mark.rule("R-LAST-1", "R-DEL-5")
def test_accepted_operation_fails_at_polling_deadline(serve: Serve, recorder: Recorder) -> None:
    """The operation fails after the plan's `maximum_polling_duration`, even if the handler still reports
    progress.
    """
    platform = serve(recorder, quick_offering(), lease=3.0)
    operation = begin(platform, recorder)
    recorder.answers["last_operation"] = LastOperation.in_progress()
    result = poll_until_done(platform, INSTANCE, operation)
    assert result["state"] == "failed"
    assert result["description"]
    assert platform.put(INSTANCE, PROVISION).status_code == 409
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-DEL-5", "R-REQ-9")
def test_accepted_result_without_polling_is_500(platform: Platform, recorder: Recorder) -> None:
    """The failed instance is stored, so it can be deleted."""
    recorder.answers["provision"] = Accepted()
    assert platform.put(INSTANCE, PROVISION).status_code == 500
    assert platform.put(INSTANCE, PROVISION).status_code == 409
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


def test_accepted_result_without_poll_handler_is_500(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder, handlers=CHANGING)
    recorder.answers["provision"] = Accepted()
    assert platform.put(INSTANCE, PROVISION, query=CAN_POLL).status_code == 500


@pytest.mark.rule("R-LAST-1")
def test_poll_continues_after_restart(serve: Serve, recorder: Recorder) -> None:
    """The accepted operation is in the store, so another process can poll it."""
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    recorder.answers["bind"] = Accepted(operation="job 8")
    operation = platform.put(BINDING, IDS, query=CAN_POLL).json["operation"]
    serve.stop()
    platform = serve(recorder)
    recorder.answers["last_binding_operation"] = LastOperation.succeeded(
        result=Binding(credentials={"late": True})
    )
    assert poll_until_done(platform, BINDING, operation)["state"] == "succeeded"
    assert polls(recorder)[0].operation == "job 8"
    assert platform.get(BINDING).json == {"credentials": {"late": True}}


@pytest.mark.rule("R-LAST-4")
def test_poll_query_parameters_are_optional(platform: Platform, recorder: Recorder) -> None:
    """Service, plan and operation are optional hints. An unknown operation is still an error."""
    begin(platform, recorder)
    assert error_of(platform.get(LAST, query="operation=other"))["description"]
    assert platform.get(LAST, query="service_id=other&plan_id=other").json == {"state": "succeeded"}
