"""Changes of an instance or binding, and outcomes of an operation, at the end of a handler."""

from __future__ import annotations

from typing import Any, TypeGuard, TypeVar

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
from .json_copy import UNENCODABLE, json_copy
from .policy import updated_instance

_T = TypeVar("_T")

_CREATING = frozenset({Operation.PROVISION, Operation.BIND})
_DELETING = frozenset({Operation.DEPROVISION, Operation.UNBIND})


UNKNOWN_FAILURE = Outcome(description="The service broker failed. See its log for the cause.")
"""The outcome of an operation whose handler raised an unexpected exception."""


def planned_change(operation: Operation, request: InstanceRequest, instance: InstanceRecord | None) -> Change:
    """Return the change of an instance or binding on success, without the handler's result.

    Call this function before the handler, because a handler may modify the request's dicts. The change
    shares no values with the request.
    """
    if operation in _DELETING:
        return Change(state=State.DELETED)
    if operation in _CREATING:
        return Change(state=State.READY)
    assert isinstance(request, UpdateRequest), "the other operations return above"
    assert instance is not None, "an update requires a stored instance"
    assert request.plan is not None, "an update without a plan_id has the plan of its instance"
    attributes = json_copy(updated_instance(instance, request, request.plan))
    return Change(plan_id=request.plan.id, attributes=attributes)


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

    It shares no values with the result, because the handler may keep and modify these.

    Raises:
        HandlerMistake: The `data` of the result is not a JSON object.
    """
    if operation is Operation.BIND or operation is Operation.UNBIND:
        old_binding = binding.result if binding else BindingResult()
        if isinstance(result, Binding):
            stored = replace(result, data=None, exists=False)
            return _stored(result, BindingResult(binding=stored, data=_data(result, old_binding.data)))
        if isinstance(result, Accepted):
            accepted = BindingResult(binding=old_binding.binding, data=_data(result, old_binding.data))
            return _stored(result, accepted)
        return None
    if not isinstance(result, Provisioned | Updated | Accepted):
        return None
    previous = instance.result if instance else InstanceResult()
    values = InstanceResult(
        dashboard_url=previous.dashboard_url if result.dashboard_url is None else result.dashboard_url,
        metadata=previous.metadata if result.metadata is None else result.metadata,
        data=_data(result, previous.data),
    )
    return _stored(result, values)


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
    outcome = _stored(result, Outcome(accepted=result.operation or operation.value), "operation")
    if operation is Operation.UPDATE and isinstance(stored, InstanceResult):
        return replace(outcome, result=stored), None
    return outcome, stored


def failure_change(operation: Operation) -> Change:
    """Return the change after a failure. After a failed creation, the platform must delete it (R-DEL-5)."""
    return Change(state=State.FAILED) if operation in _CREATING else UNCHANGED


def is_gone(operation: Operation, error: BaseException) -> bool:
    """Whether the handler of a delete reported that the resource does not exist. That is a success."""
    return operation in _DELETING and isinstance(error, InstanceDoesNotExist | BindingDoesNotExist)


def is_valid_error(error: BaseException) -> TypeGuard[BrokerError]:
    """Whether an exception is a `BrokerError` with values that can be sent to a platform and stored."""
    if not isinstance(error, BrokerError):
        return False
    try:
        error.check()
        flags = (error.instance_usable, error.update_repeatable)
    except Exception:  # noqa: BLE001 - the properties of a subclass may raise anything
        return False
    return all(flag is None or isinstance(flag, bool) for flag in flags)


def failure_outcome(error: BaseException) -> Outcome:
    """Return the outcome of a failed operation, without internal details in its description."""
    if not is_valid_error(error):
        return UNKNOWN_FAILURE
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
    return data


def _stored(result: object, values: _T, field: str = "data") -> _T:
    """Copy the stored values of a result.

    Args:
        result: The result.
        values: The stored values.
        field: The field of the result that is to blame if JSON cannot represent the values. Defaults to
            `data`, as most other fields are sent to the platform, and are checked before.

    Raises:
        HandlerMistake: JSON cannot represent the values.
    """
    try:
        return json_copy(values)
    except UNENCODABLE as error:
        kind = type(result).__name__
        raise HandlerMistake(f"returned {kind}({field}=…) that JSON cannot hold: {error}") from None
