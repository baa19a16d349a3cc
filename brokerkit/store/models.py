"""What is remembered of an instance, a binding and an operation, as the store hands it out."""

from __future__ import annotations

import secrets
import time
from enum import StrEnum
from typing import Any, ClassVar

from msgspec import Struct, field
from msgspec.json import Decoder

from .._internal.masking import Masked
from ..requests import Operation
from ..resources import BindResource
from ..results import Binding, InstanceMetadata
from .keys import resource_key


class State(StrEnum):
    """What became of an instance or binding."""

    CREATING = "creating"
    READY = "ready"
    FAILED = "failed"  # it could not be made, and what there is of it must be deleted
    DELETED = "deleted"


class Mode(StrEnum):
    """How an operation is worked on."""

    INLINE = "at once"  # by the request that asked for it
    POLLED = "polled"  # elsewhere: the handler answered `Accepted`
    BACKGROUND = "background"  # by an executor


class Progress(StrEnum):
    """How far an operation is, in the words of R-LAST-1."""

    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class InstanceAttributes(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """What a platform asked of an instance. Sealed in the store, as all that follows."""

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters"})

    instance_id: str
    parameters: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    organization_guid: str | None = None
    space_guid: str | None = None
    maintenance_version: str | None = None


class InstanceResult(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """What handlers answered of an instance."""

    _secret: ClassVar[frozenset[str]] = frozenset({"data"})

    dashboard_url: str | None = None
    metadata: InstanceMetadata | None = None
    data: dict[str, Any] = field(default_factory=dict)


class BindingAttributes(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """What a platform asked of a binding."""

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters"})

    binding_id: str
    plan_id: str
    parameters: dict[str, Any] = field(default_factory=dict)
    inherits_parameters: bool = False
    context: dict[str, Any] = field(default_factory=dict)
    app_guid: str | None = None
    bind_resource: BindResource = BindResource()
    predecessor: str | None = None


class BindingResult(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """What a handler answered of a binding."""

    _secret: ClassVar[frozenset[str]] = frozenset({"data"})

    binding: Binding | None = None
    data: dict[str, Any] = field(default_factory=dict)


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told of an operation.

    Args:
        description: How far it is or how it ended, for the user.
        instance_usable: Of an update or deprovision that failed (R-ERR-2).
        update_repeatable: Of an update that failed (R-ERR-2).
        accepted: The string that its handler put into `Accepted`.
        retry_after: When to ask again, in seconds, as its handler said.
        result: Of an update that goes on elsewhere: what the instance is to have when it succeeds.
        cancelled: Did it fail because its platform had it deleted (R-DEL-3)?
    """

    description: str | None = None
    instance_usable: bool | None = None
    update_repeatable: bool | None = None
    accepted: str | None = None
    retry_after: int | None = None
    result: InstanceResult | None = None
    cancelled: bool = field(default=False, name="halted")  # the name in stores of every version


# What msgspec knows of a struct it finds out when it first needs it, which no two threads may do at once.
_FOUND_OUT = [
    Decoder(kind) for kind in (InstanceAttributes, InstanceResult, BindingAttributes, BindingResult, Outcome)
]


class OperationRecord(Struct, frozen=True, kw_only=True):
    """An operation. Times are seconds since 1970, by the store's clock.

    Args:
        id: What platforms poll with.
        instance_key: Which instance it is about, by the key that the store has for its id.
        binding_key: Which binding, if it is about one.
        kind: What was asked.
        mode: How it is worked on.
        state: How far it is.
        service_id: The offering.
        plan_id: The plan: of an update, the one that it leads to.
        attempt: How often it was begun. Who writes of an attempt names its number, so that nobody whose
            attempt was taken over can write. It only ever grows.
        attempts_before: How many of these were made before an operator had it begin anew.
        lease_until: Until when somebody who runs it is taken for alive; None if nobody does.
        wake_at: When somebody must look at it.
        deadline: When it fails by itself.
        follows: The operation whose attempt must end before this one begins.
        created_at: When it was asked for.
        updated_at: When it last changed.
        request: The request, sealed.
        outcome: The :class:`Outcome`, sealed; None if there is none.
        due_at: When its next attempt may begin, while it waits in the queue of an executor. Then `wake_at` is
            when it is handed to the executor again.
    """

    id: str
    instance_key: str
    binding_key: str | None
    kind: Operation
    mode: Mode
    state: Progress
    service_id: str
    plan_id: str
    attempt: int
    attempts_before: int
    lease_until: float | None
    wake_at: float | None
    deadline: float
    follows: str | None
    created_at: float
    updated_at: float
    request: bytes
    outcome: bytes | None
    due_at: float | None

    @property
    def tries(self) -> int:
        """How often it was begun, as its handler counts."""
        return self.attempt - self.attempts_before

    def is_running_at(self, now: float) -> bool:
        """Does somebody work on it, also if it has been given up?"""
        return self.lease_until is not None and self.lease_until > now


class InstanceRecord(Struct, frozen=True, kw_only=True):
    """An instance. `revision` is another one after each change; `operation` is the last that it had."""

    key: str
    revision: int
    state: State
    service_id: str
    plan_id: str
    busy_bindings: int
    attributes: InstanceAttributes
    result: InstanceResult
    created_at: float
    updated_at: float
    operation: OperationRecord | None


class BindingRecord(Struct, frozen=True, kw_only=True):
    """A binding, as :class:`InstanceRecord`."""

    instance_key: str
    key: str
    revision: int
    state: State
    attributes: BindingAttributes
    result: BindingResult
    created_at: float
    updated_at: float
    operation: OperationRecord | None


class Snapshot(Struct, frozen=True):
    """What is remembered of what a request is about, at one moment.

    Args:
        instance: The instance, also a deleted one.
        binding: The binding, likewise.
        now: The moment.
    """

    instance: InstanceRecord | None = None
    binding: BindingRecord | None = None
    now: float = 0.0


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
        binding_key = None if self.binding_id is None else resource_key(self.binding_id)
        return Attempt(self.id, 1, self.kind, resource_key(self.instance_id), binding_key)


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
