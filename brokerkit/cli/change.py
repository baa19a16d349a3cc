"""A change of an instance or a binding: record it, send the request, poll, and record the outcome."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, structs

from ..catalog.models import ServicePlan
from ..client.client import ClientError, OperationFailed, PollingTimeout
from ..requests import Operation
from ..results import Accepted, Binding, LastOperation, Provisioned, Updated
from .context import CommandContext
from .errors import cli_error_of
from .output import CLIError, interrupted
from .progress import progress
from .state_file import KnownBinding, KnownInstance, Pending

_PROGRESS_LABELS = {
    Operation.PROVISION: "Provisioning",
    Operation.BIND: "Binding",
    Operation.UPDATE: "Updating",
    Operation.DEPROVISION: "Deprovisioning",
    Operation.UNBIND: "Unbinding",
}
_CREATIONS = frozenset({Operation.PROVISION, Operation.BIND})


class Subject(NamedTuple):
    """The subject of a change: an instance, or one of its bindings."""

    instance: KnownInstance
    binding: KnownBinding | None = None

    @property
    def name(self) -> str:
        """The display name: ``orders``, ``orders/shop``."""
        return "/".join(self._names)

    @property
    def record(self) -> KnownInstance | KnownBinding:
        """The record of the subject in the state file."""
        return self.binding or self.instance

    def replace(self, **fields: Any) -> Subject:
        """Return the subject with other values in fields of its record."""
        if self.binding is None:
            return Subject(structs.replace(self.instance, **fields))
        return Subject(self.instance, structs.replace(self.binding, **fields))

    def command(self, name: str) -> str:
        """Return the command line of a command for the subject."""
        line = shlex.join(("brokerkit", name, *self._names))
        if not self.instance.adopted:
            return line
        return f"{line} {shlex.join(('--offering', self.instance.offering, '--plan', self.instance.plan))}"

    @property
    def delete_command(self) -> str:
        """The command line that deletes the subject."""
        return self.command("deprovision" if self.binding is None else "unbind")

    @property
    def _names(self) -> tuple[str, ...]:
        names = (self.instance.name,)
        return names if self.binding is None else (*names, self.binding.name)


class Change:
    """A change of an instance or a binding.

    Args:
        context: The context of the command.
        subject: The instance or binding to change.
        pending: The operation.
    """

    def __init__(self, context: CommandContext, subject: Subject, pending: Pending) -> None:
        self.context, self.subject, self.pending = context, subject, pending
        #: Whether the operation has finished.
        self.done = False

    @property
    def current(self) -> Subject:
        """The subject as the state file has it now."""
        instance, binding = self.subject
        if self.context.output.deferred_error is not None:  # the state file is out of date
            return self.subject
        instance = self.context.state_file.instances(self.context.url).get(instance.instance_id, instance)
        return Subject(instance, binding and instance.bindings.get(binding.binding_id, binding))

    def run(
        self, send: Callable[[], Struct], *, wait: bool = True, plan: ServicePlan | None = None
    ) -> Struct | None:
        """Send the request, and wait for the operation.

        Args:
            send: Sends the request.
            wait: Whether to wait for an asynchronous operation. Defaults to True.
            plan: The plan that limits the time to poll. Optional.

        Returns:
            The result; None if the operation continues.

        Raises:
            CLIError: The request or the operation failed.
        """
        if self.pending.kind in _CREATIONS:  # the caller has added the record with its pending operation
            self.context.output.creating = self.subject.name
        else:
            self.context.state_file.update(self.context.url, *self.subject, pending=self.pending)
        try:
            response = send()
        except ClientError as error:
            raise cli_error_of(error, *self._record_refusal(error)) from None
        except KeyboardInterrupt:
            raise interrupted(
                f"Interrupted. The service broker may still process the request for {self.subject.name}.",
                f"To check the outcome: {self.subject.command('poll')}",
                f"To delete it: {self.subject.delete_command}",
            ) from None
        if not isinstance(response, Accepted):
            return self._finish(response)
        self.pending = structs.replace(self.pending, operation=response.operation)
        self._record(pending=self.pending)
        if response.dashboard_url is not None:
            self._record(dashboard_url=response.dashboard_url)
        if wait:
            return self.wait(plan)
        self.context.output.note(
            f"The operation continues at the service broker. To wait for it: {self.subject.command('poll')}"
        )
        return None

    def wait(self, plan: ServicePlan | None = None) -> Struct:
        """Poll until the operation has finished.

        Args:
            plan: The plan that limits the time to poll. Optional.

        Raises:
            CLIError: A poll or the operation failed, or the time is over.
        """
        poll = self.subject.command("poll")
        try:
            result: Struct = wait_for_operation(self.context, self.subject, self.pending, plan)
        except OperationFailed as error:
            raise cli_error_of(error, *self._record_failure(error.last_operation)) from None
        except PollingTimeout as error:
            raise cli_error_of(error, f"Platforms stop polling now. To continue: {poll}") from None
        except ClientError as error:
            raise cli_error_of(
                error, f"To try again: {poll}", f"To delete it: {self.subject.delete_command}"
            ) from None
        except KeyboardInterrupt:
            raise interrupted(
                f"Interrupted. The operation on {self.subject.name} continues at the service broker.",
                f"To wait for it: {poll}",
            ) from None
        return self._finish(result)

    # Outcomes

    def _finish(self, result: Struct) -> Struct:
        """Record the successful end of the operation, and return the result to show."""
        self.done = True
        binding = self.subject.binding
        if self.pending.is_deletion:
            self._remove()
            return result
        fields: dict[str, Any] = {"pending": None, "failed": False}
        if isinstance(result, Binding):
            if not self._is_retrievable:
                fields["result"] = binding_document(result)
        elif binding is not None:
            result = self._fetch(binding)
        elif isinstance(result, Provisioned | Updated) and result.dashboard_url is not None:
            fields["dashboard_url"] = result.dashboard_url
        target = {
            "plan_id": self.pending.to_plan_id,
            "plan": self.pending.to_plan,
            "version": self.pending.to_version,
        }
        fields |= {name: value for name, value in target.items() if value is not None}
        self._record(**fields)
        return result

    @property
    def _is_retrievable(self) -> bool:
        chosen = self.context.find_plan(self.subject.instance)
        return chosen is not None and chosen.offering.bindings_retrievable

    def _fetch(self, binding: KnownBinding) -> Binding:
        try:
            return fetch(self.context, self.subject.instance, binding)
        except ClientError as error:
            self._record(pending=None, failed=False)
            credentials = self.subject.command("credentials")
            raise cli_error_of(
                error, f"The binding exists, but cannot be fetched. To try again: {credentials}"
            ) from None

    def _record_refusal(self, error: ClientError) -> tuple[str, ...]:
        """Record the state after an error response or no response (R-ERR-4, R-REQ-8), and return hints."""
        unchanged = _is_unchanged(error)
        if self.pending.kind in _CREATIONS:
            if unchanged:
                self._remove()
                return ()
            self._record(pending=None, failed=True)
            return (f"{self.subject.name} may still exist. To delete it: {self.subject.delete_command}",)
        if unchanged:
            self._record(pending=self.subject.record.pending)
            return ()
        return (f"The outcome is unknown. To check it: {self.subject.command('poll')}",)

    def _record_failure(self, operation: LastOperation) -> tuple[str, ...]:
        """Record that the operation failed, and return hints."""
        if self.pending.kind is Operation.UPDATE:
            self._record(pending=None, failed=operation.instance_usable is False)
            return ()
        self._record(pending=None, failed=True)
        return (f"To delete the failed resource: {self.subject.delete_command}",)

    def _record(self, **fields: Any) -> None:
        """Update the record of the subject. If the file cannot be written, the result is still shown."""
        with self._defer_error():
            self.context.state_file.update(self.context.url, *self.subject, **fields)
        self.subject = self.subject.replace(**fields)

    def _remove(self) -> None:
        with self._defer_error():
            self.context.state_file.remove(self.context.url, *self.subject)

    @contextmanager
    def _defer_error(self) -> Iterator[None]:
        """Raise an error of the state file only after the result is printed."""
        try:
            yield
        except CLIError as error:
            error.hints += (
                f"The service broker is not affected; only the record of {self.subject.name} is out of date.",
            )
            self.context.output.deferred_error = error


def delete(context: CommandContext, subject: Subject, *, wait: bool = True) -> Change:
    """Delete an instance or a binding.

    Args:
        context: The context of the command.
        subject: The instance or binding.
        wait: Whether to wait for the deletion. Defaults to True.

    Raises:
        CLIError: The request or the operation failed.
    """
    instance, binding = subject
    ids = (instance.service_id, instance.plan_id)

    def send() -> Struct:
        if binding is None:
            return context.client.deprovision(instance.instance_id, *ids)
        return context.client.unbind(instance.instance_id, binding.binding_id, *ids)

    kind = Operation.DEPROVISION if binding is None else Operation.UNBIND
    change = Change(context, subject, Pending(kind=kind))
    change.run(send, wait=wait)
    return change


def wait_for_operation(
    context: CommandContext, subject: Subject, pending: Pending | None, plan: ServicePlan | None = None
) -> LastOperation:
    """Poll until an operation has finished, and show its progress.

    Args:
        context: The context of the command.
        subject: The instance or binding.
        pending: The operation; None for the last operation of the subject.
        plan: The plan that limits the time to poll. Optional.

    Raises:
        ClientError: `BrokerClient.wait` failed.
    """
    instance, binding = subject
    label = "Polling" if pending is None else _PROGRESS_LABELS[pending.kind]
    with progress(context.output, f"{label} {subject.name}") as update:
        return context.client.wait(
            instance.instance_id,
            None if binding is None else binding.binding_id,
            operation=None if pending is None else pending.operation,
            offering=instance.service_id,
            plan=plan or instance.plan_id,  # the plan before an update (R-UPD-6)
            deleting=pending is not None and pending.is_deletion,
            progress=update,
        )


def _is_unchanged(error: ClientError) -> bool:
    """Whether the failed request certainly changed nothing at the broker."""
    if error.mitigation is not None:
        return error.mitigation.gone
    status = error.exchange.status
    return not error.exchange.was_sent if status is None else status >= 400


def fetch(context: CommandContext, instance: KnownInstance, binding: KnownBinding) -> Binding:
    """Fetch a binding from the broker.

    Raises:
        ClientError: The request failed.
    """
    return context.client.get_binding(
        instance.instance_id, binding.binding_id, offering=instance.service_id, plan=instance.plan_id
    )


def binding_document(binding: Binding) -> dict[str, Any]:
    """Return a binding as the JSON object of the broker's response."""
    fields: dict[str, Any] = msgspec.to_builtins(binding)
    return {name: value for name, value in fields.items() if name not in ("exists", "data")}
