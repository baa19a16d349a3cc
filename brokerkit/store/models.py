"""Records of instances, bindings and operations, as the store returns them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from msgspec import Struct, field
from msgspec.json import Decoder

from .._internal.masked_struct import Masked
from ..requests import Operation
from ..resources import BindResource
from ..results import Binding, InstanceMetadata
from .resource_keys import resource_key


class State(StrEnum):
    """The state of an instance or binding."""

    CREATING = "creating"
    READY = "ready"
    FAILED = "failed"  # the creation failed, and the platform must delete the resource
    DELETED = "deleted"


class Mode(StrEnum):
    """The way in which an operation runs."""

    INLINE = "at once"  # by a synchronous handler; released stores contain this value
    POLLED = "polled"  # outside the broker: the handler returned `Accepted`
    BACKGROUND = "background"  # by a background handler in an executor


class Progress(StrEnum):
    """The progress of an operation, in the words of R-LAST-1."""

    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class InstanceAttributes(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """Attributes of an instance from the platform. The store encrypts them, like the structs below."""

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters"})

    instance_id: str
    parameters: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    organization_guid: str | None = None
    space_guid: str | None = None
    maintenance_version: str | None = None


class InstanceResult(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """Values that handlers returned for an instance."""

    _secret: ClassVar[frozenset[str]] = frozenset({"data"})

    dashboard_url: str | None = None
    metadata: InstanceMetadata | None = None
    data: dict[str, Any] = field(default_factory=dict)


class BindingAttributes(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """Attributes of a binding from the platform."""

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
    """Values that a handler returned for a binding."""

    _secret: ClassVar[frozenset[str]] = frozenset({"data"})

    binding: Binding | None = None
    data: dict[str, Any] = field(default_factory=dict)


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reported progress or end of an operation.

    Args:
        description: A message for the user. Defaults to None.
        instance_usable: For a failed update or deprovision (R-ERR-2). Defaults to None.
        update_repeatable: For a failed update (R-ERR-2). Defaults to None.
        accepted: The operation string that the handler passed to `Accepted`. Defaults to None.
        retry_after: The number of seconds until the next poll, from the handler. Defaults to None.
        result: The new values of the instance after the success of an asynchronous update. Defaults to None.
        cancelled: Whether the operation failed because the platform deleted the resource (R-DEL-3). Defaults
            to False.
    """

    description: str | None = None
    instance_usable: bool | None = None
    update_repeatable: bool | None = None
    accepted: str | None = None
    retry_after: int | None = None
    result: InstanceResult | None = None
    cancelled: bool = field(default=False, name="halted")  # the name in released stores


# Build decoders at import time: msgspec inspects types lazily, which is not thread-safe.
_INSPECTED = [
    Decoder(kind) for kind in (InstanceAttributes, InstanceResult, BindingAttributes, BindingResult, Outcome)
]


