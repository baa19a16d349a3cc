"""How `wait` polls: when, with what, until when, and what it makes of what it finds."""

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

from ..support.fake_broker import FakeBroker, Play, answer, free_port
from .conftest import OFFERING, SMALL, client_of

DONE = answer(200, {"state": "succeeded", "description": "There it is"})


def still(description: str = "", retry_after: object = None) -> Play:
    headers = {} if retry_after is None else {"Retry_After": str(retry_after)}
    return answer(200, {"state": "in progress", "description": description or None}, **headers)


class Waited:
    """Waits no time, and notes how long it should have."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 1))


@pytest.fixture
def waited() -> Waited:
    return Waited()


@pytest.fixture
def client(fake: FakeBroker) -> BrokerClient:
    return client_of(fake.url)


def test_wait_polls_until_operation_is_done(fake: FakeBroker, client: BrokerClient, waited: Waited) -> None:
    fake.will(still("Making a volume"), still("Starting"), DONE)
    told: list[LastOperation] = []
    found = client.wait("i1", sleep=waited, progress=told.append)
    assert found == LastOperation.succeeded("There it is")
    assert [each.description for each in told] == ["Making a volume", "Starting", "There it is"]
    assert [each.state for each in told] == ["in progress", "in progress", "succeeded"]
    assert waited.pauses == [1.0, 1.0]


@pytest.mark.rule("R-LAST-2")
@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [("0", 0), ("7", 7), (" 30 ", 30), ("soon", 1), ("-5", 1), ("1.5", 1), ("", 1), ("9" * 20, 1), ("٣", 1)],
)
def test_wait_honours_retry_after(
    retry_after: str, pause: float, fake: FakeBroker, client: BrokerClient, waited: Waited
) -> None:
    """An invalid Retry-After header falls back to one second."""
    as_sent = retry_after.encode().decode("latin-1")
    fake.will(still(retry_after=as_sent), DONE)
    client.wait("i1", sleep=waited)
    assert waited.pauses == [pause]


@pytest.mark.parametrize("ids", [("i1",), ("i1", "b1")])
def test_polls_include_operation_service_and_plan(
    ids: tuple[str, ...], fake: FakeBroker, client: BrokerClient
) -> None:
    fake.will(still(), DONE)
    client.wait(*ids, operation="job 1/ü", offering=OFFERING, plan="small-id", sleep=lambda seconds: None)
    middle = "/service_bindings/b1" if len(ids) == 2 else ""
    for asked in fake.asked:
        assert asked.path == f"/v2/service_instances/i1{middle}/last_operation"
        assert asked.query == {"operation": "job 1/ü", "service_id": "db-id", "plan_id": "small-id"}


def test_wait_makes_last_poll_at_timeout(fake: FakeBroker, client: BrokerClient, waited: Waited) -> None:
    """The last pause is shortened so that the final poll happens at the timeout."""
    fake.will(still(retry_after=40))
    with pytest.raises(PollingTimeout) as caught:
        client.wait("i1", timeout=100, sleep=waited)
    assert waited.pauses == [40, 40, 20]
    assert len(fake.asked) == 4, "the last poll is at the end"
    assert "still in progress after 100 seconds" in str(caught.value)
    assert caught.value.exchange.state == "in progress"


@pytest.mark.rule("R-CAT-3")
@pytest.mark.parametrize(
    ("plan", "more", "total"),
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
    plan: Any, more: dict[str, Any], total: float, fake: FakeBroker, client: BrokerClient, waited: Waited
) -> None:
    """The plan's `maximum_polling_duration` is the default timeout. Without it, the default is seven days."""
    fake.will(still(retry_after=100_000))
    with pytest.raises(PollingTimeout):
        client.wait("i1", plan=plan, sleep=waited, **more)
    assert sum(waited.pauses) == pytest.approx(total, abs=5)


def test_wait_timeout_includes_request_time(fake: FakeBroker, client: BrokerClient, waited: Waited) -> None:
    fake.will(still(retry_after=0))
    with pytest.raises(PollingTimeout):
        client.wait("i1", timeout=0.05, sleep=waited)
    assert set(waited.pauses) <= {0}


def test_failed_operation_raises_operation_failed(
    fake: FakeBroker, client: BrokerClient, waited: Waited
) -> None:
    fake.will(
        still(),
        answer(
            200,
            {
                "state": "failed",
                "description": "The disk is full",
                "instance_usable": False,
                "update_repeatable": True,
            },
        ),
    )
    told: list[str] = []
    with pytest.raises(OperationFailed, match="the operation failed: The disk is full") as caught:
        client.wait("i1", sleep=waited, progress=lambda found: told.append(found.state))
    assert told == ["in progress", "failed"]
    found = caught.value.last_operation
    assert (found.instance_usable, found.update_repeatable) == (False, True)


def test_failed_operation_without_description_is_accepted(fake: FakeBroker, client: BrokerClient) -> None:
    fake.will(answer(200, {"state": "failed"}))
    with pytest.raises(OperationFailed, match="no description"):
        client.wait("i1")


@pytest.mark.rule("R-LAST-3")
def test_wait_for_deletion_treats_410_as_success(
    fake: FakeBroker, client: BrokerClient, waited: Waited
) -> None:
    fake.will(still(), answer(410))
    told: list[str] = []
    found = client.wait("i1", deleting=True, sleep=waited, progress=lambda each: told.append(each.state))
    assert found == LastOperation.succeeded()
    assert told == ["in progress", "succeeded"]


@pytest.mark.parametrize(("deleting", "status"), [(False, 410), (False, 404), (True, 404), (True, 400)])
def test_other_refusals_end_the_wait(
    deleting: bool, status: int, fake: FakeBroker, client: BrokerClient
) -> None:
    fake.will(answer(status))
    with pytest.raises(BrokerRefused) as caught:
        client.wait("i1", deleting=deleting)
    assert caught.value.status == status
    assert len(fake.asked) == 1


def test_invalid_response_ends_the_wait(fake: FakeBroker, client: BrokerClient) -> None:
    fake.will(answer(200, {"state": "ready"}))
    with pytest.raises(BrokerMistake, match='state: is "ready"'):
        client.wait("i1")


def test_wait_survives_broker_restart(fake: FakeBroker, client: BrokerClient, waited: Waited) -> None:
    """Server errors during a restart are reported to the progress callback and retried."""
    fake.will(still(), answer(503), answer(502, b"<html>"), still(), answer(200, {"state": "succeeded"}))
    told: list[str | None] = []
    done = client.wait("i1", sleep=waited, progress=lambda found: told.append(found.description))
    assert done.state == "succeeded"
    assert told[1] == "(status 503; retrying)"
    assert len(fake.asked) == 5


def test_persistent_server_errors_end_the_wait(
    fake: FakeBroker, client: BrokerClient, waited: Waited
) -> None:
    fake.will(still(), answer(503))
    with pytest.raises(BrokerRefused, match="503"):
        client.wait("i1", patience=3, sleep=waited)
    assert len(fake.asked) == 5


@pytest.mark.parametrize(("patience", "timeout"), [(2.0, None), (60.0, 2.0)])
def test_persistent_connection_failure_ends_the_wait(
    patience: float, timeout: float | None, waited: Waited
) -> None:
    client = client_of(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BrokerUnreachable, match="Connection refused"):
        client.wait("i1", patience=patience, timeout=timeout, sleep=waited)
    assert sum(waited.pauses) == pytest.approx(2.0, abs=1.1)
