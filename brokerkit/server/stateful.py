"""Who answers a request in a broker with a store: its memory, and the handler for what is new."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from msgspec.structs import replace

from .._context import update_context
from ..background.runtime import Runtime
from ..catalog.models import ServiceOffering, ServicePlan
from ..errors import AsyncRequired, BadRequest, BrokerError, ConcurrencyError, HandlerMistake
from ..handlers.group import Handler
from ..handlers.invocation import call_handler
from ..handlers.table import HandlerTable
from ..lifecycle.conversion import (
    dump_request,
    dump_request_summary,
    load_request,
    resolve_plan,
    service_binding,
    service_instance,
)
from ..lifecycle.events import OperationRef
from ..lifecycle.policy import (
    DEFAULT_DEADLINE,
    Decision,
    ResourceStatus,
    decide,
    is_identical_binding,
    is_identical_instance,
    is_identical_update,
    requested_binding,
    requested_instance,
    resource_status,
    updated_instance,
)
from ..lifecycle.responses import refusal, replayed_acceptance, stored_response
from ..protocol.encoding import EncodedResponse, encode_result
from ..protocol.validation import check_bind, check_provision, check_update
from ..requests import BindRequest, InstanceRequest, Operation, ProvisionRequest, UpdateRequest
from ..results import Accepted
from ..store.models import (
    BindingRecord,
    InstanceRecord,
    Mode,
    NewOperation,
    OperationRecord,
    Outcome,
    Progress,
    Snapshot,
    State,
    new_operation_id,
)
from .dispatch import missing_handler_error
from .inline import ClaimedRequest, run_inline
from .polling import poll, poll_quiet_operation

_PATIENCE = 20.0
"""For how many seconds a delete whose platform cannot poll waits for what it halted."""

_TRIES = 100
"""How often a request looks anew when others were quicker."""

CANCELLED = Outcome(description="It was to be deleted before it was done.", cancelled=True)


class StatefulDispatch:
    """Answers from memory what it can, and lets only what is new reach a handler.

    Args:
        running: The work of this process.
    """

    def __init__(self, running: Runtime) -> None:
        self._runtime = running
        self._store = running.store
        self._ways: dict[Operation, Callable[[HandlerTable, Any], tuple[object, EncodedResponse]]] = {
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

    def ensure_started(self) -> None:
        """As `Dispatch.ensure_started`."""
        self._runtime.ensure_started()

    def serve(
        self, table: HandlerTable, operation: Operation, request: Any
    ) -> tuple[object, EncodedResponse]:
        """As `Dispatch.serve`."""
        self._runtime.ensure_started()
        return self._ways[operation](table, request)

    # What changes something

    def _provision(self, table: HandlerTable, request: ProvisionRequest) -> tuple[object, EncodedResponse]:
        known, looked = Snapshot(), False  # most are new
        for _ in range(_TRIES):
            verdict = decide(Operation.PROVISION, known, same=is_identical_instance(known.instance, request))
            if verdict is not Decision.CALL_HANDLER:
                return self._from_memory(verdict, Operation.PROVISION, request, known)
            try:
                check_provision(table.catalog, request)
                handler, mode = _handler(table, Operation.PROVISION, request)
            except BrokerError:
                if looked:
                    raise
            else:
                new = self._new(Operation.PROVISION, mode, request)
                if self._store.claim_new_instance(new, requested_instance(request)):
                    return self._begin(table, handler, new, request, Snapshot())
            known, looked = self._store.find(request.instance_id), True
        raise ConcurrencyError

    def _update(self, table: HandlerTable, request: UpdateRequest) -> tuple[object, EncodedResponse]:
        for _ in range(_TRIES):
            known = self._store.find(request.instance_id)
            instance = known.instance
            if instance is None or instance.state is State.DELETED:
                raise refusal(Decision.NOT_FOUND, request, known)
            _check_service(instance, request.offering)
            stored = table.catalog.find_plan(instance.plan_id)
            plan = request.plan if request.body.get("plan_id") is not None else None
            if plan is None:
                _, plan = resolve_plan(table.catalog, instance.service_id, instance.plan_id)
            asked = replace(
                request,
                plan=plan,
                instance=service_instance(self._store, table.catalog, instance),
                previous_values=replace(request.previous_values, plan_id=instance.plan_id),
            )
            verdict = decide(Operation.UPDATE, known, same=self._is_same(table, instance, asked, plan))
            if verdict in (Decision.CALL_HANDLER, Decision.REPLAY_RESULT):
                check_update(table.catalog, asked, stored[1] if stored else None)
            if self._moved_on(verdict, table, request, known):
                continue
            if verdict is not Decision.CALL_HANDLER:
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
            return is_identical_update(wanted, (instance.plan_id, instance.attributes))
        if operation.kind is not Operation.UPDATE:
            return False
        before = load_request(self._store, table.catalog, operation, instance, None)
        assert isinstance(before, UpdateRequest), "an update's"
        _, leads_to = resolve_plan(table.catalog, operation.service_id, operation.plan_id)
        return is_identical_update(wanted, (leads_to.id, updated_instance(instance, before, leads_to)))

    def _bind(self, table: HandlerTable, request: BindRequest) -> tuple[object, EncodedResponse]:
        for _ in range(_TRIES):
            known = self._store.find(request.instance_id, request.binding_id)
            verdict = decide(Operation.BIND, known, same=is_identical_binding(known, request))
            if self._moved_on(verdict, table, request, known):
                continue
            if verdict is not Decision.CALL_HANDLER:
                return self._from_memory(verdict, Operation.BIND, request, known)
            instance = known.instance
            assert instance is not None, "a binding of nothing is refused"
            _check_service(instance, request.offering)
            _check_nobody_works(instance.operation, known.now)
            attributes = requested_binding(request, self._predecessor(request))
            service, plan = resolve_plan(table.catalog, instance.service_id, instance.plan_id)
            asked = replace(
                request,
                offering=service,
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
        if found is None or resource_status(found) is not ResourceStatus.READY:
            raise BadRequest("predecessor_binding_id: the instance has no such binding")
        expires_at = made.metadata.expires_at if made and made.metadata else None
        if expires_at is not None and expires_at.timestamp() <= known.now:
            raise BadRequest("predecessor_binding_id: that binding has expired")
        return found

    def _delete(self, table: HandlerTable, request: Any) -> tuple[object, EncodedResponse]:
        """Deprovision or unbind. Of what is being made, the making is ended first (R-DEL-3)."""
        binding_id: str | None = getattr(request, "binding_id", None)
        operation = Operation.DEPROVISION if binding_id is None else Operation.UNBIND
        until: float | None = None
        for _ in range(_TRIES):
            known = self._store.find(request.instance_id, binding_id)
            verdict = decide(operation, known)
            if self._moved_on(verdict, table, request, known):
                continue
            if verdict not in (Decision.CALL_HANDLER, Decision.CANCEL):
                return self._from_memory(verdict, operation, request, known)
            instance, binding = known.instance, known.binding
            assert instance is not None, "what is not there is gone"
            _check_service(instance, request.offering)
            if binding is not None:
                _check_nobody_works(instance.operation, known.now)
            asked = self._as_stored(table, request, instance, binding)
            handler, mode = _handler(table, operation, asked)
            subject = binding or instance
            last = subject.operation
            if verdict is Decision.CANCEL:
                assert last is not None, "something is being made"
                self._runtime.fail_operation(last, CANCELLED, self._store.abandon)
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
        known = table.catalog.find_plan(instance.plan_id)
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
        if now >= until or self._runtime.stopping.is_set():
            late = BrokerError("It is still being stopped; try again in a while.", status=503)
            late.headers = (("Retry-After", "10"),)
            raise late
        self._runtime.stopping.wait(0.05)
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
            service_id=request.offering.id,
            plan_id=request.plan.id,
            deadline=float(request.plan.maximum_polling_duration or DEFAULT_DEADLINE),
            request=dump_request(request) if whole else dump_request_summary(request),
            follows=follows.id if follows else None,
            wait=wait,
        )

    def _begin(
        self, table: HandlerTable, handler: Handler, new: NewOperation, request: Any, known: Snapshot
    ) -> tuple[object, EncodedResponse]:
        """What was claimed is done now, or handed to the executor."""
        update_context(request, new.id)
        if new.mode is Mode.INLINE:
            subject = known.instance if new.binding_id is None else known.binding
            previous = subject.operation.id if subject and subject.operation else None
            claimed = ClaimedRequest(new.attempt(), request, known.instance, known.binding, previous)
            return run_inline(self._runtime, table, handler, claimed)
        accepted = Accepted(operation=new.id)
        self._runtime.publisher.accepted(
            OperationRef.now(new.id, new.kind, attempt=0), request, accepted, 0.0
        )
        self._runtime.submit(new.id, new.wait)
        return accepted, _encoded(new.kind, accepted, request)

    # What is known

    def _from_memory(
        self, verdict: Decision, operation: Operation, request: Any, known: Snapshot
    ) -> tuple[object, EncodedResponse]:
        if verdict is Decision.REPLAY_RESULT:
            result = stored_response(operation, known)
            return result, _encoded(operation, result, request)
        if verdict is Decision.REPLAY_ACCEPTED and request.accepts_incomplete:
            instance = known.instance
            subject = instance if getattr(request, "binding_id", None) is None else known.binding
            assert instance is not None, "something is in progress"
            assert subject is not None, "something is in progress"
            assert subject.operation is not None, "something is in progress"
            if not _comes_to_nothing(operation, subject.operation, request):
                update_context(request, subject.operation.id)
                outcome = self._store.outcome_of(subject.operation)
                accepted = replayed_acceptance(subject.operation, outcome, instance)
                return accepted, _encoded(operation, accepted, request)
        raise refusal(Decision.BUSY if verdict is Decision.REPLAY_ACCEPTED else verdict, request, known)

    def _moved_on(self, verdict: Decision, table: HandlerTable, request: Any, known: Snapshot) -> bool:
        """Has the work elsewhere ended that keeps a request off, and whose platform never asked?"""
        if verdict is not Decision.BUSY or known.instance is None:
            return False
        return poll_quiet_operation(self._runtime, table, request, known.instance, known.now)

    def _fetch(self, table: HandlerTable, request: Any) -> tuple[object, EncodedResponse]:
        """A fetch: the handler's answer where there is a handler, else what is stored (R-GETI, R-GETB)."""
        binding_id: str | None = getattr(request, "binding_id", None)
        operation = Operation.GET_INSTANCE if binding_id is None else Operation.GET_BINDING
        known = self._store.find(request.instance_id, binding_id)
        verdict = decide(operation, known)
        if verdict is not Decision.REPLAY_RESULT:
            raise refusal(verdict, request, known)
        instance, binding = known.instance, known.binding
        assert instance is not None, "it is there"
        service, plan = resolve_plan(table.catalog, instance.service_id, instance.plan_id)
        if not (service.instances_retrievable if binding is None else service.bindings_retrievable):
            raise missing_handler_error(operation)
        handlers = table.handlers_for(operation, service, plan)
        asked = replace(self._as_stored(table, request, instance, binding), offering=service, plan=plan)
        update_context(asked)
        result = call_handler(handlers[0], asked)[1] if handlers else stored_response(operation, known)
        try:
            return result, _encoded(operation, result, asked)
        except HandlerMistake as mistake:
            whose = f"{handlers[0]} " if handlers else ""
            raise HandlerMistake(f"{whose}{mistake}") from None

    def _poll(self, table: HandlerTable, request: Any) -> tuple[object, EncodedResponse]:
        return poll(self._runtime, table, request)


def _handler(table: HandlerTable, operation: Operation, request: Any) -> tuple[Handler, Mode]:
    """The handler of a request, and how it works.

    Raises:
        AsyncRequired: It works in the background, and the platform cannot poll (R-PROV-7).
    """
    handlers = table.handlers_for(operation, request.offering, request.plan)
    if not handlers:
        raise missing_handler_error(operation)
    handler = handlers[0]
    if not handler.background:
        return handler, Mode.INLINE
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
    is_bind = operation is Operation.BIND and running.mode is Mode.INLINE
    return is_bind and not request.offering.bindings_retrievable


def _encoded(operation: Operation, result: Any, request: InstanceRequest) -> EncodedResponse:
    service = request.offering  # type: ignore[attr-defined]
    return encode_result(operation, result, offering=service, accepts_incomplete=True)
