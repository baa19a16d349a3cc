"""Stored state after a handler refused (4xx: unchanged) or failed (5xx: to be cleaned up)."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import (
    BrokerError,
    ConcurrencyError,
    InstanceAlreadyExists,
    InvalidParameters,
    QuotaExceeded,
    RequiresApp,
    Retry,
)

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder, error_of
from ..support.stateful import LAST, SECRET, Platform, Serve, last_operation

UPDATE = {**IDS, "parameters": {"size": 5}}
REFUSALS = [
    QuotaExceeded(),
    InvalidParameters(),
    InstanceAlreadyExists(),
    ConcurrencyError(),
    BrokerError("I am a teapot.", status=418),
]
FAILURES: list[Any] = [
    ValueError("inside"),
    BrokerError("Out of order", status=503, error="OutOfOrder"),
    "a text",
    Retry(after=1),
]


@pytest.fixture
def bound(platform: Platform) -> Platform:
    """A platform that has an instance with parameters, and a binding."""
    platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 3}})
    platform.put(BINDING, IDS)
    return platform


@pytest.mark.rule("R-REQ-8")
@pytest.mark.parametrize("refusal", REFUSALS, ids=repr)
def test_refused_provision_stores_nothing(
    platform: Platform, recorder: Recorder, refusal: BrokerError
) -> None:
    """The operation is unknown, a DELETE is 410, and the id can be used with other attributes."""
    recorder.answers["provision"] = refusal
    assert platform.put(INSTANCE, PROVISION).status_code == refusal.status
    assert platform.get(LAST).status_code == 404
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 410
    recorder.answers["provision"] = None
    other = {**PROVISION, "plan_id": "large-id"}
    assert platform.put(INSTANCE, other).status_code == 201


@pytest.mark.rule("R-REQ-8")
@pytest.mark.parametrize("refusal", [*REFUSALS, RequiresApp()], ids=repr)
def test_refused_bind_stores_nothing(bound: Platform, recorder: Recorder, refusal: BrokerError) -> None:
    path = f"{INSTANCE}/service_bindings/b2"
    recorder.answers["bind"] = refusal
    assert bound.put(path, IDS).status_code == refusal.status
    assert bound.get(f"{path}/last_operation").status_code == 404
    assert bound.delete(path, query=DELETE_QUERY).status_code == 410
    recorder.answers["bind"] = SECRET
    assert bound.put(path, {**IDS, "parameters": {"role": "reader"}}).status_code == 201


@pytest.mark.rule("R-REQ-8")
@pytest.mark.parametrize("refusal", REFUSALS, ids=repr)
@pytest.mark.parametrize("operation", ["update", "deprovision", "unbind"])
def test_refused_change_leaves_resources_unchanged(
    bound: Platform, recorder: Recorder, operation: str, refusal: BrokerError
) -> None:
    """Fetches and polls return the same bodies as before, and the change can be repeated."""
    before = [bound.get(path).json for path in (INSTANCE, BINDING, LAST, f"{BINDING}/last_operation")]
    recorder.answers[operation] = refusal
    if operation == "update":
        response = bound.patch(INSTANCE, UPDATE)
    else:
        path = INSTANCE if operation == "deprovision" else BINDING
        response = bound.delete(path, query=DELETE_QUERY)
    assert response.status_code == refusal.status
    after = [bound.get(path).json for path in (INSTANCE, BINDING, LAST, f"{BINDING}/last_operation")]
    assert after == before
    recorder.answers[operation] = None
    assert bound.patch(INSTANCE, UPDATE).status_code == 200
    assert bound.delete(BINDING, query=DELETE_QUERY).status_code == 200
    assert bound.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-REQ-8", "R-LAST-5")
def test_refused_provision_keeps_earlier_deletion(platform: Platform, recorder: Recorder) -> None:
    """After the refusal a poll still returns the outcome of the deletion."""
    platform.put(INSTANCE, PROVISION)
    platform.delete(INSTANCE, query=DELETE_QUERY)
    recorder.answers["provision"] = QuotaExceeded()
    assert platform.put(INSTANCE, PROVISION).status_code == 400
    assert platform.get(INSTANCE).status_code == 404
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 410
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}


@pytest.mark.rule("R-DEL-5", "R-ERR-1")
@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_failed_provision_is_409_until_deleted(platform: Platform, recorder: Recorder, failure: Any) -> None:
    """The failed instance is stored, and a DELETE calls the handler. No internal error text is shown."""
    recorder.answers["provision"] = failure
    response = platform.put(INSTANCE, PROVISION)
    assert response.status_code >= 500
    assert "inside" not in error_of(response)["description"]
    for body in (PROVISION, {**PROVISION, "plan_id": "large-id"}):
        assert platform.put(INSTANCE, body).status_code == 409
    assert "Delete it first" in error_of(platform.put(INSTANCE, PROVISION))["description"]
    assert len(recorder.requests) == 1
    result = last_operation(platform, INSTANCE)
    assert result["state"] == "failed"
    assert "inside" not in result["description"]
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200
    assert len(recorder.requests) == 2
    recorder.answers["provision"] = None
    assert platform.put(INSTANCE, PROVISION).status_code == 201


@pytest.mark.rule("R-UNB-5")
@pytest.mark.parametrize("failure", [*FAILURES, None], ids=repr)
def test_failed_bind_is_409_until_deleted(bound: Platform, recorder: Recorder, failure: Any) -> None:
    """A handler that returns None has failed too."""
    path = f"{INSTANCE}/service_bindings/b2"
    recorder.answers["bind"] = failure
    assert bound.put(path, IDS).status_code >= 500
    assert bound.put(path, IDS).status_code == 409
    assert bound.get(path).status_code == 404
    assert last_operation(bound, f"{path}")["state"] == "failed"
    assert bound.get(INSTANCE).status_code == 200
    assert bound.delete(path, query=DELETE_QUERY).status_code == 200
    recorder.answers["bind"] = SECRET
    assert bound.put(path, IDS).status_code == 201


@pytest.mark.rule("R-UPD-5", "R-REQ-8", "R-LAST-1")
@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("operation", ["update", "deprovision", "unbind"])
def test_failed_change_leaves_resources_unchanged(
    bound: Platform, recorder: Recorder, operation: str, failure: Any
) -> None:
    """Polls return failed, and the change can be repeated."""
    before = [bound.get(path).json for path in (INSTANCE, BINDING)]
    recorder.answers[operation] = failure
    if operation == "update":
        response = bound.patch(INSTANCE, UPDATE)
    else:
        path = INSTANCE if operation == "deprovision" else BINDING
        response = bound.delete(path, query=DELETE_QUERY)
    assert response.status_code >= 500
    assert [bound.get(path).json for path in (INSTANCE, BINDING)] == before
    assert last_operation(bound, BINDING if operation == "unbind" else INSTANCE)["state"] == "failed"
    recorder.answers[operation] = None
    assert bound.patch(INSTANCE, UPDATE).status_code == 200
    assert bound.delete(BINDING, query=DELETE_QUERY).status_code == 200
    assert bound.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-ERR-2")
@pytest.mark.parametrize("usable", [True, False])
def test_failed_update_reports_usability_flags(bound: Platform, recorder: Recorder, usable: bool) -> None:
    """The error response and the poll have `instance_usable` and `update_repeatable`."""
    recorder.answers["update"] = BrokerError(
        "No room", status=500, instance_usable=usable, update_repeatable=not usable
    )
    said = {"instance_usable": usable, "update_repeatable": not usable}
    answered = error_of(bound.patch(INSTANCE, UPDATE))
    assert said.items() <= answered.items()
    assert last_operation(bound, INSTANCE) == {"state": "failed", "description": "No room", **said}


@pytest.mark.rule("R-ERR-2")
def test_failed_deprovision_reports_instance_usable(bound: Platform, recorder: Recorder) -> None:
    recorder.answers["deprovision"] = BrokerError("Locked", status=500, instance_usable=False)
    assert error_of(bound.delete(INSTANCE, query=DELETE_QUERY))["instance_usable"] is False
    assert last_operation(bound, INSTANCE) == {
        "state": "failed",
        "description": "Locked",
        "instance_usable": False,
    }


@pytest.mark.rule("R-DEL-5")
def test_handler_raising_system_exit_fails_operation(platform: Platform, recorder: Recorder) -> None:
    """The exit reaches the server, and the failed instance can be deleted."""
    recorder.answers["provision"] = SystemExit("inside")
    with pytest.raises(SystemExit):
        platform.put(INSTANCE, PROVISION)
    assert platform.put(INSTANCE, PROVISION).status_code == 409
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


@pytest.mark.rule("R-DEL-5")
def test_failure_is_known_after_restart(serve: Serve, recorder: Recorder) -> None:
    recorder.answers["provision"] = ValueError("inside")
    serve(recorder).put(INSTANCE, PROVISION)
    serve.stop()
    platform = serve(recorder)
    assert platform.put(INSTANCE, PROVISION).status_code == 409
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200
    assert len(recorder.requests) == 2
