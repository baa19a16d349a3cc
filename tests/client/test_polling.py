"""Tests of `BrokerClient.wait`: its requests, pauses, time limits and results."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import LastOperation, ServicePlan
from brokerkit.client.client import (
    BrokerClient,
    BrokerMistake,
    BrokerRefused,
    BrokerUnreachable,
    OperationFailed,
    PollingTimeout,
)

from ..support.fake_broker import FakeBroker, Responder, respond
from ..support.servers import free_port
from .conftest import OFFERING, SMALL, make_client

DONE = respond(200, {"state": "succeeded", "description": "Created"})


def in_progress(description: str = "", retry_after: object = None) -> Responder:
    headers = {} if retry_after is None else {"Retry_After": str(retry_after)}
    return respond(200, {"state": "in progress", "description": description or None}, **headers)


class SleepRecorder:
    """A replacement of `time.sleep` that records the pauses and returns immediately."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 1))


@pytest.fixture
def sleep() -> SleepRecorder:
    return SleepRecorder()


@pytest.fixture
def client(fake: FakeBroker) -> BrokerClient:
    return make_client(fake)


def test_wait_polls_until_operation_is_done(
    fake: FakeBroker, client: BrokerClient, sleep: SleepRecorder
) -> None:
    fake.script(in_progress("Making a volume"), in_progress("Starting"), DONE)
    reported: list[LastOperation] = []
    result = client.wait("i1", sleep=sleep, progress=reported.append)
    assert result == LastOperation.succeeded("Created")
    assert [state.description for state in reported] == ["Making a volume", "Starting", "Created"]
    assert [state.state for state in reported] == ["in progress", "in progress", "succeeded"]
    assert sleep.pauses == [1.0, 1.0]


@pytest.mark.rule("R-LAST-2")
@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [("0", 0), ("7", 7), (" 30 ", 30), ("soon", 1), ("-5", 1), ("1.5", 1), ("", 1), ("9" * 20, 1), ("٣", 1)],
)
def test_wait_honours_retry_after(
    retry_after: str, pause: float, fake: FakeBroker, client: BrokerClient, sleep: SleepRecorder
) -> None:
    """An invalid Retry-After header falls back to one second."""
    header_value = retry_after.encode().decode("latin-1")
    fake.script(in_progress(retry_after=header_value), DONE)
    client.wait("i1", sleep=sleep)
    assert sleep.pauses == [pause]


@pytest.mark.parametrize("ids", [("i1",), ("i1", "b1")])
def test_polls_include_operation_service_and_plan(
    ids: tuple[str, ...], fake: FakeBroker, client: BrokerClient
) -> None:
    fake.script(in_progress(), DONE)
    client.wait(*ids, operation="job 1/ü", offering=OFFERING, plan="small-id", sleep=lambda seconds: None)
    binding_path = "/service_bindings/b1" if len(ids) == 2 else ""
    for request in fake.requests:
        assert request.path == f"/v2/service_instances/i1{binding_path}/last_operation"
        assert request.query == {"operation": "job 1/ü", "service_id": "db-id", "plan_id": "small-id"}


def test_wait_makes_last_poll_at_timeout(
    fake: FakeBroker, client: BrokerClient, sleep: SleepRecorder
) -> None:
    """The last pause is shortened so that the final poll happens at the timeout."""
    fake.script(in_progress(retry_after=40))
    with pytest.raises(PollingTimeout) as caught:
        client.wait("i1", timeout=100, sleep=sleep)
    assert sleep.pauses == [40, 40, 20]
    assert len(fake.requests) == 4, "the last poll must happen at the timeout"
    assert "still in progress after 100 seconds" in str(caught.value)
    assert caught.value.exchange.state == "in progress"


@pytest.mark.rule("R-CAT-3")
@pytest.mark.parametrize(
    ("plan", "options", "total"),
    [
        (ServicePlan(id="p", name="p", description="p", maximum_polling_duration=30), {}, 30),
        (ServicePlan(id="p", name="p", description="p", maximum_polling_duration=30), {"timeout": 50}, 50),
        (SMALL, {}, 7 * 24 * 3600),
        ("p", {}, 7 * 24 * 3600),
        (None, {}, 7 * 24 * 3600),
        (SMALL, {"timeout": 0}, 0),
    ],
)
def test_wait_uses_maximum_polling_duration(
    plan: Any,
    options: dict[str, Any],
    total: float,
    fake: FakeBroker,
    client: BrokerClient,
    sleep: SleepRecorder,
) -> None:
    """The plan's `maximum_polling_duration` is the default timeout. Without it, the default is seven days."""
    fake.script(in_progress(retry_after=100_000))
    with pytest.raises(PollingTimeout):
        client.wait("i1", plan=plan, sleep=sleep, **options)
    assert sum(sleep.pauses) == pytest.approx(total, abs=5)


