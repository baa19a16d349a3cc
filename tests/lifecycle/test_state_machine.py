"""Random lives of instances and bindings, over HTTP, compared with a plain model answer by answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from time import monotonic
from typing import Any, ClassVar, TypeVar

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import create_engine, delete, select
from werkzeug.test import TestResponse

from brokerkit import (
    Accepted,
    Binding,
    BindingDoesNotExist,
    Broker,
    BrokerError,
    Catalog,
    InstanceDoesNotExist,
    LastOperation,
    Provisioned,
    QuotaExceeded,
    Retry,
    ServicePlan,
    Updated,
    signals,
)
from brokerkit.audit import AuditRecord
from brokerkit.server import polling as polls
from brokerkit.store import tables
from brokerkit.store.models import Mode
from brokerkit.store.resource_keys import resource_key
from brokerkit.store.store import Store

from ..admin.test_commands import json_of
from ..support.broker import CREDENTIALS, error_of, make_app, make_offering
from ..support.examples import examples
from ..support.stateful import CAN_POLL, CHANGING, KEY, POLLED, Platform, listening, stop
from .model import BACK, LARGE, SMALL, Expected, Model, Op
from .test_audit import assert_same

CATALOG = Catalog(
    [
        make_offering(
            plans=[
                ServicePlan(id=SMALL, name="small", description="Synchronous", binding_rotatable=True),
                ServicePlan(id=LARGE, name="large", description="Synchronous", plan_updateable=False),
                ServicePlan(id=BACK, name="back", description="In the background"),
            ]
        )
    ]
)

_Thing = TypeVar("_Thing")
_examples = itertools.count(1)

kinds = st.sampled_from(
    ["provision"] * 3
    + ["update"] * 5
    + ["deprovision"] * 2
    + ["bind"] * 5
    + ["unbind"] * 3
    + ["fetch", "fetch_binding"] * 3
    + ["poll the last", "work in vain", "restart"]
    + ["repeat"] * 6
    + ["poll one"] * 4
    + ["work"] * 6
)
outcomes = st.sampled_from(
    ["ok"] * 5 + ["accepted"] * 3 + ["exists", "refuse", "fail", "crash", "wrong", "gone"]
)
step_outcomes = st.sampled_from(
    ["ok"] * 5 + ["retry"] * 3 + ["accepted", "refuse", "fail", "crash", "wrong", "gone"]
)
poll_outcomes = st.sampled_from(
    ["ok"] * 4 + ["progress"] * 3 + ["failed"] * 2 + ["fail", "crash", "wrong", "gone"]
)
plans = st.sampled_from([SMALL, SMALL, SMALL, BACK, BACK, LARGE])


class Wish(msgspec.Struct, frozen=True):
    """Random arguments of a request; each request uses some of them."""

    i: str
    b: str = "b1"
    plan: str = SMALL
    names_plan: bool = True
    previous: str | None = None
    parameters: dict[str, Any] = {}
    space: str = "s1"
    app: str | None = None
    predecessor: str | None = None
    polls: bool = True

    @property
    def query(self) -> str:
        return CAN_POLL if self.polls else ""


wishes = st.builds(
    Wish,
    i=st.sampled_from(["one"] * 4 + ["two"]),
    b=st.sampled_from(["b1", "b1", "b2"]),
    plan=plans,
    names_plan=st.booleans(),
    previous=st.none() | plans,
    parameters=st.sampled_from([{}, {}, {}, {}, {"size": 1}, {"size": 2}]),
    space=st.sampled_from(["s1"] * 7 + ["s2"]),
    app=st.sampled_from([None, None, None, "a1"]),
    predecessor=st.sampled_from([None, None, None, "b1"]),
    polls=st.sampled_from([True, True, True, False]),
)


def _one_of(things: list[_Thing], which: int) -> _Thing:
    return things[which % len(things)]


def _named(expected: Expected, kind: str) -> dict[str, Any]:
    """What is expected to be at hand, of what a handler saw."""
    looks = kind == "poll" and expected.polled
    return (expected.polled[0] if looks else expected.handler) or {}


def _waits(op: Op) -> bool:
    """Is it an executor's to run?"""
    return op.in_progress and op.mode == "background"


