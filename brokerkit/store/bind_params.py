"""What is written becomes parameters of statements: who writes, what begins, what becomes of it."""

from __future__ import annotations

from typing import Any, TypeAlias

from .encryption import Encryptor
from .keys import resource_key
from .models import Attempt, Change, Mode, NewOperation, Outcome, Progress, State

Given: TypeAlias = dict[str, Any]

_NO_OUTCOME = Outcome()


def fence_params(attempt: Attempt) -> Given:
    """Who writes, and of what."""
    return {
        "o_id": attempt.operation_id,
        "o_attempt": attempt.number,
        "i_id": attempt.instance_key,
        "b_id": attempt.binding_key,
    }


def claim_params(new: NewOperation, term: float, vault: Encryptor) -> Given:
    """An operation that begins; at once, its first attempt has a lease for this term."""
    at_once = new.mode is Mode.INLINE
    return {
        "o_id": new.id,
        "i_id": resource_key(new.instance_id),
        "b_id": None if new.binding_id is None else resource_key(new.binding_id),
        "o_kind": new.kind.value,
        "o_mode": new.mode.value,
        "o_service_id": new.service_id,
        "o_plan_id": new.plan_id,
        "o_attempt": 1 if at_once else 0,
        "o_lease": term if at_once else None,
        "o_wake": term if at_once else new.wait,
        "o_deadline": new.deadline,
        "o_follows": new.follows,
        "o_request": vault.encrypt(new.request),
    }


def end_params(
    attempt: Attempt, state: Progress, outcome: Outcome | None, change: Change, vault: Encryptor
) -> Given:
    """An operation that is over, and what becomes of its instance or binding."""
    return {
        **fence_params(attempt),
        "o_state": state.value,
        "o_outcome": b"" if outcome == _NO_OUTCOME else encrypt_params(outcome, vault),
        **state_params(change.state),
        "i_plan_id": change.plan_id,
        "i_attributes": encrypt_params(change.attributes, vault),
        **result_params(change.result, vault),
    }


def state_params(state: State | None) -> Given:
    """What the instance or binding is then; None if it stays as it is."""
    value = None if state is None else state.value
    return {"i_state": value, "b_state": value}


def result_params(result: object, vault: Encryptor) -> Given:
    """What its handler answered; None if nothing."""
    value = encrypt_params(result, vault)
    return {"i_result": value, "b_result": value}


def encrypt_params(value: object, vault: Encryptor) -> bytes | None:
    """What there is, sealed; None if nothing."""
    return None if value is None else vault.encrypt(value)