class OperationRecord(Struct, frozen=True, kw_only=True):
    """An operation. Times are in seconds since 1970, by the database's clock.

    Args:
        id: The id of the operation, for polls.
        instance_key: The store's key of the instance.
        binding_key: The store's key of the binding. None if the operation is on the instance.
        kind: The requested operation.
        mode: The way in which the operation runs.
        state: The progress of the operation.
        service_id: The id of the offering.
        plan_id: The id of the plan. For an update, the id of the new plan.
        attempt: The number of the last attempt. It only increases. Every write is fenced by the number of
            its attempt, so that an attempt that lost its lease cannot write.
        attempts_before: The number of attempts before an operator retried the operation.
        lease_until: The end of the running attempt's lease. None if no attempt runs. An attempt may also
            run, and has a lease, after its operation was cancelled or has exceeded its deadline.
        wake_at: The time at which a process must handle the operation next. None if no process has to: the
            operation has ended, or it waits for the attempt of an earlier operation.
        deadline: The time at which the operation fails automatically.
        follows: The id of an earlier operation. Its attempt must end before this operation begins.
        created_at: The time of the request.
        updated_at: The time of the last change.
        request: The request, encrypted.
        outcome: The :class:`Outcome`, encrypted. None if there is none.
        due_at: The time from which the next attempt may begin, while the operation waits in an executor's
            queue. In a queue, `wake_at` is the time at which the operation is enqueued again.
        sequence: The position of the operation in the order of all claims.
        handovers: The number of attempts, since the last retry by an operator, that do not count for
            `max_attempts`: they ended before the handler ran, or handed the operation over.
        followed_by: The id of the operation that waits for the attempt of this one. Defaults to None.
        renewals: The number of renewals of the current attempt's lease and of earlier ones. It identifies a
            lease, because `lease_until` can repeat when the clock is set back. Defaults to 0.
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
    sequence: int
    handovers: int
    followed_by: str | None = None
    renewals: int = 0

    @property
    def tries(self) -> int:
        """The number of attempts since the last retry by an operator, as handlers see it."""
        return self.attempt - self.attempts_before

    @property
    def may_be_running(self) -> bool:
        """Whether an attempt may be running, even if the operation has ended or the lease has expired."""
        return self.lease_until is not None

    def is_late_at(self, now: float) -> bool:
        """Whether the operation is in progress after its deadline. A request in progress has no deadline."""
        is_limited = self.mode is not Mode.INLINE and self.state is Progress.IN_PROGRESS
        return is_limited and self.deadline <= now


class InstanceRecord(Struct, frozen=True, kw_only=True):
    """An instance. `revision` increases with each change, and `operation` is its last operation.

    `busy_bindings` is the number of operations on its bindings that are in progress or have a running
    attempt.
    """

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
    operation_id: str | None
    operation: OperationRecord | None


class BindingRecord(Struct, frozen=True, kw_only=True):
    """A binding. Its fields have the same meanings as those of :class:`InstanceRecord`."""

    instance_key: str
    key: str
    revision: int
    state: State
    attributes: BindingAttributes
    result: BindingResult
    created_at: float
    updated_at: float
    operation_id: str | None
    operation: OperationRecord | None


class Snapshot(Struct, frozen=True):
    """The instance and binding of a request, read at one moment.

    Args:
        instance: The instance, which may be deleted. Defaults to None.
        binding: The binding. Defaults to None.
        now: The time of the read, in seconds since 1970 by the database's clock. Defaults to 0.
    """

    instance: InstanceRecord | None = None
    binding: BindingRecord | None = None
    now: float = 0.0


class NewOperation(Masked, frozen=True, kw_only=True):
    """An operation to claim. Durations are in seconds from now.

    Args:
        id: The id of the operation, for polls.
        kind: The requested operation.
        mode: The way in which the operation runs. A synchronous operation is claimed with its first attempt.
        instance_id: The id of the instance.
        binding_id: The id of the binding. None if the operation is on the instance.
        service_id: The id of the offering.
        plan_id: The id of the plan. For an update, the id of the new plan.
        deadline: The time until the operation fails automatically.
        request: The stored part of the request.
        follows: The id of an earlier operation. Its attempt must end first. Defaults to None.
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

    def attempt(self) -> Attempt:
        """Return the first attempt of a synchronous operation."""
        binding_key = None if self.binding_id is None else resource_key(self.binding_id)
        return Attempt(self.id, 1, self.kind, resource_key(self.instance_id), binding_key)


class Attempt(Struct, frozen=True):
    """An attempt of an operation. Its number is the fence: an attempt that lost its lease cannot write."""

    operation_id: str
    number: int
    kind: Operation
    instance_key: str
    binding_key: str | None

    @classmethod
    def of(cls, operation: OperationRecord) -> Attempt:
        """Return the current attempt of an operation."""
        return cls(
            operation.id, operation.attempt, operation.kind, operation.instance_key, operation.binding_key
        )


class Change(Struct, frozen=True, kw_only=True):
    """A change of an operation's instance or binding. None keeps the stored value of a field."""

    state: State | None = None
    plan_id: str | None = None
    attributes: InstanceAttributes | None = None
    result: InstanceResult | BindingResult | None = None


UNCHANGED = Change()
