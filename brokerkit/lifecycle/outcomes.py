"""Changes of an instance or binding, and outcomes of an operation, at the end of a handler."""

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

_CREATING = frozenset({Operation.PROVISION, Operation.BIND})
_DELETING = frozenset({Operation.DEPROVISION, Operation.UNBIND})


def planned_change(operation: Operation, request: InstanceRequest, instance: InstanceRecord | None) -> Change:
    """Return the change of an instance or binding on success, without the handler's result.

    Call this function before the handler, because a handler may modify the request's dicts.
    """
    if operation in _DELETING:
        return Change(state=State.DELETED)
    if operation in _CREATING:
        return Change(state=State.READY)
    assert isinstance(request, UpdateRequest), "the other operations return above"
    assert instance is not None, "an update requires a stored instance"
    assert request.plan is not None, "an update without a plan_id has the plan of its instance"
    return Change(plan_id=request.plan.id, attributes=updated_instance(instance, request, request.plan))


def success_change(
    operation: Operation,
    planned: Change,
    result: object,
    instance: InstanceRecord | None,
    binding: BindingRecord | None,
) -> Change:
    """Return the change of an instance or binding after its handler succeeded.

    Args:
        operation: The operation.
        planned: The result of :func:`planned_change`.
        result: The result of the handler.
        instance: The instance before the operation.
        binding: The binding before the operation.

    Raises:
        HandlerMistake: The `data` of the result is not a JSON object.
    """
    if operation in _DELETING:
        return planned
    return replace(planned, result=stored_result(operation, result, instance, binding))


def stored_result(
    operation: Operation, result: object, instance: InstanceRecord | None, binding: BindingRecord | None
) -> InstanceResult | BindingResult | None:
    """Return the part of a handler's result that is stored. Omitted fields keep their stored values.

    Raises:
        HandlerMistake: The `data` of the result is not a JSON object.
    """
    if operation is Operation.BIND or operation is Operation.UNBIND:
        old_binding = binding.result if binding else BindingResult()
        if isinstance(result, Binding):
            stored = replace(result, data=None, exists=False)
            return BindingResult(binding=stored, data=_data(result, old_binding.data))
        if isinstance(result, Accepted):
            return BindingResult(binding=old_binding.binding, data=_data(result, old_binding.data))
        return None
    if not isinstance(result, Provisioned | Updated | Accepted):
        return None
    previous = instance.result if instance else InstanceResult()
    return InstanceResult(
        dashboard_url=previous.dashboard_url if result.dashboard_url is None else result.dashboard_url,
        metadata=previous.metadata if result.metadata is None else result.metadata,
        data=_data(result, previous.data),
    )


def accepted_outcome(
    operation: Operation, result: Accepted, instance: InstanceRecord | None, binding: BindingRecord | None
) -> tuple[Outcome, InstanceResult | BindingResult | None]:
    """Return the outcome of an asynchronous operation, and the stored result of its instance or binding.

    The result of an update is part of the outcome until the update succeeds, because a failed update must not
    change the instance (R-UPD-5).

    Raises:
        HandlerMistake: The `data` of the result is not a JSON object.
    """
    stored = stored_result(operation, result, instance, binding)
    outcome = Outcome(accepted=result.operation or operation.value)
    if operation is Operation.UPDATE and isinstance(stored, InstanceResult):
        return replace(outcome, result=stored), None
    return outcome, stored


def failure_change(operation: Operation) -> Change:
    """Return the change after a failure. After a failed creation, the platform must delete it (R-DEL-5)."""
    return Change(state=State.FAILED) if operation in _CREATING else UNCHANGED


def is_gone(operation: Operation, error: BaseException) -> bool:
    """Whether the handler of a delete reported that the resource does not exist. That is a success."""
    return operation in _DELETING and isinstance(error, InstanceDoesNotExist | BindingDoesNotExist)


def failure_outcome(error: BaseException) -> Outcome:
    """Return the outcome of a failed operation, without internal details in its description."""
    if not isinstance(error, BrokerError):
        return Outcome(description="The service broker failed. See its log for the cause.")
    return Outcome(
        description=error.description,
        instance_usable=error.instance_usable,
        update_repeatable=error.update_repeatable,
    )


def _data(result: Provisioned | Updated | Accepted | Binding, previous: dict[str, Any]) -> dict[str, Any]:
    data = result.data
    if data is None:
        return previous
    kind = type(result).__name__
    if not isinstance(data, dict):
        raise HandlerMistake(f"returned {kind}(data=…) with a {type(data).__name__}; give a dict")
    try:
        msgspec.json.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise HandlerMistake(f"returned {kind}(data=…) that JSON cannot hold: {error}") from None
    return data
