"""Who answers a request in a broker with a store: its memory, and the handler for what is new."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from msgspec.structs import replace

from .._context import know
from ..background.runtime import Running
from ..catalog.models import ServiceOffering, ServicePlan
from ..errors import AsyncRequired, BadRequest, BrokerError, ConcurrencyError, HandlerMistake
from ..handlers.group import Handler
from ..handlers.invocation import call
from ..handlers.table import HandlerTable
from ..lifecycle.conversion import (
    kept,
    kept_briefly,
    offered,
    request_again,
    service_binding,
    service_instance,
)
from ..lifecycle.events import Asked
from ..lifecycle.policy import (
    DEFAULT_DEADLINE,
    Standing,
    Verdict,
    is_same_binding,
    is_same_instance,
    is_same_update,
    judge,
    standing,
    updated_instance,
    wanted_binding,
    wanted_instance,
)
from ..lifecycle.responses import accepted_again, as_it_is, refusal
from ..protocol.encoding import Answer, encode_result
from ..protocol.validation import check_bind, check_provision, check_update
from ..requests import BindRequest, InstanceRequest, Operation, ProvisionRequest, UpdateRequest
from ..results import Accepted
from ..store.models import (
    BindingRecord,
    InstanceRecord,
    Known,
    Mode,
    NewOperation,
    OperationRecord,
    Outcome,
    Progress,
    State,
    new_operation_id,
)
from .dispatch import unserved
from .inline import Claimed, run_at_once
from .polling import look, poll

_PATIENCE = 20.0
"""For how many seconds a delete whose platform cannot poll waits for what it halted."""

_TRIES = 100
"""How often a request looks anew when others were quicker."""

HALTED = Outcome(description="It was to be deleted before it was done.", halted=True)


class Managed:
    """Answers from memory what it can, and lets only what is new reach a handler.

    Args:
        running: The work of this process.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._store = running.store
        self._ways: dict[Operation, Callable[[HandlerTable, Any], tuple[object, Answer]]] = {
            Operation.PROVISION: self._provision,
            Operation.UPDATE: self._update,
            Operation.DEPROVISION: self._delete,
            Operation.BIND: self._bind,
            Operation.UNBIND: self._delete,
            Operation.GET_INSTANCE: self._fetch,
            Operation.GET_BINDING: self._fetch,
            Operation.LAST_OPERATION: self._poll,
            Operation.LAST_BINDING_OPERATION: self._poll,
        }

    def get_ready(self) -> None:
        """As `Dispatch.get_ready`."""
        self._running.ensure_started()

    def serve(self, table: HandlerTable, operation: Operation, request: Any) -> tuple[object, Answer]:
        """As `Dispatch.serve`."""
        self._running.ensure_started()
        return self._ways[operation](table, request)

    # What changes something

    def _provision(self, table: HandlerTable, request: ProvisionRequest) -> tuple[object, Answer]:
        known, looked = Known(), False  # most are new
        for _ in range(_TRIES):
            verdict = judge(Operation.PROVISION, known, same=is_same_instance(known.instance, request))
            if verdict is not Verdict.ASK:
                return self._from_memory(verdict, Operation.PROVISION, request, known)
            try:
                check_provision(table.catalog, request)
                handler, mode = _handler(table, Operation.PROVISION, request)
            except BrokerError:
                if looked:
                    raise
            else:
                new = self._new(Operation.PROVISION, mode, request)
                if self._store.claim_new_instance(new, wanted_instance(request)):
                    return self._begin(table, handler, new, request, Known())
            known, looked = self._store.find(request.instance_id), True
        raise ConcurrencyError

    def _update(self, table: HandlerTable, request: UpdateRequest) -> tuple[object, Answer]:
        for _ in range(_TRIES):
            known = self._store.find(request.instance_id)
            instance = known.instance
            if instance is None or instance.state is State.DELETED:
                raise refusal(Verdict.GONE, request, known)
            _check_service(instance, request.service)
            stored = table.catalog.offered(instance.plan_id)
            plan = request.plan if request.body.get("plan_id") is not None else None
            if plan is None:
                _, plan = offered(table.catalog, instance.service_id, instance.plan_id)
            asked = replace(
                request,
                plan=plan,
                instance=service_instance(self._store, table.catalog, instance),
                previous_values=replace(request.previous_values, plan_id=instance.plan_id),
            )
            verdict = judge(Operation.UPDATE, known, same=self._is_same(table, instance, asked, plan))
            if verdict in (Verdict.ASK, Verdict.TELL):
                check_update(table.catalog, asked, stored[1] if stored else None)
            if self._moved_on(verdict, table, request, known):
                continue
            if verdict is not Verdict.ASK:
                return self._from_memory(verdict, Operation.UPDATE, request, known)
            _check_nobody_works(instance.operation, known.now)
            handler, mode = _handler(table, Operation.UPDATE, asked)
            new = self._new(Operation.UPDATE, mode, asked)
            if self._store.claim_instance(new, instance):
                return self._begin(table, handler, new, asked, known)
        raise ConcurrencyError

    def _is_same(
        self, table: HandlerTable, instance: InstanceRecord, asked: UpdateRequest, plan: ServicePlan
    ) -> bool:
        """Is it what the instance is already, or what the update in progress leads to?"""
        wanted = (plan.id, updated_instance(instance, asked, plan))
        operation = instance.operation
        if operation is None or operation.state is not Progress.IN_PROGRESS:
            return is_same_update(wanted, (instance.plan_id, instance.attributes))
        if operation.kind is not Operation.UPDATE:
            return False
        before = request_again(self._store, table.catalog, operation, instance, None)
        assert isinstance(before, UpdateRequest), "an update's"
        _, leads_to = offered(table.catalog, operation.service_id, operation.plan_id)
        return is_same_update(wanted, (leads_to.id, updated_instance(instance, before, leads_to)))

    def _bind(self, table: HandlerTable, request: BindRequest) -> tuple[object, Answer]:
        for _ in range(_TRIES):
            known = self._store.find(request.instance_id, request.binding_id)
            verdict = judge(Operation.BIND, known, same=is_same_binding(known, request))
            if self._moved_on(verdict, table, request, known):
                continue
            if verdict is not Verdict.ASK:
                return self._from_memory(verdict, Operation.BIND, request, known)
            instance = known.instance
            assert instance is not None, "a binding of nothing is refused"
            _check_service(instance, request.service)
            _check_nobody_works(instance.operation, known.now)
            attributes = wanted_binding(request, self._predecessor(request))
            service, plan = offered(table.catalog, instance.service_id, instance.plan_id)
            asked = replace(
                request,
                service=service,
                plan=plan,
                parameters=attributes.parameters,
                instance=service_instance(self._store, table.catalog, instance),
            )
            check_bind(table.catalog, asked)
            handler, mode = _handler(table, Operation.BIND, asked)
            new = self._new(Operation.BIND, mode, asked)
            if self._store.claim_new_binding(new, instance, attributes):
                return self._begin(table, handler, new, asked, known)
        raise ConcurrencyError

    def _predecessor(self, request: BindRequest) -> BindingRecord | None:
        """The binding that is to be followed: one of the same instance, that is good still (R-BIND-6)."""
        if request.predecessor is None:
            return None
        known = self._store.find(request.instance_id, request.predecessor)
        found = known.binding
        made = found.result.binding if found else None
        if found is None or standing(found) is not Standing.READY:
            raise BadRequest("predecessor_binding_id: the instance has no such binding")
        expires_at = made.metadata.expires_at if made and made.metadata else None
        if expires_at is not None and expires_at.timestamp() <= known.now:
            raise BadRequest("predecessor_binding_id: that binding has expired")
        return found

    def _delete(self, table: HandlerTable, request: Any) -> tuple[object, Answer]:
        """Deprovision or unbind. Of what is being made, the making is ended first (R-DEL-3)."""
        binding_id: str | None = getattr(request, "binding_id", None)
        operation = Operation.DEPROVISION if binding_id is None else Operation.UNBIND
        until: float | None = None
        for _ in range(_TRIES):
            known = self._store.find(request.instance_id, binding_id)
            verdict = judge(operation, known)
            if self._moved_on(verdict, table, request, known):
                continue
            if verdict not in (Verdict.ASK, Verdict.HALT):
                return self._from_memory(verdict, operation, request, known)
            instance, binding = known.instance, known.binding
            assert instance is not None, "what is not there is gone"
            _check_service(instance, request.service)
            if binding is not None:
                _check_nobody_works(instance.operation, known.now)
            asked = self._as_stored(table, request, instance, binding)
            handler, mode = _handler(table, operation, asked)
            subject = binding or instance
            last = subject.operation
            if verdict is Verdict.HALT:
                assert last is not None, "something is being made"
                self._running.give_up(last, HALTED, self._store.abandon)
                continue
            follows = None
            if last is not None and last.is_running_at(known.now):
                if not request.accepts_incomplete:
                    until = self._wait(until)
                    continue
                mode, follows = Mode.BACKGROUND, last
            new = self._new(operation, mode, asked, follows=follows, now=known.now)
            if (
                self._store.claim_instance(new, instance)
                if binding is None
                else self._store.claim_binding(new, instance, binding)
            ):
                return self._begin(table, handler, new, asked, known)
        raise ConcurrencyError

    def _as_stored(
        self,
        table: HandlerTable,
        request: Any,
        instance: InstanceRecord,
        binding: BindingRecord | None,
    ) -> Any:
        """The request with the plan that the store knows, as a platform may not know how an update ended."""
        known = table.catalog.offered(instance.plan_id)
        told: dict[str, Any] = {"instance": service_instance(self._store, table.catalog, instance)}
        if known is not None:
            told["plan"] = known[1]
        if binding is not None:
            told["binding"] = service_binding(binding)
        return replace(request, **told)

    def _wait(self, until: float | None) -> float:
        """Wait a moment for who works on what is to be deleted, but not for ever."""
        now = monotonic()
        until = now + _PATIENCE if until is None else until
        if now >= until or self._running.stopping.is_set():
            late = BrokerError("It is still being stopped; try again in a while.", status=503)
            late.headers = (("Retry-After", "10"),)
            raise late
        self._running.stopping.wait(0.05)
        return until

    # What begins

    def _new(
        self,
        operation: Operation,
        mode: Mode,
        request: Any,
        *,
        follows: OperationRecord | None = None,
        now: float = 0.0,
    ) -> NewOperation:
        # What is worked on later, or repeated by a platform, needs all of its request.
        whole = mode is Mode.BACKGROUND or operation is Operation.UPDATE
        wait = 0.0
        if follows is not None and follows.lease_until is not None:
            wait = max(0.0, follows.lease_until - now)
        return NewOperation(
            id=new_operation_id(),
            kind=operation,
            mode=mode,
            instance_id=request.instance_id,
            binding_id=getattr(request, "binding_id", None),
            service_id=request.service.id,
            plan_id=request.plan.id,
            deadline=float(request.plan.maximum_polling_duration or DEFAULT_DEADLINE),
            request=kept(request) if whole else kept_briefly(request),
            follows=follows.id if follows else None,
            wait=wait,
        )

    def _begin(
        self, table: HandlerTable, handler: Handler, new: NewOperation, request: Any, known: Known
    ) -> tuple[object, Answer]:
        """What was claimed is done now, or handed to the executor."""
        know(request, new.id)
        if new.mode is Mode.AT_ONCE:
            subject = known.instance if new.binding_id is None else known.binding
            previous = subject.operation.id if subject and subject.operation else None
            claimed = Claimed(new.attempt(), request, known.instance, known.binding, previous)
            return run_at_once(self._running, table, handler, claimed)
        accepted = Accepted(operation=new.id)
        self._running.teller.accepted(Asked.now(new.id, new.kind, attempt=0), request, accepted, 0.0)
        self._running.submit(new.id, new.wait)
        return accepted, _encoded(new.kind, accepted, request)

    # What is known

    def _from_memory(
        self, verdict: Verdict, operation: Operation, request: Any, known: Known
    ) -> tuple[object, Answer]:
        if verdict is Verdict.TELL:
            result = as_it_is(operation, known)
            return result, _encoded(operation, result, request)
        if verdict is Verdict.REPEAT and request.accepts_incomplete:
            instance = known.instance
            subject = instance if getattr(request, "binding_id", None) is None else known.binding
            assert instance is not None, "something is in progress"
            assert subject is not None, "something is in progress"
            assert subject.operation is not None, "something is in progress"
            if not _comes_to_nothing(operation, subject.operation, request):
                know(request, subject.operation.id)
                outcome = self._store.outcome_of(subject.operation)
                accepted = accepted_again(subject.operation, outcome, instance)
                return accepted, _encoded(operation, accepted, request)
        raise refusal(Verdict.BUSY if verdict is Verdict.REPEAT else verdict, request, known)

    def _moved_on(self, verdict: Verdict, table: HandlerTable, request: Any, known: Known) -> bool:
        """Has the work elsewhere ended that keeps a request off, and whose platform never asked?"""
        if verdict is not Verdict.BUSY or known.instance is None:
            return False
        return look(self._running, table, request, known.instance, known.now)

    def _fetch(self, table: HandlerTable, request: Any) -> tuple[object, Answer]:
        """A fetch: the handler's answer where there is a handler, else what is stored (R-GETI, R-GETB)."""
        binding_id: str | None = getattr(request, "binding_id", None)
        operation = Operation.GET_INSTANCE if binding_id is None else Operation.GET_BINDING
        known = self._store.find(request.instance_id, binding_id)
        verdict = judge(operation, known)
        if verdict is not Verdict.TELL:
            raise refusal(verdict, request, known)
        instance, binding = known.instance, known.binding
        assert instance is not None, "it is there"
        service, plan = offered(table.catalog, instance.service_id, instance.plan_id)
        if not (service.instances_retrievable if binding is None else service.bindings_retrievable):
            raise unserved(operation)
        handlers = table.serving(operation, service, plan)
        asked = replace(self._as_stored(table, request, instance, binding), service=service, plan=plan)
        know(asked)
        result = call(handlers[0], asked)[1] if handlers else as_it_is(operation, known)
        try:
            return result, _encoded(operation, result, asked)
        except HandlerMistake as mistake:
            whose = f"{handlers[0]} " if handlers else ""
            raise HandlerMistake(f"{whose}{mistake}") from None

    def _poll(self, table: HandlerTable, request: Any) -> tuple[object, Answer]:
        return poll(self._running, table, request)


