"""What is written to a store: an operation that begins, and what becomes of its instance or binding."""

from __future__ import annotations

import secrets
import time
from typing import ClassVar

from msgspec import Struct

from .._masking import Masked
from ..requests import Operation
from .records import BindingResult, InstanceAttributes, InstanceResult, Mode, OperationRecord, State
from .tables import key_of


class NewOperation(Masked, frozen=True, kw_only=True):
    """An operation that is to begin. Times are seconds from now.

    Args:
        id: What platforms poll with.
        kind: What is asked.
        mode: How it is worked on; at once, its first attempt begins with it.
        instance_id: The instance.
        binding_id: The binding, if it is about one.
        service_id: The offering.
        plan_id: The plan that it is about, or leads to.
        deadline: When it fails by itself.
        request: What is kept of the request.
        follows: The operation whose attempt must end before.
        wait: When to look whether it has.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"request"})

    id: str
    kind: Operation
    mode: Mode
    instance_id: str
    binding_id: str | None
    service_id: str
    plan_id: str
    deadline: float
    request: object
    follows: str | None = None
    wait: float = 0.0

    def attempt(self) -> Attempt:
        """The first attempt, of one that is worked on at once."""
        binding_key = None if self.binding_id is None else key_of(self.binding_id)
        return Attempt(self.id, 1, self.kind, key_of(self.instance_id), binding_key)


class Attempt(Struct, frozen=True):
    """Who writes: an attempt of an operation, by its number: one that was taken over writes nothing."""

    operation_id: str
    number: int
    kind: Operation
    instance_key: str
    binding_key: str | None

    @classmethod
    def of(cls, operation: OperationRecord) -> Attempt:
        """The attempt that an operation is in."""
        return cls(
            operation.id, operation.attempt, operation.kind, operation.instance_key, operation.binding_key
        )


class Change(Struct, frozen=True, kw_only=True):
    """What becomes of the instance or binding of an operation; what is None stays as it is."""

    state: State | None = None
    plan_id: str | None = None
    attributes: InstanceAttributes | None = None
    result: InstanceResult | BindingResult | None = None


UNCHANGED = Change()


def new_operation_id() -> str:
    """An id that sorts by time, and that nobody can guess."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
