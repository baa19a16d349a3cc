"""The dispatch of requests in a broker with a store: stored responses, or handler calls."""

from __future__ import annotations

from collections.abc import Callable
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
)
from .dispatch import missing_handler_error
from .inline import ClaimedRequest, run_inline
from .polling import poll, poll_quiet_operations

_PATIENCE = 20.0
"""The maximum seconds that a synchronous delete waits for the attempt that it cancelled."""

_MAX_CLAIMS = 100
"""The maximum number of times that a request tries to claim its operation, after concurrent changes."""

CANCELLED = Outcome(description="The resource was deleted before the operation finished.", cancelled=True)


class StatefulDispatch:
    """The dispatch of a broker with a store. It responds from the store if possible, or calls a handler.

    Args:
        runtime: The background work of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._endpoints: dict[Operation, Callable[[HandlerTable, Any], tuple[object, EncodedResponse]]] = {
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
        """Implement `Dispatch.ensure_started`."""
        self._runtime.ensure_started()

    def serve(
        self, table: HandlerTable, operation: Operation, request: Any
    ) -> tuple[object, EncodedResponse]:
        """Implement `Dispatch.serve`."""
        self._runtime.ensure_started()
        return self._endpoints[operation](table, request)

    # Changes

    def _provision(self, table: HandlerTable, request: ProvisionRequest) -> tuple[object, EncodedResponse]:
        # Most provisions are new, so try the first claim without reading the store.
        snapshot, is_loaded = Snapshot(), False
        for _ in range(_MAX_CLAIMS):
            identical = is_identical_instance(snapshot.instance, request)
            decision = decide(Operation.PROVISION, snapshot, identical=identical)
            if decision is not Decision.CALL_HANDLER:
                return self._replay_or_refuse(decision, Operation.PROVISION, request, snapshot)
            try:
                check_provision(table.catalog, request)
                handler, mode = _handler(table, Operation.PROVISION, request)
            except BrokerError:
                if is_loaded:
                    raise
            else:
                new = self._new(Operation.PROVISION, mode, request)
                if self._store.claim_new_instance(new, requested_instance(request)):
                    return self._begin(table, handler, new, request, Snapshot())
            snapshot, is_loaded = self._store.find(request.instance_id), True
        raise ConcurrencyError

    def _update(self, table: HandlerTable, request: UpdateRequest) -> tuple[object, EncodedResponse]:
        for _ in range(_MAX_CLAIMS):
            snapshot = self._store.find(request.instance_id)
            instance = snapshot.instance
            if instance is None or instance.state is State.DELETED:
                raise refusal(Decision.NOT_FOUND, request, snapshot)
            _check_offering(instance, request.offering)
            stored = table.catalog.find_plan(instance.plan_id)
            plan = request.plan if request.body.get("plan_id") is not None else None
            if plan is None:
                _, plan = resolve_plan(table.catalog, instance.service_id, instance.plan_id)
            resolved = replace(
                request,
                plan=plan,
                instance=service_instance(self._store, table.catalog, instance),
                previous_values=replace(request.previous_values, plan_id=instance.plan_id),
            )
            identical = self._is_identical_update(table, instance, resolved, plan)
            decision = decide(Operation.UPDATE, snapshot, identical=identical)
            if decision in (Decision.CALL_HANDLER, Decision.REPLAY_RESULT):
                check_update(table.catalog, resolved, stored[1] if stored else None)
            if self._poll_if_busy(decision, table, request, snapshot):
                continue
            if decision is not Decision.CALL_HANDLER:
                return self._replay_or_refuse(decision, Operation.UPDATE, request, snapshot)
            _check_no_attempt_runs(instance.operation)
            handler, mode = _handler(table, Operation.UPDATE, resolved)
            new = self._new(Operation.UPDATE, mode, resolved)
            if self._store.claim_instance(new, instance):
                return self._begin(table, handler, new, resolved, snapshot)
        raise ConcurrencyError

    def _is_identical_update(
        self, table: HandlerTable, instance: InstanceRecord, request: UpdateRequest, plan: ServicePlan
    ) -> bool:
        """Whether an update leads to the current state, or to the same state as the update in progress."""
        requested = (plan.id, updated_instance(instance, request, plan))
        operation = instance.operation
        if operation is None or operation.state is not Progress.IN_PROGRESS:
            return is_identical_update(requested, (instance.plan_id, instance.attributes))
        if operation.kind is not Operation.UPDATE:
            return False
        running = load_request(self._store, table.catalog, operation, instance, None)
        assert isinstance(running, UpdateRequest), "the operation is an update"
        _, target_plan = resolve_plan(table.catalog, operation.service_id, operation.plan_id)
        return is_identical_update(
            requested, (target_plan.id, updated_instance(instance, running, target_plan))
        )

    def _bind(self, table: HandlerTable, request: BindRequest) -> tuple[object, EncodedResponse]:
        for _ in range(_MAX_CLAIMS):
            snapshot = self._store.find(request.instance_id, request.binding_id)
            identical = is_identical_binding(snapshot, request)
            decision = decide(Operation.BIND, snapshot, identical=identical)
            if self._poll_if_busy(decision, table, request, snapshot):
                continue
            if decision is not Decision.CALL_HANDLER:
                return self._replay_or_refuse(decision, Operation.BIND, request, snapshot)
            instance = snapshot.instance
            assert instance is not None, "binds without an instance are refused"
            _check_offering(instance, request.offering)
            _check_no_attempt_runs(instance.operation)
            predecessor = self._predecessor(request)
            attributes = requested_binding(request, predecessor)
            offering, plan = resolve_plan(table.catalog, instance.service_id, instance.plan_id)
            resolved = replace(
                request,
                offering=offering,
                plan=plan,
                parameters=attributes.parameters,
                instance=service_instance(self._store, table.catalog, instance),
            )
            check_bind(table.catalog, resolved)
            handler, mode = _handler(table, Operation.BIND, resolved)
            new = self._new(Operation.BIND, mode, resolved)
            if self._store.claim_new_binding(new, instance, attributes, predecessor):
                return self._begin(table, handler, new, resolved, snapshot)
        raise ConcurrencyError

    def _predecessor(self, request: BindRequest) -> BindingRecord | None:
        """Check the predecessor that a bind request names, and return it, or None without one (R-BIND-6)."""
        if request.predecessor is None:
            return None
        snapshot = self._store.find(request.instance_id, request.predecessor)
        predecessor = snapshot.binding
        result = predecessor.result.binding if predecessor else None
        if predecessor is None or resource_status(predecessor) is not ResourceStatus.READY:
            raise BadRequest("predecessor_binding_id: the instance has no such binding")
        expires_at = result.metadata.expires_at if result and result.metadata else None
        if expires_at is not None and expires_at.timestamp() <= snapshot.now:
            raise BadRequest("predecessor_binding_id: that binding has expired")
        return predecessor

    def _delete(self, table: HandlerTable, request: Any) -> tuple[object, EncodedResponse]:
        """Serve a deprovision or unbind, and cancel the creation of the resource if necessary (R-DEL-3)."""
        binding_id: str | None = getattr(request, "binding_id", None)
        operation = Operation.DEPROVISION if binding_id is None else Operation.UNBIND
        claims, deadline = 0, None
        while claims < _MAX_CLAIMS:
            claims += 1
            snapshot = self._store.find(request.instance_id, binding_id)
            decision = decide(operation, snapshot)
            if self._poll_if_busy(decision, table, request, snapshot):
                continue
            if decision not in (Decision.CALL_HANDLER, Decision.CANCEL):
                return self._replay_or_refuse(decision, operation, request, snapshot)
            instance, binding = snapshot.instance, snapshot.binding
            assert instance is not None, "deletes without an instance are refused"
            _check_offering(instance, request.offering)
            if binding is not None:
                _check_no_attempt_runs(instance.operation)
            resolved = self._with_stored_fields(table, request, instance, binding)
            handler, mode = _handler(table, operation, resolved)
            subject = binding or instance
            last = subject.operation
            if decision is Decision.CANCEL:
                assert last is not None, "a creation in progress has an operation"
                self._runtime.fail_operation(last, CANCELLED, self._store.abandon)
                continue
            follows = None
            if last is not None and last.may_be_running:
                if not request.accepts_incomplete:
                    claims, deadline = claims - 1, self._wait(deadline)
                    continue
                mode, follows = Mode.BACKGROUND, last
            new = self._new(operation, mode, resolved, follows=follows)
            if (
                self._store.claim_instance(new, instance)
                if binding is None
                else self._store.claim_binding(new, instance, binding)
            ):
                return self._begin(table, handler, new, resolved, snapshot)
        raise ConcurrencyError

    def _with_stored_fields(
        self,
        table: HandlerTable,
        request: Any,
        instance: InstanceRecord,
        binding: BindingRecord | None,
    ) -> Any:
        """Return a request with the stored plan, because a platform may not know the result of an update."""
        pair = table.catalog.find_plan(instance.plan_id)
        fields: dict[str, Any] = {"instance": service_instance(self._store, table.catalog, instance)}
        if pair is not None:
            fields["plan"] = pair[1]
        if binding is not None:
            fields["binding"] = service_binding(binding)
        return replace(request, **fields)

    def _wait(self, deadline: float | None) -> float:
        """Wait a moment for the cancelled attempt on the resource to end.

        Returns:
            The deadline of the wait, for the next call.

        Raises:
            BrokerError: The deadline has passed, or the process is about to exit.
        """
        now = self._store.clock.monotonic()
        deadline = now + _PATIENCE if deadline is None else deadline
        if now >= deadline or self._runtime.stopping.is_set():
            timeout = BrokerError(
                "The previous operation on the resource is still being cancelled. Try again later.",
                status=503,
            )
            timeout.headers = (("Retry-After", "10"),)
            raise timeout
        self._store.clock.wait(self._runtime.stopping, 0.05)
        return deadline

    # Start of an operation

    def _new(
        self,
        operation: Operation,
        mode: Mode,
        request: Any,
        *,
        follows: OperationRecord | None = None,
    ) -> NewOperation:
        # Background handlers need the whole request, and repeated updates are compared with it.
        is_complete = mode is Mode.BACKGROUND or operation is Operation.UPDATE
        return NewOperation(
            id=self._store.clock.new_id(),
            kind=operation,
            mode=mode,
            instance_id=request.instance_id,
            binding_id=getattr(request, "binding_id", None),
            service_id=request.offering.id,
            plan_id=request.plan.id,
            deadline=float(request.plan.maximum_polling_duration or DEFAULT_DEADLINE),
            request=dump_request(request) if is_complete else dump_request_summary(request),
            follows=follows.id if follows else None,
        )

    def _begin(
        self, table: HandlerTable, handler: Handler, new: NewOperation, request: Any, snapshot: Snapshot
    ) -> tuple[object, EncodedResponse]:
        """Run a claimed operation in the request, or submit it to the executor."""
        update_context(request, new.id)
        if new.mode is Mode.INLINE:
            subject = snapshot.instance if new.binding_id is None else snapshot.binding
            previous = subject.operation.id if subject and subject.operation else None
            claimed = ClaimedRequest(new.attempt(), request, snapshot.instance, snapshot.binding, previous)
            return run_inline(self._runtime, table, handler, claimed)
        accepted = Accepted(operation=new.id)
        self._runtime.publisher.accepted(
            OperationRef.now(new.id, new.kind, attempt=0), request, accepted, 0.0
        )
        if new.follows is None:  # otherwise the end of the earlier attempt submits it
            self._runtime.submit(new.id)
        return accepted, _encoded(new.kind, accepted, request)

    # Responses without an operation

    def _replay_or_refuse(
        self, decision: Decision, operation: Operation, request: Any, snapshot: Snapshot
    ) -> tuple[object, EncodedResponse]:
        if decision is Decision.REPLAY_RESULT:
            result = stored_response(operation, snapshot)
            return result, _encoded(operation, result, request)
        if decision is Decision.REPLAY_ACCEPTED and request.accepts_incomplete:
            instance = snapshot.instance
            subject = instance if getattr(request, "binding_id", None) is None else snapshot.binding
            assert instance is not None, "a replayed acceptance requires an operation in progress"
            assert subject is not None, "a replayed acceptance requires an operation in progress"
            assert subject.operation is not None, "a replayed acceptance requires an operation in progress"
            if not _would_lose_credentials(operation, subject.operation, request):
                update_context(request, subject.operation.id)
                outcome = self._store.outcome_of(subject.operation)
                accepted = replayed_acceptance(subject.operation, outcome, instance)
                return accepted, _encoded(operation, accepted, request)
        raise refusal(Decision.BUSY if decision is Decision.REPLAY_ACCEPTED else decision, request, snapshot)

    def _poll_if_busy(
        self, decision: Decision, table: HandlerTable, request: Any, snapshot: Snapshot
    ) -> bool:
        """Poll the operations that a request conflicts with, and return whether one of them has ended.

        The platform that started an operation may have lost the response, and then never polls.
        """
        if decision is not Decision.BUSY or snapshot.instance is None:
            return False
        return poll_quiet_operations(self._runtime, table, request, snapshot.instance, snapshot.now)

    def _fetch(self, table: HandlerTable, request: Any) -> tuple[object, EncodedResponse]:
        """Serve a fetch from the handler, or from the store if there is no handler (R-GETI, R-GETB)."""
        binding_id: str | None = getattr(request, "binding_id", None)
        operation = Operation.GET_INSTANCE if binding_id is None else Operation.GET_BINDING
        snapshot = self._store.find(request.instance_id, binding_id)
        decision = decide(operation, snapshot)
        if decision is not Decision.REPLAY_RESULT:
            raise refusal(decision, request, snapshot)
        instance, binding = snapshot.instance, snapshot.binding
        assert instance is not None, "other fetches are refused"
        offering, plan = resolve_plan(table.catalog, instance.service_id, instance.plan_id)
        is_retrievable = offering.instances_retrievable if binding is None else offering.bindings_retrievable
        if not is_retrievable:
            raise missing_handler_error(operation)
        handlers = table.handlers_for(operation, offering, plan)
        stored = self._with_stored_fields(table, request, instance, binding)
        resolved = replace(stored, offering=offering, plan=plan)
        update_context(resolved)
        result = call_handler(handlers[0], resolved)[1] if handlers else stored_response(operation, snapshot)
        try:
            return result, _encoded(operation, result, resolved)
        except HandlerMistake as mistake:
            prefix = f"{handlers[0]} " if handlers else ""
            raise HandlerMistake(f"{prefix}{mistake}") from None

    def _poll(self, table: HandlerTable, request: Any) -> tuple[object, EncodedResponse]:
        return poll(self._runtime, table, request)


def _handler(table: HandlerTable, operation: Operation, request: Any) -> tuple[Handler, Mode]:
    """Return the handler of a request and its mode.

    Raises:
        AsyncRequired: The handler is a background handler, and the platform cannot poll (R-PROV-7).
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


def _check_offering(instance: InstanceRecord, offering: ServiceOffering) -> None:
    if instance.service_id != offering.id:
        raise BadRequest("service_id: the instance belongs to another service offering")


def _check_no_attempt_runs(operation: OperationRecord | None) -> None:
    """Refuse a request while an attempt of an operation that has ended may run, so that none overlap."""
    if operation is not None and operation.state is not Progress.IN_PROGRESS and operation.may_be_running:
        raise ConcurrencyError


def _would_lose_credentials(operation: Operation, running: OperationRecord, request: Any) -> bool:
    """Whether a 202 would lose the credentials, because only the first request can return them."""
    is_bind = operation is Operation.BIND and running.mode is Mode.INLINE
    return is_bind and not request.offering.bindings_retrievable


def _encoded(operation: Operation, result: Any, request: InstanceRequest) -> EncodedResponse:
    offering = request.offering  # type: ignore[attr-defined]
    return encode_result(operation, result, offering=offering, accepts_incomplete=True)