class Steps:
    """An executor that runs an operation in the calling thread, when a test requests it."""

    def __init__(self) -> None:
        self.submitted: list[str] = []

    def start(self, run: Callable[[str], None]) -> None:
        self.run = run

    def submit(self, operation_id: str, delay: float = 0) -> None:
        self.submitted.append(operation_id)

    def stop(self) -> None:
        pass


class Lives(RuleBasedStateMachine):
    """One or two instances with one or two bindings each, and a broker that restarts."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"{next(_examples)}-"
        self.model = Model()
        self.outcome = self.poll_outcome = ""
        self.sent: dict[tuple[str, str, str], Wish] = {}
        self.status = 0
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.known: dict[str, Op] = {}
        self._listening = listening()
        self.sent_signals = self._listening.__enter__()
        self.audited: dict[str, AuditRecord] = {}
        signals.audited.connect(self._audit)
        self.start()

    # The broker

    def start(self) -> None:
        """As a process does."""
        self.executor = Steps()
        store = Store(self.url, encryption_keys=[KEY])
        broker = Broker(CATALOG, auth=CREDENTIALS, store=store, executor=self.executor)
        for operation in CHANGING:
            handler = self._handler(operation)
            getattr(broker, operation)(handler)
            getattr(broker, operation)(plan="back", background=True)(handler)
        for operation in POLLED:
            getattr(broker, operation)(self._polled)
        self.broker = broker
        self.platform = Platform(make_app(broker))

    def _audit(self, sender: object, record: AuditRecord, **extra: object) -> None:
        self.audited[record.operation_id] = record

    def _handler(self, operation: str) -> Callable[[Any], Any]:
        def handle(request: Any) -> Any:
            received: dict[str, Any] = {"attempt": request.attempt}
            if request.instance is not None:
                received |= {
                    "plan": request.instance.plan.id,
                    "parameters": request.instance.parameters,
                    "data": request.instance.data,
                    "bindings": sorted(binding.binding_id for binding in request.instance.bindings),
                }
            elif operation == "provision":
                received["parameters"] = request.parameters
            if operation == "bind":
                received["requested"] = request.parameters
                received["bindings"] = [name for name in received["bindings"] if name != request.binding_id]
            if operation == "unbind":
                received["binding"] = request.binding.data
            self.calls.append((operation, received))
            return self._answer(operation, request)

        return handle

    def _answer(self, operation: str, request: Any) -> Any:
        number = self.acting.number if self.acting else self.model.number + 1
        match self.outcome:
            case "accepted":
                if operation == "provision":
                    return Accepted(
                        operation=f"{operation} {number}",
                        dashboard_url=f"https://accepted.example.org/{number}",
                        data={"accepted": number},
                    )
                data = {"accepted": number} if operation == "bind" else None
                return Accepted(operation=f"{operation} {number}", data=data)
            case "ok" | "exists":
                exists = self.outcome == "exists"
                url = f"https://done.example.org/{number}"
                match operation:
                    case "provision":
                        return Provisioned(dashboard_url=url, data={"done": number}, exists=exists)
                    case "update":
                        return Updated(dashboard_url=url, data={"done": number})
                    case "bind":
                        return Binding(credentials={"n": number}, data={"done": number}, exists=exists)
                    case _:
                        return None
            case "retry":
                raise Retry(after=0.001, description=f"Waiting {request.attempt}")
            case _:
                return self._error(operation, self.outcome)

    def _error(self, operation: str, outcome: str) -> Any:
        match outcome:
            case "refuse":
                raise QuotaExceeded("Refused")
            case "fail":
                raise BrokerError("Out of order", status=503, instance_usable=False)
            case "gone":
                raise BindingDoesNotExist if "bind" in operation else InstanceDoesNotExist
            case "crash":
                raise ValueError("inside")
            case _:
                return "a text"

    def _polled(self, request: Any) -> Any:
        of_binding = hasattr(request, "binding_id")
        data = request.binding.data if of_binding else request.instance.data
        self.calls.append(("poll", {"operation": request.operation, "data": data}))
        kind, number = request.operation.split()
        match self.poll_outcome:
            case "progress":
                return LastOperation.in_progress("Half of it", retry_after=3)
            case "ok":
                created = Binding(credentials={"n": int(number)}, data={"done": int(number)})
                return LastOperation.succeeded("Done", result=created if kind == "bind" else None)
            case "failed":
                usable = False if kind in ("update", "deprovision") else None
                return LastOperation.failed("No room", instance_usable=usable)
            case _:
                return self._error("bind" if of_binding else "provision", self.poll_outcome)

    # What is compared

    def compare(self, outcome: str, expect: Callable[[], Expected], act: Callable[[], Any]) -> None:
        """Act, and find everything as expected."""
        self.outcome = outcome
        self.model.poll_outcome = self.poll_outcome
        self.calls.clear()
        self.sent_signals.take()
        response: TestResponse | None = act()
        expected = expect()
        if response is not None:
            self.status = response.status_code
            note(f"{response.status_code} {response.data!r}")
            self._compare_answer(expected, response)
        requested = [
            {name: value for name, value in received.items() if name in _named(expected, kind)}
            for kind, received in self.calls
        ]
        assert requested == [*expected.polled, *([] if expected.handler is None else [expected.handler])]
        mine = [
            name
            for name, request, _ in self.sent_signals.facts
            if request.instance_id.startswith(self.prefix)
        ]
        assert mine == expected.signals

    def _compare_answer(self, expected: Expected, response: TestResponse) -> None:
        body: dict[str, Any] = msgspec.json.decode(response.data)
        assert response.status_code == expected.status, (expected, body)
        if response.status_code >= 400:
            word = error_of(response).get("error")
            assert not expected.error or word in expected.error
            assert b"inside" not in response.data
        if expected.op is not None:
            operation = body.pop("operation")
            if expected.op.id is None:
                assert operation not in self.known
                expected.op.id = operation
                self.known[operation] = expected.op
            assert operation == expected.op.id
            assert body in ({}, {"dashboard_url": expected.url})
        elif expected.body is not None:
            if "state" in expected.body:
                assert ("Retry-After" in response.headers) is (body["state"] == "in progress")
                if "description" not in expected.body:
                    body.pop("description", None)
            assert body == expected.body

    acting: Op | None = None

    # What a platform asks

    def path(self, instance: str, binding: str | None = None) -> str:
        path = f"/v2/service_instances/{self.prefix}{instance}"
        return path if binding is None else f"{path}/service_bindings/{binding}"

    @initialize(plan=plans, outcome=st.sampled_from(["ok", "ok", "accepted"]))
    def begin(self, plan: str, outcome: str) -> None:
        self.ask("provision", Wish("one", plan=plan), outcome)

    @rule(
        kind=kinds,
        wish=wishes,
        outcome=outcomes,
        step=step_outcomes,
        poll=poll_outcomes,
        which=st.integers(0, 99),
    )
    def turn(self, kind: str, wish: Wish, outcome: str, step: str, poll: str, which: int) -> None:
        """Send any request. A single rule gives each run a mixture of requests.

        Args:
            kind: What happens.
            wish: What a platform asks for.
            outcome: The outcome of the handler, if it is called.
            step: What one in the background does.
            poll: What one that is polled says.
            which: Which one of several.
        """
        self.poll_outcome = poll
        match kind:
            case "repeat":
                (repeated, _, _), sent = _one_of(list(self.sent.items()), which)
                self.ask(repeated, msgspec.structs.replace(sent, polls=wish.polls), outcome)
            case "poll one":
                known = [entry for entry in self.model.operations if entry[2].id]
                going = [entry for entry in known if entry[2].in_progress]
                if known:
                    self.poll_one(*_one_of(going * 3 + known, which), poll)
            case "poll the last":
                self.poll(wish.i, _one_of([None, "b1", "b2"], which), None, poll)
            case "work":
                going = [entry for entry in self.model.operations if _waits(entry[2])]
                if going:
                    self.work(*_one_of(going, which), step)
            case "work in vain":
                over = [op.id for op in self.known.values() if not _waits(op)]
                if over:
                    self.work_in_vain(_one_of(over, which))
            case "restart":
                stop(self.broker)
                self.start()
            case _:
                self.ask(kind, wish, outcome)

    # What a platform asks

    def ask(self, kind: str, wish: Wish, outcome: str) -> None:
        if outcome == "exists" and kind not in ("provision", "bind"):
            outcome = "ok"
        getattr(self, kind)(wish, outcome)
        if kind in ("provision", "update", "bind") and self.status < 300:
            self.sent[kind, wish.i, wish.b] = wish

    def provision(self, wish: Wish, outcome: str) -> None:
        body = {
            "service_id": "db-id",
            "plan_id": wish.plan,
            "organization_guid": "o1",
            "space_guid": wish.space,
            "parameters": wish.parameters,
        }
        self.compare(
            outcome,
            lambda: self.model.provision(wish.i, wish.plan, wish.parameters, wish.space, wish.polls, outcome),
            lambda: self.platform.put(self.path(wish.i), body, query=wish.query),
        )

    def fetch(self, wish: Wish, outcome: str) -> None:
        path = self.path(wish.i)
        self.compare(outcome, lambda: self.model.fetch(wish.i), lambda: self.platform.get(path))

    def update(self, wish: Wish, outcome: str) -> None:
        plan = wish.plan if wish.names_plan else None
        body = {
            "service_id": "db-id",
            "plan_id": plan,
            "parameters": wish.parameters or None,
            "previous_values": {"plan_id": wish.previous},
        }
        self.compare(
            outcome,
            lambda: self.model.update(wish.i, plan, wish.parameters, wish.polls, outcome),
            lambda: self.platform.patch(self.path(wish.i), body, query=wish.query),
        )

    def deprovision(self, wish: Wish, outcome: str) -> None:
        query = f"service_id=db-id&plan_id={wish.plan}&{wish.query}"
        self.compare(
            outcome,
            lambda: self.model.deprovision(wish.i, wish.polls, outcome),
            lambda: self.platform.delete(self.path(wish.i), query=query),
        )

    def bind(self, wish: Wish, outcome: str) -> None:
        instance = self.model.instances.get(wish.i)
        body = {
            "service_id": "db-id",
            "plan_id": instance.plan if instance else SMALL,
            "parameters": wish.parameters,
            "bind_resource": {"app_guid": wish.app} if wish.app else None,
            "predecessor_binding_id": wish.predecessor,
        }
        requested = (wish.parameters, wish.app, wish.predecessor)
        self.compare(
            outcome,
            lambda: self.model.bind(wish.i, wish.b, *requested, wish.polls, outcome),
            lambda: self.platform.put(self.path(wish.i, wish.b), body, query=wish.query),
        )

    def fetch_binding(self, wish: Wish, outcome: str) -> None:
        path = self.path(wish.i, wish.b)
        self.compare(
            outcome, lambda: self.model.fetch_binding(wish.i, wish.b), lambda: self.platform.get(path)
        )

    def unbind(self, wish: Wish, outcome: str) -> None:
        query = f"service_id=db-id&plan_id={wish.plan}&{wish.query}"
        self.compare(
            outcome,
            lambda: self.model.unbind(wish.i, wish.b, wish.polls, outcome),
            lambda: self.platform.delete(self.path(wish.i, wish.b), query=query),
        )

    def poll_one(self, i: str, b: str | None, op: Op, outcome: str) -> None:
        """Choose an operation id of any response, preferably one in progress."""
        self.poll(i, b, op, outcome)

    def poll(self, i: str, b: str | None, op: Op | None, outcome: str) -> None:
        query = f"operation={op.id}" if op else ""
        path = f"{self.path(i, b)}/last_operation"
        self.compare(
            outcome,
            lambda: self.model.poll(i, b, op, outcome),
            lambda: self.platform.get(path, query=query),
        )

    # What happens by itself

    def work(self, i: str, b: str | None, op: Op, outcome: str) -> None:
        """An executor runs an attempt, as soon as it is due."""
        operation = op.id
        assert operation is not None, "its id was in a response"
        self.acting = op
        self.platform.get(self.path("none"))  # a process begins to work with its first request

        def run() -> None:
            ends = monotonic() + 10
            while not self.calls:
                assert monotonic() < ends, "it never became due"
                self.executor.run(operation)

        try:
            self.compare(outcome, lambda: self.model.step(i, b, op, outcome), run)
        finally:
            self.acting = None

    def work_in_vain(self, operation: str | None) -> None:
        """Run an operation that has ended, or of another mode, without effect."""
        self.platform.get(self.path("none"))
        self.compare("crash", lambda: Expected(0), lambda: self.executor.run(operation or ""))

    # At the end

    def teardown(self) -> None:
        try:
            if hasattr(self, "broker"):
                self.check_trail()
                self.check_rows()
        finally:
            signals.audited.disconnect(self._audit)
            stop(self.broker)
            self._listening.__exit__(None, None, None)

    def check_trail(self) -> None:
        """Compare the last audit record of each change with the stored operation."""
        trail = json_of(self.platform.app, "audit", "--since", "1d")
        shown = {row["operation_id"]: row for row in trail if row["instance_id"].startswith(self.prefix)}
        assert self.audited.keys() == shown.keys()
        for operation_id, record in self.audited.items():
            row = shown[operation_id]
            assert record.state == row["state"]
            if record.ended_at is not None:  # until then the store has its progress too
                assert_same(msgspec.to_builtins(record), row)

    def check_rows(self) -> None:
        """Check stored fields that no response shows: leases, due times and counts."""
        engine = create_engine(self.url)
        try:
            with engine.begin() as connection:
                ops = tables.operations
                mine = ops.c.instance_id.startswith(self.prefix)
                rows = connection.execute(select(ops).where(mine)).all()
                kept = connection.execute(
                    select(tables.instances).where(tables.instances.c.id.startswith(self.prefix))
                ).all()
                bound = connection.execute(
                    select(tables.bindings).where(tables.bindings.c.instance_id.startswith(self.prefix))
                ).all()
                connection.execute(
                    delete(tables.instances).where(tables.instances.c.id.startswith(self.prefix))
                )
                connection.execute(delete(ops).where(mine))
        finally:
            engine.dispose()
        going = [row for row in rows if row.state == "in progress"]
        assert all(row.lease_until is None for row in rows), "no operation has a lease"
        assert all(row.wake_at is not None for row in going), "each operation has a due time"
        assert all(row.mode != Mode.INLINE for row in going), "synchronous operations end with their response"
        assert all(row.wake_at is None for row in rows if row.state != "in progress")
        current = {row.operation for row in (*kept, *bound)}
        assert {row.id for row in going} <= current, "each is the last operation of its resource"
        there = {
            resource_key(f"{self.prefix}{name}"): instance for name, instance in self.model.instances.items()
        }
        assert {row.id for row in kept if row.state != "deleted"} == there.keys()
        assert {(row.instance_id, row.id) for row in bound} == {
            (key, name) for key, instance in there.items() for name in instance.bindings
        }
        for row in kept:
            busy = sum(1 for other in going if other.instance_id == row.id and other.binding_id is not None)
            assert row.busy_bindings == busy
        assert {row.id for row in going} == {op.id for op in self.known.values() if op.in_progress}


@pytest.mark.rule(
    "R-PROV-1",
    "R-PROV-3",
    "R-PROV-4",
    "R-PROV-5",
    "R-GETI",
    "R-UPD-1",
    "R-UPD-5",
    "R-BIND-1",
    "R-BIND-5",
    "R-GETB",
    "R-UNB-1",
    "R-DEL-1",
    "R-DEL-3",
    "R-DEL-5",
    "R-LAST-1",
    "R-LAST-3",
    "R-LAST-4",
    "R-LAST-5",
)
@pytest.mark.filterwarnings("error")
def test_random_lifecycles_match_model(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random requests over HTTP give the same responses as a plain model, for all lifecycle rules together.
    Random requests over HTTP give the same responses as a plain model, for all lifecycle rules together.
    """

    monkeypatch.setattr(polls, "QUIET", 0.0)  # no run is so long that anything would be quiet for longer

    class OnStore(Lives):
        url = store_url

    profile = settings(
        max_examples=examples(80 if store_url.startswith("sqlite") else 40),
        stateful_step_count=80,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(OnStore, settings=profile)
