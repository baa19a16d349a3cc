"""Bind parameters of statements, built from attempts, new operations and changes."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from .encryption import Encryptor
from .models import (
    Attempt,
    BindingRecord,
    Change,
    InstanceRecord,
    Mode,
    NewOperation,
    OperationRecord,
    Outcome,
    Progress,
    State,
)
from .places import Place, binding_place, instance_place, operation_place
from .resource_keys import resource_key

BindParams: TypeAlias = dict[str, Any]

_NO_OUTCOME = Outcome()


def fence_params(attempt: Attempt) -> BindParams:
    """Build the parameters of the attempt fence, and the keys of the attempt's instance and binding."""
    return {
        "o_id": attempt.operation_id,
        "o_attempt": attempt.number,
        "i_id": attempt.instance_key,
        "b_id": attempt.binding_key,
    }


def claim_params(new: NewOperation, lease: float, encryptor: Encryptor) -> BindParams:
    """Build the parameters of a claim.

    Args:
        new: The new operation. If it is synchronous, its first attempt starts with a lease.
        lease: The term of that lease, in seconds.
        encryptor: Encrypts the request.
    """
    is_inline = new.mode is Mode.INLINE
    instance_key = resource_key(new.instance_id)
    binding_key = None if new.binding_id is None else resource_key(new.binding_id)
    return {
        "o_id": new.id,
        "i_id": instance_key,
        "b_id": binding_key,
        "o_kind": new.kind.value,
        "o_mode": new.mode.value,
        "o_service_id": new.service_id,
        "o_plan_id": new.plan_id,
        "o_attempt": 1 if is_inline else 0,
        "o_lease": lease if is_inline else None,
        "o_wake": lease if is_inline else None if new.follows else 0.0,
        "o_deadline": new.deadline,
        "o_follows": new.follows,
        "o_request": encryptor.encrypt(
            new.request, operation_place(new.id, instance_key, binding_key, "request")
        ),
    }


def instance_fence(instance: InstanceRecord) -> BindParams:
    """Build the parameters that require an unchanged instance."""
    return {"i_revision": instance.revision, "i_operation": instance.operation_id}


def binding_fence(binding: BindingRecord) -> BindParams:
    """Build the parameters that require an unchanged binding."""
    return {"b_revision": binding.revision, "b_operation": binding.operation_id}


def predecessor_fence(predecessor: BindingRecord) -> BindParams:
    """Build the parameters that require an unchanged predecessor of a new binding."""
    return {
        "p_id": predecessor.key,
        "p_revision": predecessor.revision,
        "p_operation": predecessor.operation_id,
    }


def lease_params(operation: OperationRecord) -> BindParams:
    """Build the parameters that require an unchanged lease, for a process that does not hold it."""
    return {**fence_params(Attempt.of(operation)), "o_renewals": operation.renewals}


def end_params(
    attempt: Attempt, state: Progress, outcome: Outcome | None, change: Change, encryptor: Encryptor
) -> BindParams:
    """Build the parameters that end an operation and change its instance or binding."""
    return {
        **fence_params(attempt),
        "o_state": state.value,
        "o_outcome": b"" if outcome == _NO_OUTCOME else outcome_param(outcome, attempt, encryptor),
        **state_params(change.state),
        "i_plan_id": change.plan_id,
        "i_attributes": _encrypt(
            change.attributes, instance_place(attempt.instance_key, "attributes"), encryptor
        ),
        **result_params(change.result, attempt, encryptor),
    }


def state_params(state: State | None) -> BindParams:
    """Build the parameters for the new state of the instance or binding. None keeps the state."""
    value = None if state is None else state.value
    return {"i_state": value, "b_state": value}


def result_params(result: object, attempt: Attempt, encryptor: Encryptor) -> BindParams:
    """Build the parameters for the result of the instance or binding. None keeps the stored result."""
    if attempt.binding_key is None:
        place = instance_place(attempt.instance_key, "result")
        return {"i_result": _encrypt(result, place, encryptor), "b_result": None}
    place = binding_place(attempt.instance_key, attempt.binding_key, "result")
    return {"i_result": None, "b_result": _encrypt(result, place, encryptor)}


def outcome_param(outcome: Outcome | None, attempt: Attempt, encryptor: Encryptor) -> bytes | None:
    """Encrypt the outcome of an operation. None stays None, and the statement keeps the stored outcome."""
    return _encrypt(outcome, attempt_place(attempt, "outcome"), encryptor)


def attempt_place(attempt: Attempt, column: Literal["request", "outcome"]) -> Place:
    """Return a place in the row of an attempt's operation."""
    return operation_place(attempt.operation_id, attempt.instance_key, attempt.binding_key, column)


def _encrypt(value: object, place: Place, encryptor: Encryptor) -> bytes | None:
    return None if value is None else encryptor.encrypt(value, place)
