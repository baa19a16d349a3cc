"""A plain model of a broker that remembers: what `docs/rules.md` and the design say, in dicts.

It is written from those texts, not from the code. It hears what a platform asks and how the handler would
answer if it were asked, and says what the platform must be told, whether the handler is asked, with what at
hand, and which signals are sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SMALL, LARGE, BACK = "small-id", "large-id", "back-id"
"""At once and updateable and rotatable; at once, but not to be left; in the background."""

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
    """An operation; `id` is learned from the first answer that tells it."""

    kind: str
    how: str
    plan: str
    number: int
    state: str = "in progress"
    description: str | None = None
    flags: dict[str, bool] = field(default_factory=dict)
    id: str | None = None
    attempts: int = 0
    wanted: tuple[str, dict[str, Any]] | None = None
    gone: bool = False

    @property
    def goes_on(self) -> bool:
        return self.state == "in progress"


@dataclass
class Thing:
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
    bindings: dict[str, Thing] = field(default_factory=dict)

    @property
    def standing(self) -> str:
        if self.op.goes_on:
            return {"update": "updating", "deprovision": "deleting", "unbind": "deleting"}.get(
                self.op.kind, "creating"
            )
        return self.state


@dataclass
class Expected:
    """What a platform must be told, and what happens beside.

    `body` is compared as it is, `error` is the word of a refusal, or several that are as good. `handler` is
    what the handler finds at hand, if it is asked; `looked` what one for polls does that is asked before it.
    `is_busy` says that the instance is busy with something else.
    """

    status: int
    body: dict[str, Any] | None = None
    error: tuple[str, ...] = ()
    op: Op | None = None
    url: str | None = None
    handler: dict[str, Any] | None = None
    looked: dict[str, Any] | None = None
    signals: list[str] = field(default_factory=list)
    is_busy: bool = False


BUSY = ("ConcurrencyError",)


class Model:
    """All that a broker with a store must remember."""

    def __init__(self) -> None:
        self.instances: dict[str, Thing] = {}
        self.last: dict[tuple[str, str | None], Op] = {}
        self.operations: list[tuple[str, str | None, Op]] = []
        self.number = 0
        self.look = ""
        """What a handler for polls says when it is asked by the way."""

    # What is asked

    def provision(
        self, i: str, plan: str, parameters: dict[str, Any], space: str, polls: bool, outcome: str
    ) -> Expected:
        identity = (plan, space)
        instance = self.instances.get(i)
        if instance is not None:
            same = (instance.plan, instance.identity[1]) == identity and instance.parameters == parameters
            match instance.standing:
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
        made = Thing(plan, parameters, identity, op)

        def keep() -> None:
            self.instances[i] = made

        seen = {"parameters": parameters}
        return self._begin(i, None, op, polls, outcome, made, seen, keep=keep)

    def fetch(self, i: str) -> Expected:
        """R-GETI."""
        instance = self.instances.get(i)
        if instance is None or instance.standing in ("creating", "failed"):
            return Expected(404)
        if instance.standing != "ready":
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
        if instance is None or instance.standing == "failed":
            return Expected(404)
        if instance.standing in ("creating", "deleting"):
            return Expected(422, error=BUSY, is_busy=True)
        wanted = (plan or instance.plan, {**instance.parameters, **(parameters or {})})  # R-UPD-2
        if instance.standing == "updating":
            if wanted == instance.op.wanted:  # R-UPD-1
                return Expected(202, op=instance.op, url=instance.url) if polls else Expected(422)
            return Expected(422, is_busy=True)
        if wanted == (instance.plan, instance.parameters):
            return Expected(200, _url(instance))  # R-UPD-1
        reasons = []
        if wanted[0] != instance.plan == LARGE:
            reasons.append("PlanChangeNotSupported")  # R-UPD-3
        if _is_busy(instance):
            reasons.append("ConcurrencyError")
        if wanted[0] == BACK and not polls:
            reasons.append("AsyncRequired")
        if reasons:
            return Expected(422, error=tuple(reasons))
        op = self._op("update", wanted[0], polls)
        op.wanted = wanted
        return self._begin(i, None, op, polls, outcome, instance, _at_hand(instance))

    def deprovision(self, i: str, polls: bool, outcome: str) -> Expected:
        return self._unless_over(i, lambda: self._deprovision(i, polls, outcome))

    def _deprovision(self, i: str, polls: bool, outcome: str) -> Expected:
        instance = self.instances.get(i)
        if instance is None:
            return Expected(410)  # R-DEL-1
        if instance.standing == "deleting":
            return Expected(202, op=instance.op) if polls else Expected(422, error=BUSY)
        reasons = []
        if instance.standing == "updating" or _is_busy(instance):
            reasons.append("ConcurrencyError")
        if instance.plan == BACK and not polls:
            reasons.append("AsyncRequired")
        if reasons:
            return Expected(422, error=tuple(reasons), is_busy=instance.standing == "updating")
        halted = self._halt(instance)
        op = self._op("deprovision", instance.plan, polls)
        expected = self._begin(i, None, op, polls, outcome, instance, _at_hand(instance))
        return _after(halted, expected)

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
            match there.standing:
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
        if instance.standing == "failed":
            return Expected(404)
        if instance.standing != "ready":
            return Expected(422, error=BUSY, is_busy=True)  # R-BIND-5
        inherits = predecessor is not None and not parameters
        if predecessor is not None:  # R-BIND-6
            before = instance.bindings.get(predecessor)
            if before is None or before.standing != "ready" or instance.plan != SMALL:
                return Expected(400)
            parameters = parameters or before.parameters
        if instance.plan == BACK and not polls:
            return Expected(422, error=("AsyncRequired",))
        op = self._op("bind", instance.plan, polls)
        made = Thing(instance.plan, parameters, identity, op, inherits=inherits)

        def keep() -> None:
            instance.bindings[b] = made

        seen = {**_at_hand(instance), "asked": parameters}
        return self._begin(i, b, op, polls, outcome, made, seen, keep=keep)

    def fetch_binding(self, i: str, b: str) -> Expected:
        """R-GETB."""
        instance = self.instances.get(i)
        binding = instance.bindings.get(b) if instance else None
        if binding is None or binding.standing != "ready":
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
        if binding.standing == "deleting":
            return Expected(202, op=binding.op) if polls else Expected(422, error=BUSY)
        reasons = []
        if instance.standing in ("updating", "deleting"):
            reasons.append("ConcurrencyError")
        if instance.plan == BACK and not polls:
            reasons.append("AsyncRequired")
        if reasons:
            return Expected(422, error=tuple(reasons), is_busy="ConcurrencyError" in reasons)
        halted = self._halt(binding)
        op = self._op("unbind", instance.plan, polls)
        seen = {**_at_hand(instance), "binding": binding.data}
        return _after(halted, self._begin(i, b, op, polls, outcome, binding, seen))

    def poll(self, i: str, b: str | None, op: Op | None, outcome: str) -> Expected:
        """R-LAST. Without an operation, of the last one."""
        last = self.last.get((i, b))
        if op is None:
            op = last
        if op is None:
            return Expected(404)  # R-LAST-3
        asked, signals = None, []
        if op.goes_on and op.how == "polled":
            thing = self._thing(i, b)
            assert thing is not None, "what is in progress is there"
            asked = {"operation": f"{op.kind} {op.number}", "data": thing.data}
            match outcome:
                case "progress":
                    signals = ["operation_progressed"] if op.description != "Half of it" else []
                    op.description = "Half of it"
                case "ok":
                    op.description = "Done"
                    signals = self._succeed(i, b, op, thing)
                case "gone" if op.kind in DELETES:  # R-LAST-3
                    op.description = None
                    signals = self._succeed(i, b, op, thing)
                case "failed":
                    signals = self._fail(op, thing, "No room", usable=False)
                case "gone":
                    return Expected(404, handler=asked)
                case _:
                    return Expected(STATUS[outcome], handler=asked)
        return Expected(200, told(op), handler=asked, signals=signals)

    def step(self, i: str, b: str | None, op: Op, outcome: str) -> Expected:
        """A background operation is run by an executor. Its status is of no account."""
        thing = self._thing(i, b)
        assert thing is not None, "what is in progress is there"
        op.attempts += 1
        instance = self.instances[i]
        seen: dict[str, Any] = {"attempt": op.attempts}
        if op.kind != "provision":
            seen |= _at_hand(instance)
        if op.kind == "bind":
            seen |= {"asked": thing.parameters, "bindings": sorted(instance.bindings.keys() - {b})}
        if op.kind == "unbind":
            seen["binding"] = thing.data
        match outcome:
            case "retry":
                op.description = f"Waiting {op.attempts}"
                signals = ["operation_progressed"]
            case "accepted":
                signals = self._accept(op, thing)
            case "ok":
                signals = self._succeed(i, b, op, thing)
            case "gone" if op.kind in DELETES:
                signals = self._succeed(i, b, op, thing)
            case _:
                signals = self._fail(op, thing, SAID.get(outcome), usable=outcome != "fail")
        return Expected(0, handler=seen, signals=signals)

    # What comes of it

    def _unless_over(self, i: str, judge: Callable[[], Expected]) -> Expected:
        """Before anybody is told that the instance is busy with what goes on elsewhere, that is looked at."""
        expected, instance = judge(), self.instances.get(i)
        if not expected.is_busy or instance is None or instance.op.how != "polled":
            return expected
        op = instance.op
        looked = self.poll(i, None, op, self.look)
        if not op.goes_on:
            expected = judge()
        expected.looked = looked.handler
        return _after(looked.signals, expected)

    def _op(self, kind: str, plan: str, polls: bool) -> Op:
        self.number += 1
        return Op(kind, "background" if plan == BACK else "at once", plan, self.number)

    def _begin(
        self,
        i: str,
        b: str | None,
        op: Op,
        polls: bool,
        outcome: str,
        thing: Thing,
        seen: dict[str, Any],
        keep: Any = lambda: None,
    ) -> Expected:
        creates = op.kind in ("provision", "bind")
        before = thing.op
        if op.how == "background":
            keep()
            self._note(i, b, op, thing)
            return Expected(202, op=op, signals=["operation_started"])
        if outcome == "accepted" and not polls:
            outcome = "wrong"
        if outcome == "refuse" or (outcome == "gone" and op.kind not in DELETES):
            thing.op = before  # R-REQ-8
            return Expected(404 if outcome == "gone" else 400, handler=seen)
        keep()
        self._note(i, b, op, thing)
        match outcome:
            case "accepted":
                self._accept(op, thing)
                return Expected(202, op=op, url=thing.url, handler=seen, signals=["operation_started"])
            case "ok" | "exists":
                signals = self._succeed(i, b, op, thing)
                status = 201 if creates and outcome == "ok" else 200
                body: dict[str, Any] = {}
                if op.kind == "provision" or op.kind == "update":
                    body = {"dashboard_url": f"https://done.example.org/{op.number}"}
                if op.kind == "bind":
                    body = {"credentials": thing.credentials}
                if creates and outcome == "exists":
                    signals = []
                return Expected(status, body, handler=seen, signals=signals)
            case "gone":
                signals = self._succeed(i, b, op, thing)
                return Expected(410, handler=seen, signals=signals)
            case _:
                self._fail(op, thing, SAID.get(outcome), usable=outcome != "fail")
                return Expected(STATUS[outcome], handler=seen)

    def _accept(self, op: Op, thing: Thing) -> list[str]:
        """It goes on elsewhere."""
        op.how = "polled"
        if op.kind == "provision":
            thing.url = f"https://accepted.example.org/{op.number}"
        if op.kind in ("provision", "bind"):
            thing.data = {"accepted": op.number}
        return []

    def _note(self, i: str, b: str | None, op: Op, thing: Thing) -> None:
        thing.op = op
        self.last[i, b] = op
        self.operations.append((i, b, op))

    def _succeed(self, i: str, b: str | None, op: Op, thing: Thing) -> list[str]:
        op.state = "succeeded"
        if op.how == "background":
            op.description = None
        at_once = op.how != "polled"
        if op.kind == "deprovision":
            for name in thing.bindings:
                self.last.pop((i, name), None)  # R-LAST-3
            del self.instances[i]
        elif op.kind == "unbind":
            del self.instances[i].bindings[b or ""]
        else:
            thing.state = "ready"
            if op.wanted is not None:
                thing.plan, thing.parameters = op.wanted
            if at_once or op.kind == "bind":
                thing.data = {"done": op.number}
            if op.kind == "bind":
                thing.credentials = {"n": op.number}
            elif at_once:
                thing.url = f"https://done.example.org/{op.number}"
        return [DONE[op.kind]]

    def _fail(self, op: Op, thing: Thing, description: str | None, *, usable: bool) -> list[str]:
        op.state, op.description = "failed", description
        if not usable and op.kind in ("update", "deprovision"):  # R-ERR-2
            op.flags = {"instance_usable": False}
        if op.kind in ("provision", "bind"):
            thing.state = "failed"  # R-DEL-5
        return ["operation_failed"]

    def _halt(self, thing: Thing) -> list[str]:
        """R-DEL-3: end what is being made."""
        if not thing.op.goes_on:
            return []
        return self._fail(thing.op, thing, None, usable=True)

    def _thing(self, i: str, b: str | None) -> Thing | None:
        instance = self.instances.get(i)
        return instance if b is None or instance is None else instance.bindings.get(b)


def told(op: Op) -> dict[str, Any]:
    """The body of a poll; a description that is nobody's wording but the broker's is left out."""
    body: dict[str, Any] = {"state": op.state, **op.flags}
    if op.description is not None:
        body["description"] = op.description
    return body


def _at_hand(instance: Thing) -> dict[str, Any]:
    return {
        "plan": instance.plan,
        "parameters": instance.parameters,
        "data": instance.data,
        "bindings": sorted(instance.bindings),
    }


def _url(instance: Thing) -> dict[str, Any]:
    return {} if instance.url is None else {"dashboard_url": instance.url}


def _is_busy(instance: Thing) -> bool:
    return any(binding.op.goes_on for binding in instance.bindings.values())


def _after(halted: list[str], expected: Expected) -> Expected:
    expected.signals = [*halted, *expected.signals]
    return expected