def test_wait_timeout_includes_request_time(
    fake: FakeBroker, client: BrokerClient, sleep: SleepRecorder
) -> None:
    fake.script(in_progress(retry_after=0))
    with pytest.raises(PollingTimeout):
        client.wait("i1", timeout=0.05, sleep=sleep)
    assert set(sleep.pauses) <= {0}


def test_failed_operation_raises_operation_failed(
    fake: FakeBroker, client: BrokerClient, sleep: SleepRecorder
) -> None:
    fake.script(
        in_progress(),
        respond(
            200,
            {
                "state": "failed",
                "description": "The disk is full",
                "instance_usable": False,
                "update_repeatable": True,
            },
        ),
    )
    states: list[str] = []
    with pytest.raises(OperationFailed, match="the operation failed: The disk is full") as caught:
        client.wait("i1", sleep=sleep, progress=lambda state: states.append(state.state))
    assert states == ["in progress", "failed"]
    operation = caught.value.last_operation
    assert (operation.instance_usable, operation.update_repeatable) == (False, True)


def test_failed_operation_without_description_is_accepted(fake: FakeBroker, client: BrokerClient) -> None:
    fake.script(respond(200, {"state": "failed"}))
    with pytest.raises(OperationFailed, match="no description"):
        client.wait("i1")


@pytest.mark.rule("R-LAST-3")
def test_wait_for_deletion_treats_410_as_success(
    fake: FakeBroker, client: BrokerClient, sleep: SleepRecorder
) -> None:
    fake.script(in_progress(), respond(410))
    states: list[str] = []
    result = client.wait("i1", deleting=True, sleep=sleep, progress=lambda state: states.append(state.state))
    assert result == LastOperation.succeeded()
    assert states == ["in progress", "succeeded"]


@pytest.mark.parametrize(("deleting", "status"), [(False, 410), (False, 404), (True, 404), (True, 400)])
def test_other_error_responses_end_the_wait(
    deleting: bool, status: int, fake: FakeBroker, client: BrokerClient
) -> None:
    fake.script(respond(status))
    with pytest.raises(BrokerRefused) as caught:
        client.wait("i1", deleting=deleting)
    assert caught.value.status == status
    assert len(fake.requests) == 1


def test_invalid_response_ends_the_wait(fake: FakeBroker, client: BrokerClient) -> None:
    fake.script(respond(200, {"state": "ready"}))
    with pytest.raises(BrokerMistake, match='state: is "ready"'):
        client.wait("i1")


def test_wait_survives_broker_restart(fake: FakeBroker, client: BrokerClient, sleep: SleepRecorder) -> None:
    """Server errors during a restart are reported to the progress callback and retried."""
    fake.script(
        in_progress(),
        respond(503),
        respond(502, b"<html>"),
        in_progress(),
        respond(200, {"state": "succeeded"}),
    )
    descriptions: list[str | None] = []
    result = client.wait("i1", sleep=sleep, progress=lambda state: descriptions.append(state.description))
    assert result.state == "succeeded"
    assert descriptions[1] == "(status 503; retrying)"
    assert len(fake.requests) == 5


def test_persistent_server_errors_end_the_wait(
    fake: FakeBroker, client: BrokerClient, sleep: SleepRecorder
) -> None:
    fake.script(in_progress(), respond(503))
    with pytest.raises(BrokerRefused, match="503"):
        client.wait("i1", patience=3, sleep=sleep)
    assert len(fake.requests) == 5


@pytest.mark.integration
@pytest.mark.parametrize(("patience", "timeout"), [(2.0, None), (60.0, 2.0)])
def test_persistent_connection_failure_ends_the_wait(
    patience: float, timeout: float | None, sleep: SleepRecorder
) -> None:
    client = make_client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BrokerUnreachable, match="Connection refused"):
        client.wait("i1", patience=patience, timeout=timeout, sleep=sleep)
    assert sum(sleep.pauses) == pytest.approx(2.0, abs=1.1)
