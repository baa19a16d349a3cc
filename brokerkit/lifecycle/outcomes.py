"""What becomes of an instance or binding when its handler is through."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from ..errors import BindingDoesNotExist, BrokerError, HandlerMistake, InstanceDoesNotExist
from ..requests import InstanceRequest, Operation, UpdateRequest
from ..results import Accepted, Binding, Provisioned, Updated
from ..store.models import (
    UNCHANGED,
    BindingRecord,
    BindingResult,
    Change,
    InstanceRecord,
    InstanceResult,
    Outcome,
    State,
)
from .policy import updated_instance

_MADE = frozenset({Operation.PROVISION, Operation.BIND})
_REMOVED = frozenset({Operation.DEPROVISION, Operation.UNBIND})


def planned_change(operation: Operation, request: InstanceRequest, instance: InstanceRecord | None) -> Change:
    """What becomes of an instance or binding if its handler gets through, but for what that answers.

    To be asked before the handler is, which may change the request's dicts.
    """
    if operation in _REMOVED:
        return Change(state=State.DELETED)
    if operation in _MADE:
        return Change(state=State.READY)
    assert isinstance(request, UpdateRequest), "nothing else is left"
    assert instance is not None, "only what is there is updated"
    assert request.plan is not None, "it has the instance's, unless told another"
    return Change(plan_id=request.plan.id, attributes=updated_instance(instance, request, request.plan))


def success_change(
    operation: Operation,
    plan: Change,
    result: object,
    instance: InstanceRecord | None,
    binding: BindingRecord | None,
) -> Change:
    """What a handler that got through changes.

    Args:
        operation: What was asked.
        plan: What was :func:`planned_change`.
        result: What it answered.
        instance: The instance as it was.
        binding: The binding as it was.

    Raises:
        HandlerMistake: Its `data` is no JSON object.
    """
    if operation in _REMOVED:
        return plan
    return replace(plan, result=stored_result(operation, result, instance, binding))


def stored_result(
    operation: Operation, result: object, instance: InstanceRecord | None, binding: BindingRecord | None
) -> InstanceResult | BindingResult | None:
    """What is kept of a handler's answer; what it does not tell stays as it was.

    Raises:
        HandlerMistake: Its `data` is no JSON object.
    """
    if operation is Operation.BIND or operation is Operation.UNBIND:
        before = binding.result if binding else BindingResult()
        if isinstance(result, Binding):
            told = replace(result, data=None, exists=False)
            return BindingResult(binding=told, data=_data(result, before.data))
        if isinstance(result, Accepted):
            return BindingResult(binding=before.binding, data=_data(result, before.data))
        return None
    if not isinstance(result, Provisioned | Updated | Accepted):
        return None
    known = instance.result if instance else InstanceResult()
    return InstanceResult(
        dashboard_url=known.dashboard_url if result.dashboard_url is None else result.dashboard_url,
        metadata=known.metadata if result.metadata is None else result.metadata,
        data=_data(result, known.data),
    )


def accepted_outcome(
    operation: Operation, result: Accepted, instance: InstanceRecord | None, binding: BindingRecord | None
) -> tuple[Outcome, InstanceResult | BindingResult | None]:
    """What is kept of work that goes on elsewhere: with the operation, and with the instance or binding.

    What an update leads to waits with the operation, as it may fail (R-UPD-5).

    Raises:
        HandlerMistake: Its `data` is no JSON object.
    """
    kept = stored_result(operation, result, instance, binding)
    outcome = Outcome(accepted=result.operation or operation.value)
    if operation is Operation.UPDATE and isinstance(kept, InstanceResult):
        return replace(outcome, result=kept), None
    return outcome, kept


def failure_change(operation: Operation) -> Change:
    """What a handler that did not get through changes: what could not be made must be deleted (R-DEL-5)."""
    return Change(state=State.FAILED) if operation in _MADE else UNCHANGED


def is_gone(operation: Operation, error: BaseException) -> bool:
    """Did the handler of a delete say that there is nothing to delete? Then it is done."""
    return operation in _REMOVED and isinstance(error, InstanceDoesNotExist | BindingDoesNotExist)


def failure_outcome(error: BaseException) -> Outcome:
    """What the user is told of an operation that failed: nothing of the inside."""
    if not isinstance(error, BrokerError):
        return Outcome(description="The service broker failed. Its log says why.")
    return Outcome(
        description=error.description,
        instance_usable=error.instance_usable,
        update_repeatable=error.update_repeatable,
    )


def _data(result: Provisioned | Updated | Accepted | Binding, before: dict[str, Any]) -> dict[str, Any]:
    data = result.data
    if data is None:
        return before
    kind = type(result).__name__
    if not isinstance(data, dict):
        raise HandlerMistake(f"returned {kind}(data=…) with a {type(data).__name__}; give a dict")
    try:
        msgspec.json.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise HandlerMistake(f"returned {kind}(data=…) that JSON cannot hold: {error}") from None
    return data
