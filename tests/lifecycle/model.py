"""A model of a broker with a store, in dicts.

It is written from `docs/rules.md`, not from the code. Given a request and the outcome of the handler, it
returns the expected response, the expected handler call with its fields, and the expected signals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SMALL, LARGE, BACK = "small-id", "large-id", "back-id"
"""Synchronous, updateable and rotatable; synchronous without plan updates; background."""

DONE = {
    "provision": "provisioned",
    "update": "updated",
    "deprovision": "deprovisioned",
    "bind": "bound",
    "unbind": "unbound",
}
DELETES = ("deprovision", "unbind")
STATUS = {"refuse": 400, "fail": 503, "crash": 500, "wrong": 500}
SAID = {"refuse": "Refused", "fail": "Out of order"}


@dataclass
class Op:
    """An operation. Its `id` is set from the first response that contains it."""

    kind: str
    mode: str
    plan: str
    number: int
    state: str = "in progress"
    description: str | None = None
    flags: dict[str, bool] = field(default_factory=dict)
    id: str | None = None
    attempts: int = 0
    target: tuple[str, dict[str, Any]] | None = None
    gone: bool = False

    @property
    def in_progress(self) -> bool:
        return self.state == "in progress"


@dataclass
class Resource:
    """An instance or binding."""

    plan: str
    parameters: dict[str, Any]
    identity: tuple[Any, ...]
    op: Op
    state: str = "creating"
    data: dict[str, Any] = field(default_factory=dict)
    url: str | None = None
    credentials: dict[str, Any] | None = None
    inherits: bool = False
    bindings: dict[str, Resource] = field(default_factory=dict)

    @property
    def status(self) -> str:
        if self.op.in_progress:
            return {"update": "updating", "deprovision": "deleting", "unbind": "deleting"}.get(
                self.op.kind, "creating"
            )
        return self.state


@dataclass
class Expected:
    """The expected response to a request, with its effects.

    `body` is compared as it is. `error` contains the accepted error codes. `handler` has the fields of the
    expected handler call, and `polled` those of the polling handlers called before it. `is_busy` is True if
    the instance is busy with another operation, on itself or on a binding.
    """

    status: int
    body: dict[str, Any] | None = None
    error: tuple[str, ...] = ()
    op: Op | None = None
    url: str | None = None
    handler: dict[str, Any] | None = None
    polled: list[dict[str, Any]] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    is_busy: bool = False


BUSY = ("ConcurrencyError",)


class Model:
    """The stored state of a broker."""

    def __init__(self) -> None:
        self.instances: dict[str, Resource] = {}
        self.last: dict[tuple[str, str | None], Op] = {}
        self.operations: list[tuple[str, str | None, Op]] = []
        self.number = 0
        self.poll_outcome = ""
        """The outcome of a polling handler that a conflicting request calls."""

    # Requests

    def provision(
        self, i: str, plan: str, parameters: dict[str, Any], space: str, polls: bool, outcome: str
    ) -> Expected:
        identity = (plan, space)
        instance = self.instances.get(i)
        if instance is not None:
            same = (instance.plan, instance.identity[1]) == identity and instance.parameters == parameters
            match instance.status:
                case "failed":
                    return Expected(409)  # R-DEL-5
                case _ if not same:
                    return Expected(409)  # R-PROV-5
                case "ready":
                    return Expected(200, _url(instance))  # R-PROV-3
                case "creating" if polls:
                    return Expected(202, op=instance.op, url=instance.url)  # R-PROV-4
                case _:
                    return Expected(422, error=BUSY)
        if plan == BACK and not polls:
            return Expected(422, error=("AsyncRequired",))  # R-PROV-7
        op = self._op("provision", plan, polls)
        created = Resource(plan, parameters, identity, op)

        def keep() -> None:
            self.instances[i] = created

        received = {"parameters": parameters}
        return self._begin(i, None, op, polls, outcome, created, received, keep=keep)

    def fetch(self, i: str) -> Expected:
        """R-GETI."""
        instance = self.instances.get(i)
        if instance is None or instance.status in ("creating", "failed"):
            return Expected(404)
        if instance.status != "ready":
            return Expected(422, error=BUSY)
        body = {"service_id": "db-id", "plan_id": instance.plan, **_url(instance)}
        return Expected(200, {**body, **({"parameters": instance.parameters} if instance.parameters else {})})

    def update(
        self, i: str, plan: str | None, parameters: dict[str, Any] | None, polls: bool, outcome: str
    ) -> Expected:
        return self._unless_over(i, lambda: self._update(i, plan, parameters, polls, outcome))

    def _update(
        self, i: str, plan: str | None, parameters: dict[str, Any] | None, polls: bool, outcome: str
    ) -> Expected:
        instance = self.instances.get(i)
        if instance is None or instance.status == "failed":
            return Expected(404)
        if instance.status in ("creating", "deleting"):
            return Expected(422, error=BUSY, is_busy=True)
        target = (plan or instance.plan, {**instance.parameters, **(parameters or {})})  # R-UPD-2
        if instance.status == "updating":
            if target == instance.op.target:  # R-UPD-1
                return Expected(202, op=instance.op, url=instance.url) if polls else Expected(422)
            return Expected(422, is_busy=True)
        if target == (instance.plan, instance.parameters):
            return Expected(200, _url(instance))  # R-UPD-1
        reasons = []
        if target[0] != instance.plan == LARGE:
            reasons.append("PlanChangeNotSupported")  # R-UPD-3
        if _is_busy(instance):
            reasons.append("ConcurrencyError")
        if target[0] == BACK and not polls:
            reasons.append("AsyncRequired")
        if reasons:
            return Expected(422, error=tuple(reasons), is_busy="ConcurrencyError" in reasons)
        op = self._op("update", target[0], polls)
        op.target = target
        return self._begin(i, None, op, polls, outcome, instance, _stored_fields(instance))

    def deprovision(self, i: str, polls: bool, outcome: str) -> Expected:
        return self._unless_over(i, lambda: self._deprovision(i, polls, outcome))

    def _deprovision(self, i: str, polls: bool, outcome: str) -> Expected:
        instance = self.instances.get(i)
        if instance is None:
            return Expected(410)  # R-DEL-1
        if instance.status == "deleting":
            return Expected(202, op=instance.op) if polls else Expected(422, error=BUSY)
        reasons = []
        if instance.status == "updating" or _is_busy(instance):
            reasons.append("ConcurrencyError")
        if instance.plan == BACK and not polls:
            reasons.append("AsyncRequired")
        if reasons:
            return Expected(422, error=tuple(reasons), is_busy="ConcurrencyError" in reasons)
        cancelled = self._cancel(instance)
        op = self._op("deprovision", instance.plan, polls)
        expected = self._begin(i, None, op, polls, outcome, instance, _stored_fields(instance))
        return _after(cancelled, expected)

    def bind(
        self,
        i: str,
        b: str,
        parameters: dict[str, Any],
        app: str | None,
        predecessor: str | None,
        polls: bool,
        outcome: str,
    ) -> Expected:
        return self._unless_over(i, lambda: self._bind(i, b, parameters, app, predecessor, polls, outcome))

    def _bind(
        self,
        i: str,
        b: str,
        parameters: dict[str, Any],
        app: str | None,
        predecessor: str | None,
        polls: bool,
        outcome: str,
    ) -> Expected:
        instance = self.instances.get(i)
        if instance is None:
            return Expected(404)  # R-BIND-5
        identity = (instance.plan, app, predecessor)
        there = instance.bindings.get(b)
        if there is not None:
            same = there.identity == identity and (
                there.parameters == parameters or (there.inherits and not parameters)
            )
            match there.status:
                case "failed":
                    return Expected(409)
                case _ if not same:
                    return Expected(409)  # R-BIND-1
                case "ready":
                    return Expected(200, {"credentials": there.credentials})
                case "creating" if polls:
                    return Expected(202, op=there.op)
                case _:
                    return Expected(422, error=BUSY)
        if instance.status == "failed":
            return Expected(404)
        if instance.status != "ready":
            return Expected(422, error=BUSY, is_busy=True)  # R-BIND-5
        inherits = predecessor is not None and not parameters
        if predecessor is not None:  # R-BIND-6
            before = instance.bindings.get(predecessor)
            if before is None or before.status != "ready" or instance.plan != SMALL:
                return Expected(400)
            parameters = parameters or before.parameters
        if instance.plan == BACK and not polls:
            return Expected(422, error=("AsyncRequired",))
        op = self._op("bind", instance.plan, polls)
        created = Resource(instance.plan, parameters, identity, op, inherits=inherits)

        def keep() -> None:
            instance.bindings[b] = created

        received = {**_stored_fields(instance), "requested": parameters}
        return self._begin(i, b, op, polls, outcome, created, received, keep=keep)

    def fetch_binding(self, i: str, b: str) -> Expected:
        """R-GETB."""
        instance = self.instances.get(i)
        binding = instance.bindings.get(b) if instance else None
        if binding is None or binding.status != "ready":
            return Expected(404)
        parameters = {"parameters": binding.parameters} if binding.parameters else {}
        return Expected(200, {"credentials": binding.credentials, **parameters})

    def unbind(self, i: str, b: str, polls: bool, outcome: str) -> Expected:
        return self._unless_over(i, lambda: self._unbind(i, b, polls, outcome))

    def _unbind(self, i: str, b: str, polls: bool, outcome: str) -> Expected:
        instance = self.instances.get(i)
        binding = instance.bindings.get(b) if instance else None
        if instance is None or binding is None:
            return Expected(410)  # R-UNB-1
        if binding.status == "deleting":
            return Expected(202, op=binding.op) if polls else Expected(422, error=BUSY)
        reasons = []
        if instance.status in ("updating", "deleting"):
            reasons.append("ConcurrencyError")
        if instance.plan == BACK and not polls:
            reasons.append("AsyncRequired")
        if reasons:
            return Expected(422, error=tuple(reasons), is_busy="ConcurrencyError" in reasons)
        cancelled = self._cancel(binding)
        op = self._op("unbind", instance.plan, polls)
        received = {**_stored_fields(instance), "binding": binding.data}
        return _after(cancelled, self._begin(i, b, op, polls, outcome, binding, received))

    def poll(self, i: str, b: str | None, op: Op | None, outcome: str) -> Expected:
        """R-LAST. Without an operation, of the last one."""
        last = self.last.get((i, b))
        if op is None:
            op = last
        if op is None:
            return Expected(404)  # R-LAST-3
        requested, signals = None, []
        if op.in_progress and op.mode == "polled":
            resource = self._resource(i, b)
            assert resource is not None, "an operation in progress has a resource"
            requested = {"operation": f"{op.kind} {op.number}", "data": resource.data}
            match outcome:
                case "progress":
                    signals = ["operation_progressed"] if op.description != "Half of it" else []
                    op.description = "Half of it"
                case "ok":
                    op.description = "Done"
                    signals = self._succeed(i, b, op, resource)
                case "gone" if op.kind in DELETES:  # R-LAST-3
                    op.description = None
                    signals = self._succeed(i, b, op, resource)
                case "failed":
                    signals = self._fail(op, resource, "No room", usable=False)
                case "gone":
                    return Expected(404, handler=requested)
                case _:
                    return Expected(STATUS[outcome], handler=requested)
        return Expected(200, poll_body(op), handler=requested, signals=signals)

    def step(self, i: str, b: str | None, op: Op, outcome: str) -> Expected:
        """A background operation is run by an executor. Its status is of no account."""
        resource = self._resource(i, b)
        assert resource is not None, "an operation in progress has a resource"
        op.attempts += 1
        instance = self.instances[i]
        received: dict[str, Any] = {"attempt": op.attempts}
        if op.kind != "provision":
            received |= _stored_fields(instance)
        if op.kind == "bind":
            received |= {"requested": resource.parameters, "bindings": sorted(instance.bindings.keys() - {b})}
        if op.kind == "unbind":
            received["binding"] = resource.data
        match outcome:
            case "retry":
                op.description = f"Waiting {op.attempts}"
                signals = ["operation_progressed"]
            case "accepted":
                signals = self._accept(op, resource)
            case "ok":
                signals = self._succeed(i, b, op, resource)
            case "gone" if op.kind in DELETES:
                signals = self._succeed(i, b, op, resource)
            case _:
                signals = self._fail(op, resource, SAID.get(outcome), usable=outcome != "fail")
        return Expected(0, handler=received, signals=signals)

    # What comes of it

    def _unless_over(self, i: str, judge: Callable[[], Expected]) -> Expected:
        """Poll the asynchronous operations that a request would be refused for, until none of them ends."""
        polled: list[dict[str, Any]] = []
        signals: list[str] = []
        while True:
            expected, instance = judge(), self.instances.get(i)
            blocking = self._blocking(instance) if expected.is_busy and instance is not None else []
            for b, op in blocking:
                poll = self.poll(i, b, op, self.poll_outcome)
                polled += [poll.handler] if poll.handler else []
                signals += poll.signals
            if all(op.in_progress for _, op in blocking):
                expected.polled = polled
                return _after(signals, expected)

    @staticmethod
    def _blocking(instance: Resource) -> list[tuple[str | None, Op]]:
        """Return the asynchronous operations on an instance, or else on its bindings, the oldest first."""
        if instance.op.in_progress:
            return [(None, instance.op)] if instance.op.mode == "polled" else []
        ops = [(b, binding.op) for b, binding in instance.bindings.items()]
        return sorted(
            ((b, op) for b, op in ops if op.in_progress and op.mode == "polled"),
            key=lambda pair: pair[1].number,
        )

    def _op(self, kind: str, plan: str, polls: bool) -> Op:
        self.number += 1
        return Op(kind, "background" if plan == BACK else "synchronous", plan, self.number)

    def _begin(
        self,
        i: str,
        b: str | None,
        op: Op,
        polls: bool,
        outcome: str,
        resource: Resource,
        received: dict[str, Any],
        keep: Any = lambda: None,
    ) -> Expected:
        creates = op.kind in ("provision", "bind")
        before = resource.op
        if op.mode == "background":
            keep()
            self._note(i, b, op, resource)
            return Expected(202, op=op, signals=["operation_started"])
        if outcome == "accepted" and not polls:
            outcome = "wrong"
        if outcome == "refuse" or (outcome == "gone" and op.kind not in DELETES):
            resource.op = before  # R-REQ-8
            return Expected(404 if outcome == "gone" else 400, handler=received)
        keep()
        self._note(i, b, op, resource)
        match outcome:
            case "accepted":
                self._accept(op, resource)
                return Expected(202, op=op, url=resource.url, handler=received, signals=["operation_started"])
            case "ok" | "exists":
                signals = self._succeed(i, b, op, resource)
                status = 201 if creates and outcome == "ok" else 200
                body: dict[str, Any] = {}
                if op.kind == "provision" or op.kind == "update":
                    body = {"dashboard_url": f"https://done.example.org/{op.number}"}
                if op.kind == "bind":
                    body = {"credentials": resource.credentials}
                if creates and outcome == "exists":
                    signals = []
                return Expected(status, body, handler=received, signals=signals)
            case "gone":
                signals = self._succeed(i, b, op, resource)
                return Expected(410, handler=received, signals=signals)
            case _:
                self._fail(op, resource, SAID.get(outcome), usable=outcome != "fail")
                return Expected(STATUS[outcome], handler=received)

    def _accept(self, op: Op, resource: Resource) -> list[str]:
        """Continue the operation asynchronously."""
        op.mode = "polled"
        if op.kind == "provision":
            resource.url = f"https://accepted.example.org/{op.number}"
        if op.kind in ("provision", "bind"):
            resource.data = {"accepted": op.number}
        return []

    def _note(self, i: str, b: str | None, op: Op, resource: Resource) -> None:
        resource.op = op
        self.last[i, b] = op
        self.operations.append((i, b, op))

    def _succeed(self, i: str, b: str | None, op: Op, resource: Resource) -> list[str]:
        op.state = "succeeded"
        if op.mode == "background":
            op.description = None
        at_once = op.mode != "polled"
        if op.kind == "deprovision":
            for name in resource.bindings:
                self.last.pop((i, name), None)  # R-LAST-3
            del self.instances[i]
        elif op.kind == "unbind":
            del self.instances[i].bindings[b or ""]
        else:
            resource.state = "ready"
            if op.target is not None:
                resource.plan, resource.parameters = op.target
            if at_once or op.kind == "bind":
                resource.data = {"done": op.number}
            if op.kind == "bind":
                resource.credentials = {"n": op.number}
            elif at_once:
                resource.url = f"https://done.example.org/{op.number}"
        return [DONE[op.kind]]

    def _fail(self, op: Op, resource: Resource, description: str | None, *, usable: bool) -> list[str]:
        op.state, op.description = "failed", description
        if not usable and op.kind in ("update", "deprovision"):  # R-ERR-2
            op.flags = {"instance_usable": False}
        if op.kind in ("provision", "bind"):
            resource.state = "failed"  # R-DEL-5
        return ["operation_failed"]

    def _cancel(self, resource: Resource) -> list[str]:
        """Cancel the creation of a resource (R-DEL-3)."""
        if not resource.op.in_progress:
            return []
        return self._fail(resource.op, resource, None, usable=True)

    def _resource(self, i: str, b: str | None) -> Resource | None:
        instance = self.instances.get(i)
        return instance if b is None or instance is None else instance.bindings.get(b)


def poll_body(op: Op) -> dict[str, Any]:
    """Return the body of a poll, without descriptions that the broker writes."""
    body: dict[str, Any] = {"state": op.state, **op.flags}
    if op.description is not None:
        body["description"] = op.description
    return body


def _stored_fields(instance: Resource) -> dict[str, Any]:
    return {
        "plan": instance.plan,
        "parameters": instance.parameters,
        "data": instance.data,
        "bindings": sorted(instance.bindings),
    }


def _url(instance: Resource) -> dict[str, Any]:
    return {} if instance.url is None else {"dashboard_url": instance.url}


def _is_busy(instance: Resource) -> bool:
    return any(binding.op.in_progress for binding in instance.bindings.values())


def _after(cancelled: list[str], expected: Expected) -> Expected:
    expected.signals = [*cancelled, *expected.signals]
    return expected