def _handler(table: HandlerTable, operation: Operation, request: Any) -> tuple[Handler, Mode]:
    """The handler of a request, and how it works.

    Raises:
        AsyncRequired: It works in the background, and the platform cannot poll (R-PROV-7).
    """
    handlers = table.serving(operation, request.service, request.plan)
    if not handlers:
        raise unserved(operation)
    handler = handlers[0]
    if not handler.background:
        return handler, Mode.AT_ONCE
    if not request.accepts_incomplete:
        raise AsyncRequired
    return handler, Mode.BACKGROUND


def _check_service(instance: InstanceRecord, service: ServiceOffering) -> None:
    if instance.service_id != service.id:
        raise BadRequest("service_id: the instance is of another service offering")


def _check_nobody_works(operation: OperationRecord | None, now: float) -> None:
    """What was given up may be worked on for a while still, and never do two work at a time."""
    if operation is not None and operation.state is not Progress.IN_PROGRESS and operation.is_running_at(now):
        raise ConcurrencyError


def _comes_to_nothing(operation: Operation, running: OperationRecord, request: Any) -> bool:
    """Would a platform that is told to poll never get its credentials, which the first request is to get?"""
    is_bind = operation is Operation.BIND and running.mode is Mode.AT_ONCE
    return is_bind and not request.service.bindings_retrievable


def _encoded(operation: Operation, result: Any, request: InstanceRequest) -> Answer:
    service = request.service  # type: ignore[attr-defined]
    return encode_result(operation, result, service=service, accepts_incomplete=True)
