"""Stored state if a handler modifies its request or returns values that cannot be stored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from brokerkit import Accepted, Binding, BrokerError, InstanceMetadata, LastOperation, Provisioned

from ..support.broker import BINDING, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import (
    CAN_POLL,
    CHANGING,
    DELETE_AND_POLL,
    Platform,
    Serve,
    last_operation,
    poll_until_done,
)

NESTED: dict[str, Any] = {"network": {"cidr": "10.0.0.0/8"}, "tags": ["a"]}
CONTEXT = {"platform": "cloudfoundry", "labels": {"region": "eu"}}
MODES = ("synchronous", "accepted", "background")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    mode: str = request.param
    return mode


@pytest.fixture
def platform(serve: Serve, recorder: Recorder, mode: str) -> Platform:
    """A platform in front of handlers that work in the given mode."""
    return serve(recorder, background=CHANGING if mode == "background" else ())


def handling(mode: str, change: Callable[[Any], object], result: object = None) -> Callable[[Any], object]:
    """Return a handler that changes its request in place, and then returns a result."""

    def handle(request: Any) -> object:
        change(request)
        return Accepted() if mode == "accepted" else result

    return handle


def succeed(platform: Platform, response: Any, path: str) -> None:
    assert response.status_code in (200, 201, 202), response.data
    if response.status_code == 202:
        assert poll_until_done(platform, path, response.json["operation"])["state"] == "succeeded"


def modify(request: Any) -> None:
    request.parameters["tags"].append("b")
    request.parameters["network"]["cidr"] = "changed"
    request.parameters["more"] = object()
    request.context["labels"]["region"] = {1, 2}
    request.body["parameters"]["tags"] = None
    request.headers.trace_context["changed"] = "yes"
    if request.instance is not None:
        request.instance.parameters.clear()
        request.instance.context.clear()
        request.instance.data["changed"] = "yes"


def test_changed_request_is_not_stored(platform: Platform, recorder: Recorder, mode: str) -> None:
    """A fetch and later handlers get the platform's nested values, also after an update."""
    recorder.answers["provision"] = handling(mode, modify, Provisioned(data={"host": "db1"}))
    body = {**PROVISION, "plan_id": "large-id", "parameters": NESTED, "context": CONTEXT}
    succeed(platform, platform.put(INSTANCE, body, query=CAN_POLL), INSTANCE)
    assert platform.get(INSTANCE).json["parameters"] == NESTED
    assert platform.put(INSTANCE, body, query=CAN_POLL).status_code == 200

    recorder.answers["update"] = handling(mode, modify)
    change = {"network": {"cidr": "10.1.0.0/16"}, "tags": ["a"]}
    update = {"service_id": "db-id", "parameters": change, "context": CONTEXT}
    succeed(platform, platform.patch(INSTANCE, update, query=CAN_POLL), INSTANCE)
    assert platform.get(INSTANCE).json["parameters"] == change

    succeed(platform, platform.delete(INSTANCE, query=DELETE_AND_POLL.replace("small", "large")), INSTANCE)
    instance = [request for request in recorder.requests if request.instance is not None][-1].instance
    assert (instance.parameters, instance.context) == (change, CONTEXT)
    assert "changed" not in instance.data


def test_changed_binding_is_not_stored(platform: Platform, recorder: Recorder, mode: str) -> None:
    """After an unbind that failed, a fetch returns the same credentials and the instance's metadata."""
    metadata = InstanceMetadata(labels={"region": "eu"})
    recorder.answers["provision"] = Provisioned(metadata=metadata)
    succeed(platform, platform.put(INSTANCE, PROVISION, query=CAN_POLL), INSTANCE)
    succeed(platform, platform.put(BINDING, IDS, query=CAN_POLL), BINDING)

    def change(request: Any) -> None:
        request.binding.result.credentials["uri"] = "changed"
        request.instance.metadata.labels["region"] = "changed"
        if mode != "accepted":
            raise RuntimeError

    recorder.answers["last_binding_operation"] = LastOperation.failed("No")
    recorder.answers["unbind"] = handling(mode, change)
    response = platform.delete(BINDING, query=DELETE_AND_POLL)
    if response.status_code == 202:
        assert poll_until_done(platform, BINDING)["state"] == "failed"
    assert platform.get(BINDING).json == {"credentials": {"uri": "db://secret"}}

    recorder.answers["update"] = handling(mode, lambda r: r.instance.metadata.labels.clear())
    succeed(platform, platform.patch(INSTANCE, {**IDS, "parameters": {"size": 2}}, query=CAN_POLL), INSTANCE)
    assert platform.get(INSTANCE).json["metadata"] == {"labels": {"region": "eu"}}


