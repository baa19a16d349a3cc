"""The handlers of the simulation: they take virtual time, and change the world."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from brokerkit import Accepted, Binding, Broker, BrokerError, LastOperation, Provisioned, Retry
from brokerkit._context import CURRENT_CALL

from .clock import VirtualClock
from .schedule import CHANGES
from .world import Call

if TYPE_CHECKING:
    from .run import Simulation


class Handlers:
    """Handlers for one operation.

    Args:
        kind: The operation.
        is_background: Whether they run in the background.
        clock: The clock, which knows the current run.
    """

    def __init__(self, kind: str, is_background: bool, clock: VirtualClock) -> None:
        self._kind = kind
        self._is_background = is_background
        self._clock = clock

    def handle(self, request: Any) -> Any:
        """Handle a request. The schedule determines the duration and the way."""
        run = self._clock.simulation
        assert run is not None, "requests are sent in a run"
        spec = run.stage.me.request
        is_long = spec is not None and spec.long
        work = self._work(run, request, spec.seconds if spec else 1.0, is_long)
        if self._is_background and is_long:
            return work
        try:
            while True:
                next(work)
        except StopIteration as end:
            return end.value
        finally:
            work.close()

    def _work(
        self, run: Simulation, request: Any, seconds: float, is_long: bool
    ) -> Generator[str | None, None, Any]:
        """Do the work in two halves, with the change of the world between them."""
        stage, world = run.stage, run.world
        call = Call(
            self._kind,
            request.instance_id,
            getattr(request, "binding_id", None),
            _operation_id(),
            stage.me,
        )
        is_outside = is_long and not self._is_background and request.accepts_incomplete
        half = 0.0 if is_outside else seconds / 2
        stage.log(f"handler of {self._kind} begins ({call.operation})")
        world.enter(call)
        try:
            self._step(run)
            stage.sleep(half)
            self._step(run)
            yield "half"
            token = self._change(run, call, request)
            self._step(run, "changed")
            stage.sleep(half)
            self._step(run, "changed")
            yield None
            if is_outside:
                run.outside[call.operation] = (self._kind, stage.now + seconds)
            result = self._result(request, token, is_outside, call.operation)
            run.delivered(call)
            stage.log(f"handler of {self._kind} ends")
            return result
        finally:
            world.leave(call)

    def _step(self, run: Simulation, kind: str = "step") -> None:
        """Pass a point at which the handler may raise."""
        fault = run.stage.point(kind)
        if fault is None or fault.action not in ("error", "refuse", "Retry"):
            return
        run.stage.me.has_raised = True
        if fault.action == "Retry" and self._is_background:
            raise Retry(after=max(fault.seconds, 0.5))
        raise BrokerError("injected", status=400 if fault.action == "refuse" else 500)

    def _change(self, run: Simulation, call: Call, request: Any) -> str | None:
        if self._kind in ("provision", "bind"):
            return run.world.make(call).token
        if self._kind in ("deprovision", "unbind"):
            subject = request.instance if call.binding is None else request.binding
            token = subject.data.get("token") if subject is not None else None
            run.world.receive(call, token)
            run.world.remove(call)
        return None

    def _result(self, request: Any, token: str | None, is_outside: bool, operation: str) -> Any:
        data = {"token": token}
        if is_outside:
            return Accepted(operation=operation, data=data if token else None)
        if self._kind == "provision":
            return Provisioned(dashboard_url=f"https://world/{token}", data=data)
        if self._kind == "bind":
            return Binding(credentials=data, data=data)
        return None


def _operation_id() -> str:
    call = CURRENT_CALL.get()
    assert call is not None, "handlers are called in a call"
    return str(call.operation_id)


def _poll(clock: VirtualClock) -> Any:
    def poll(request: Any) -> LastOperation:
        run = clock.simulation
        assert run is not None, "requests are sent in a run"
        run.stage.point("step")
        kind, ends = run.outside[request.operation]
        if run.stage.now < ends:
            return LastOperation.in_progress()
        thing = run.world.things.get((request.instance_id, getattr(request, "binding_id", None)))
        token = thing.token if thing is not None and thing.operation == request.operation else None
        if kind == "bind":
            if token is None:  # it was deleted during the poll
                return LastOperation.failed()
            return LastOperation.succeeded(
                result=Binding(credentials={"token": token}, data={"token": token})
            )
        return LastOperation.succeeded()

    return poll


def register(broker: Broker, background: frozenset[str], clock: VirtualClock) -> None:
    """Register handlers for all operations.

    Args:
        broker: The broker.
        background: The operations with background handlers.
        clock: The clock, which knows the current run.
    """
    for kind in CHANGES:
        is_background = kind in background
        decorate = getattr(broker, kind)
        decorate = decorate(plan="plan", background=True) if is_background else decorate(plan="plan")
        decorate(Handlers(kind, is_background, clock).handle)
    broker.last_operation(plan="plan")(_poll(clock))
    broker.last_binding_operation(plan="plan")(_poll(clock))
