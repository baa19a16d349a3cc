"""Background work step by step, as a test of a broker sees it: over HTTP, and without waiting."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from brokerkit import (
    Accepted,
    Binding,
    Broker,
    BrokerError,
    Catalog,
    LastOperation,
    Provisioned,
    ProvisionRequest,
    Retry,
    ServicePlan,
)
from brokerkit.signals import operation_progressed
from brokerkit.testing import NothingDue, StepByStep, StillRunning, step_by_step

from ..support.broker import (
    CREDENTIALS,
    DELETE_QUERY,
    IDS,
    INSTANCE,
    PROVISION,
    Platform,
    make_app,
    make_offering,
)
from ..support.stateful import KEY

CAN_POLL = "accepts_incomplete=true"
PLAN = ServicePlan(id="small-id", name="small", description="A small one", maximum_polling_duration=90)


class Handlers:
    """A broker whose background handlers do what a test says."""

    def __init__(self, store: str = "sqlite://", **settings: Any) -> None:
        self.log: list[str] = []
        self.provision: Any = self.in_two_steps
        self.broker = Broker(
            Catalog([make_offering(plans=[PLAN])]), auth=CREDENTIALS, store=store, **settings
        )
        self.broker.provision(background=True)(lambda request: self.provision(request))
        self.broker.deprovision(background=True)(lambda request: self.log.append("deleted"))
        self.broker.bind(background=True)(self.bind)
        self.broker.unbind(lambda request: None)
        self.broker.update(lambda request: None)
        self.broker.last_operation(lambda request: LastOperation.in_progress("Elsewhere"))

    def in_two_steps(self, request: ProvisionRequest) -> Generator[str, None, Provisioned]:
        try:
            self.log.append("one")
            yield "Making a volume"
            self.log.append("two")
            yield "Starting the server"
            self.log.append("three")
            return Provisioned(data={"host": "h"})
        finally:
            self.log.append("closed")

    def bind(self, request: Any) -> Binding:
        return Binding(credentials={"uri": "db://secret"})


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    created = Handlers()
    yield created
    created.broker.close()


@pytest.fixture
def platform(handlers: Handlers) -> Platform:
    return Platform(make_app(handlers.broker))


@pytest.fixture
def work(handlers: Handlers, platform: Platform) -> Iterator[StepByStep]:
    with step_by_step(handlers.broker) as steps:
        yield steps
    assert not [thread for thread in threading.enumerate() if thread.name == "brokerkit-step"]


def body(response: TestResponse) -> dict[str, Any]:
    body = response.json
    assert isinstance(body, dict)
    return body


def order(platform: Platform, path: str = INSTANCE) -> str:
    response = platform.put(path, PROVISION, query=CAN_POLL)
    assert response.status_code == 202, response.data
    return str(body(response)["operation"])


def delete(platform: Platform) -> str:
    response = platform.delete(INSTANCE, query=f"{DELETE_QUERY}&{CAN_POLL}")
    assert response.status_code == 202, response.data
    return str(body(response)["operation"])


def poll(platform: Platform, operation: str) -> tuple[str, str | None]:
    expected_text = body(platform.get(f"{INSTANCE}/last_operation", query=f"operation={operation}"))
    return expected_text["state"], expected_text.get("description")


def test_operation_does_not_run_by_itself(work: StepByStep, platform: Platform, handlers: Handlers) -> None:
    operation = order(platform)
    assert poll(platform, operation) == ("in progress", None)
    assert handlers.log == []


def test_step_runs_to_next_yield(work: StepByStep, platform: Platform, handlers: Handlers) -> None:
    operation = order(platform)
    seen = []
    for _ in range(3):
        step = work.step()
        assert (step.operation, step.kind, step.instance_id, step.binding_id) == (
            operation,
            "provision",
            "i1",
            None,
        )
        assert (step.state, step.description) == poll(platform, operation)
        seen.append((step.state, step.description, handlers.log[-1]))
    assert seen == [
        ("in progress", "Making a volume", "one"),
        ("in progress", "Starting the server", "two"),
        ("succeeded", None, "closed"),
    ]


def test_step_sends_signals_before_returning(
    work: StepByStep, platform: Platform, handlers: Handlers
) -> None:
    heard: list[str | None] = []

    def hear(sender: object, result: LastOperation, **extra: Any) -> None:
        heard.append(result.description)

    with operation_progressed.connected_to(hear, handlers.broker):
        order(platform)
        work.step()
        assert heard == ["Making a volume"]


def test_run_pending_completes_all_due_operations(work: StepByStep, platform: Platform) -> None:
    operations = [order(platform, f"/v2/service_instances/{name}") for name in ("i1", "i2")]
    assert [(step.operation, step.state) for step in work.run_pending()] == [
        (operation, "succeeded") for operation in operations
    ]
    assert work.run_pending() == ()


def test_run_pending_completes_started_operation(work: StepByStep, platform: Platform) -> None:
    order(platform)
    work.step()
    (done,) = work.run_pending()
    assert done.state == "succeeded"


def test_step_selects_operation_by_id(work: StepByStep, platform: Platform) -> None:
    first, second = (order(platform, f"/v2/service_instances/{name}") for name in ("i1", "i2"))
    assert work.step(second).operation == second
    assert work.step(first).operation == first


def test_plain_function_is_one_step(work: StepByStep, platform: Platform, handlers: Handlers) -> None:
    handlers.provision = lambda request: Provisioned(dashboard_url="https://x")
    order(platform)
    assert work.step().state == "succeeded"
    assert platform.get(INSTANCE).status_code == 200


def test_step_of_binding_names_its_instance(work: StepByStep, platform: Platform, handlers: Handlers) -> None:
    order(platform)
    work.run_pending()
    assert platform.put(f"{INSTANCE}/service_bindings/b1", IDS, query=CAN_POLL).status_code == 202
    step = work.step()
    assert (step.kind, step.instance_id, step.binding_id, step.state) == ("bind", "i1", "b1", "succeeded")


@pytest.mark.parametrize(
    ("error", "expected_text"),
    [(BrokerError("The disk is full."), "The disk is full."), (RuntimeError("x"), None)],
)
def test_step_reports_failure_like_a_poll(
    work: StepByStep, platform: Platform, handlers: Handlers, error: Exception, expected_text: str | None
) -> None:
    def fail(request: object) -> None:
        raise error

    handlers.provision = fail
    operation = order(platform)
    step = work.step()
    assert step.state == "failed"
    assert expected_text in (None, step.description)
    assert poll(platform, operation) == ("failed", step.description)


def test_retry_is_due_after_its_delay(work: StepByStep, platform: Platform, handlers: Handlers) -> None:
    def when_ready(request: ProvisionRequest) -> Provisioned:
        if request.attempt < 3:
            raise Retry(after=30, description=f"Not ready {request.attempt}")
        return Provisioned()

    handlers.provision = when_ready
    order(platform)
    assert work.step().description == "Not ready 1"
    assert work.run_pending() == ()
    work.advance(29)
    assert work.run_pending() == ()
    work.advance(1)
    assert work.step().description == "Not ready 2"
    work.sleep(30)
    assert platform.get(INSTANCE).status_code == 200


def test_short_retry_runs_once_per_run_pending(
    work: StepByStep, platform: Platform, handlers: Handlers
) -> None:
    def never(request: object) -> None:
        raise Retry(after=0.001)

    handlers.provision = never
    order(platform)
    for _ in range(2):
        (done,) = work.run_pending()
        assert done.state == "in progress"
        work.advance(1)


def test_step_without_due_operation_explains_next_time(
    work: StepByStep, platform: Platform, handlers: Handlers
) -> None:
    with pytest.raises(NothingDue, match="no operation is due, and none is waiting"):
        work.step()

    def later(request: object) -> None:
        raise Retry(after=30)

    handlers.provision = later
    operation = order(platform)
    work.step()
    with pytest.raises(NothingDue, match=r"advance.*\n  the provision of 'i1': in 30 seconds"):
        work.step()
    with pytest.raises(NothingDue, match=f"the operation {operation} is not due"):
        work.step(operation)


@pytest.mark.rule("R-DEL-3")
def test_delete_cancels_provision_at_next_yield(
    work: StepByStep, platform: Platform, handlers: Handlers
) -> None:
    """The cancelled provision ends as failed, then the deprovision runs."""
    created = order(platform)
    work.step()
    deleted = delete(platform)
    halted = work.step()
    assert (halted.operation, halted.state) == (created, "failed")
    assert handlers.log == ["one", "two", "closed"]
    done = work.step()
    assert (done.operation, done.kind, done.state) == (deleted, "deprovision", "succeeded")
    assert handlers.log[-1] == "deleted"
    assert poll(platform, deleted) == ("succeeded", None)


@pytest.mark.rule("R-DEL-3")
def test_delete_starts_after_cancelled_handler_ends(
    work: StepByStep, platform: Platform, handlers: Handlers
) -> None:
    order(platform)
    work.step()
    deleted = delete(platform)
    work.advance(20)
    with pytest.raises(NothingDue):
        work.step(deleted)
    assert "deleted" not in handlers.log


def test_run_pending_runs_cancellation_then_delete(work: StepByStep, platform: Platform) -> None:
    created = order(platform)
    work.step()
    deleted = delete(platform)
    work.advance(20)
    assert [step.operation for step in work.run_pending()] == [created, deleted]


@pytest.mark.parametrize("steps", [0, 1])
def test_operation_past_deadline_fails(
    work: StepByStep, platform: Platform, handlers: Handlers, steps: int
) -> None:
    """The operation fails before its first step or between two steps."""
    operation = order(platform)
    for _ in range(steps):
        work.step()
    work.advance(PLAN.maximum_polling_duration or 0)
    assert poll(platform, operation)[0] == "failed"
    assert [step.state for step in work.run_pending()] == ["failed"] * steps
    assert "three" not in handlers.log


def test_advanced_time_applies_to_polled_operations(
    work: StepByStep, platform: Platform, handlers: Handlers
) -> None:
    handlers.provision = lambda request: Accepted(operation="job 7")
    operation = order(platform)
    assert work.step().state == "in progress"
    assert poll(platform, operation) == ("in progress", "Elsewhere")
    work.advance(90)
    assert poll(platform, operation)[0] == "failed"


def test_advanced_time_applies_to_postgresql(postgres_url: str) -> None:
    handlers = Handlers(postgres_url, encryption_keys=[KEY])

    def later(request: ProvisionRequest) -> None:
        if request.attempt == 1:
            raise Retry(after=30)

    handlers.provision = later
    platform = Platform(make_app(handlers.broker))
    with step_by_step(handlers.broker) as work:
        order(platform)
        states = [work.step().state]
        work.advance(30)
        states.append(work.step().state)
    handlers.broker.close()
    assert states == ["in progress", "succeeded"]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_advance_rejects_invalid_seconds(work: StepByStep, seconds: float) -> None:
    with pytest.raises(ValueError, match="give a number of seconds, 0 or more"):
        work.advance(seconds)


def test_stuck_handler_is_reported_with_its_line(handlers: Handlers, platform: Platform) -> None:
    gate = threading.Event()

    def stuck(request: object) -> Provisioned:
        gate.wait(15)  # here it is
        return Provisioned()

    handlers.provision = stuck
    with step_by_step(handlers.broker, timeout=0.1) as work:
        operation = order(platform)
        with pytest.raises(StillRunning, match=r"(?s)the provision of 'i1'.*0.1 s, here.*# here it is"):
            work.run_pending()
        gate.set()
        while poll(platform, operation)[0] == "in progress":
            continue
        assert work.step().state == "succeeded"


def test_unfinished_operation_resumes_in_next_context(handlers: Handlers, platform: Platform) -> None:
    """Leaving the context closes the handler at its yield. The next context starts it again."""
    with step_by_step(handlers.broker) as work:
        order(platform)
        work.step()
    assert handlers.log == ["one", "closed"]
    with step_by_step(handlers.broker) as work:
        assert work.step().description == "Making a volume"
        (done,) = work.run_pending()
    assert done.state == "succeeded"
    assert handlers.log == ["one", "closed", "one", "two", "three", "closed"]


def test_original_executor_is_restored_at_exit(handlers: Handlers, platform: Platform) -> None:
    done = threading.Event()
    handlers.provision = lambda request: done.set()
    with step_by_step(handlers.broker):
        order(platform)
        assert not done.is_set()
    platform.get("/v2/catalog")
    assert done.wait(15)


def test_step_by_step_requires_a_store() -> None:
    broker = Broker(Catalog([make_offering()]), auth=CREDENTIALS)
    with pytest.raises(ValueError, match="has no store"), step_by_step(broker):
        pass


def test_step_by_step_requires_a_broker() -> None:
    app: Any = make_app()
    with pytest.raises(TypeError, match="takes a Broker, not a Flask"), step_by_step(app):
        pass