class Secretive(BrokerError):
    """A failure whose values cannot be read once it was created."""

    is_created = False

    def __init__(self) -> None:
        super().__init__("Fine")
        self.is_created = True

    def __getattribute__(self, name: str) -> Any:
        if name in ("description", "status") and object.__getattribute__(self, "is_created"):
            raise LookupError("not readable")
        return object.__getattribute__(self, name)


def flawed(**values: object) -> BrokerError:
    """Return an error whose values were changed after they had been checked."""
    error = BrokerError("Fine", status=503)
    for name, value in values.items():
        setattr(error, name, value)
    return error


class Proxy:
    """A result that is evaluated lazily, and fails."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise LookupError("not available")

    def __eq__(self, other: object) -> bool:
        raise LookupError("not available")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise LookupError("not available")


RECURSIVE: dict[str, Any] = {}
RECURSIVE["self"] = RECURSIVE
UNSTORABLE: dict[str, Callable[[], object]] = {
    "data": lambda: Provisioned(data={"value": object()}),
    "surrogate": lambda: Provisioned(data={"value": "\ud800"}),
    "recursive": lambda: Provisioned(data=RECURSIVE),
    "metadata": lambda: Provisioned(metadata=InstanceMetadata(labels={"value": object()})),
    "url": lambda: Provisioned(dashboard_url={"a", "set"}),  # type: ignore[arg-type]
    "operation": lambda: Accepted(operation="\ud800"),
    "accepted data": lambda: Accepted(data={"value": object()}),
    "proxy": Proxy,
    "secretive error": Secretive,
    "changed description": lambda: flawed(description=object()),
    "changed flag": lambda: flawed(instance_usable="yes"),
    "changed status": lambda: flawed(status={404}),
    "interrupt": KeyboardInterrupt,
}


@pytest.mark.parametrize("mode", ["synchronous", "background"], indirect=True)
@pytest.mark.parametrize("make", UNSTORABLE.values(), ids=UNSTORABLE)
def test_unstorable_end_fails_immediately(
    platform: Platform,
    recorder: Recorder,
    mode: str,
    make: Callable[[], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The operation has failed, polls say so, and an error in the log names the handler or the request."""
    recorder.answers["provision"] = lambda _: make()
    if make is KeyboardInterrupt and mode == "synchronous":
        with pytest.raises(KeyboardInterrupt):
            platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    else:
        response = platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        assert response.status_code == 202 if mode == "background" else response.status_code >= 500
        if mode == "background":
            poll_until_done(platform, INSTANCE)
        errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert any("provision" in error for error in errors)
    assert last_operation(platform, INSTANCE)["state"] == "failed"
    succeed(platform, platform.delete(INSTANCE, query=DELETE_AND_POLL), INSTANCE)


@pytest.mark.parametrize("mode", ["background"], indirect=True)
@pytest.mark.parametrize(
    "make", [lambda: Binding(data={"value": object()}), Secretive], ids=["data", "error"]
)
def test_unstorable_background_end_names_handler(
    platform: Platform, recorder: Recorder, make: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    succeed(platform, platform.put(INSTANCE, PROVISION, query=CAN_POLL), INSTANCE)
    recorder.answers["bind"] = lambda _: make()
    operation = platform.put(BINDING, IDS, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, BINDING, operation)["state"] == "failed"
    assert "handle_bind" in caplog.text
