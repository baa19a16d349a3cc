"""One change: remembered before it is asked for, sent, polled, and remembered as it ended."""

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

_DOING = {
    Operation.PROVISION: "Making",
    Operation.BIND: "Binding",
    Operation.UPDATE: "Updating",
    Operation.DEPROVISION: "Deleting",
    Operation.UNBIND: "Unbinding",
}
_MAKING = frozenset({Operation.PROVISION, Operation.BIND})


class Subject(NamedTuple):
    """What is changed: an instance, or one of its bindings."""

    instance: KnownInstance
    binding: KnownBinding | None = None

    @property
    def name(self) -> str:
        """How the person calls it: ``orders``, ``orders/shop``."""
        return "/".join(self._names)

    @property
    def known(self) -> KnownInstance | KnownBinding:
        """What is remembered of it."""
        return self.binding or self.instance

    def changed(self, **fields: Any) -> Subject:
        """What is known of it after a change."""
        if self.binding is None:
            return Subject(structs.replace(self.instance, **fields))
        return Subject(self.instance, structs.replace(self.binding, **fields))

    def command(self, name: str) -> str:
        """A command about it, as it is typed."""
        words = shlex.join(("brokerkit", name, *self._names))
        if not self.instance.adopted:
            return words
        return f"{words} {shlex.join(('--service', self.instance.service, '--plan', self.instance.plan))}"

    @property
    def deletion(self) -> str:
        """The command that deletes it."""
        return self.command("deprovision" if self.binding is None else "unbind")

    @property
    def _names(self) -> tuple[str, ...]:
        names = (self.instance.name,)
        return names if self.binding is None else (*names, self.binding.name)


class Change:
    """A change of one thing.

    Args:
        desk: Where.
        subject: Of what.
        pending: Which change.
    """

    def __init__(self, desk: CommandContext, subject: Subject, pending: Pending) -> None:
        self.desk, self.subject, self.pending = desk, subject, pending
        #: Is it through?
        self.done = False

    @property
    def now(self) -> Subject:
        """What is known of the subject now."""
        instance, binding = self.subject
        if self.desk.talk.late is not None:  # what is remembered is not what there is
            return self.subject
        instance = self.desk.memory.instances(self.desk.url).get(instance.instance_id, instance)
        return Subject(instance, binding and instance.bindings.get(binding.binding_id, binding))

    def run(
        self, ask: Callable[[], Struct], *, wait: bool = True, plan: ServicePlan | None = None
    ) -> Struct | None:
        """Ask for it, and wait for it.

        Args:
            ask: Sends the request.
            wait: Wait until it is through?
            plan: Says for how long a platform would wait.

        Returns:
            The result; None if it goes on.

        Raises:
            Fault: It did not go well.
        """
        if self.pending.kind in _MAKING:  # and remembered before it comes here
            self.desk.talk.making = self.subject.name
        else:
            self.desk.memory.change(self.desk.url, *self.subject, pending=self.pending)
        try:
            answer = ask()
        except ClientError as error:
            raise cli_error_of(error, *self._remember_refusal(error)) from None
        except KeyboardInterrupt:
            raise interrupted(
                f"Interrupted; {self.subject.name} may be changed by the service broker all the same.",
                f"'{self.subject.command('poll')}' asks for it; '{self.subject.deletion}' deletes it.",
            ) from None
        if not isinstance(answer, Accepted):
            return self._end(answer)
        self.pending = structs.replace(self.pending, operation=answer.operation)
        self._remember(pending=self.pending)
        if answer.dashboard_url is not None:
            self._remember(dashboard_url=answer.dashboard_url)
        if wait:
            return self.wait(plan)
        self.desk.talk.note(f"It goes on at the service broker: {self.subject.command('poll')}")
        return None

    def wait(self, plan: ServicePlan | None = None) -> Struct:
        """Poll until it is through.

        Args:
            plan: Says for how long a platform would wait.

        Raises:
            Fault: It did not go well.
        """
        poll = self.subject.command("poll")
        try:
            found: Struct = follow(self.desk, self.subject, self.pending, plan)
        except OperationFailed as error:
            raise cli_error_of(error, *self._remember_failure(error.last_operation)) from None
        except PollingTimeout as error:
            raise cli_error_of(error, f"A platform gives up now; '{poll}' goes on asking.") from None
        except ClientError as error:
            raise cli_error_of(error, f"'{poll}' asks again; '{self.subject.deletion}' deletes it.") from None
        except KeyboardInterrupt:
            raise interrupted(
                f"Interrupted; {self.subject.name} goes on at the service broker.", f"Come back to it: {poll}"
            ) from None
        return self._end(found)

    # How it ended

    def _end(self, answer: Struct) -> Struct:
        """Remember that it is through."""
        self.done = True
        binding = self.subject.binding
        if self.pending.is_deletion:
            self._forget()
            return answer
        fields: dict[str, Any] = {"pending": None, "failed": False}
        if isinstance(answer, Binding):
            if not self._can_be_fetched:
                fields["result"] = document_of(answer)
        elif binding is not None:
            answer = self._fetch(binding)
        elif isinstance(answer, Provisioned | Updated) and answer.dashboard_url is not None:
            fields["dashboard_url"] = answer.dashboard_url
        moved = {
            "plan_id": self.pending.to_plan_id,
            "plan": self.pending.to_plan,
            "version": self.pending.to_version,
        }
        fields |= {name: told for name, told in moved.items() if told is not None}
        self._remember(**fields)
        return answer

    @property
    def _can_be_fetched(self) -> bool:
        chosen = self.desk.find_plan(self.subject.instance)
        return chosen is not None and chosen.offering.bindings_retrievable

    def _fetch(self, binding: KnownBinding) -> Binding:
        try:
            return fetch(self.desk, self.subject.instance, binding)
        except ClientError as error:
            self._remember(pending=None, failed=False)
            credentials = self.subject.command("credentials")
            raise cli_error_of(
                error, f"The binding is there, but cannot be fetched; '{credentials}' tries again."
            ) from None

    def _remember_refusal(self, error: ClientError) -> tuple[str, ...]:
        """Remember what is left after a refusal or no answer (R-ERR-4, R-REQ-8), and say what to do."""
        gone = _changed_nothing(error)
        if self.pending.kind in _MAKING:
            if gone:
                self._forget()
                return ()
            self._remember(pending=None, failed=True)
            return (f"'{self.subject.deletion}' deletes what may be left of it.",)
        if gone:
            self._remember(pending=self.subject.known.pending)
            return ()
        return (f"Whether it was done is not known; '{self.subject.command('poll')}' asks.",)

    def _remember_failure(self, found: LastOperation) -> tuple[str, ...]:
        """Remember that it failed in the end, and say what to do."""
        if self.pending.kind is Operation.UPDATE:
            self._remember(pending=None, failed=found.instance_usable is False)
            return ()
        self._remember(pending=None, failed=True)
        return (f"'{self.subject.deletion}' deletes what is left of it.",)

    def _remember(self, **fields: Any) -> None:
        """Remember what the broker did. If that cannot be, the result is shown all the same."""
        with self._late_is_enough():
            self.desk.memory.change(self.desk.url, *self.subject, **fields)
        self.subject = self.subject.changed(**fields)

    def _forget(self) -> None:
        with self._late_is_enough():
            self.desk.memory.forget(self.desk.url, *self.subject)

    @contextmanager
    def _late_is_enough(self) -> Iterator[None]:
        try:
            yield
        except CLIError as fault:
            fault.hints += (f"The service broker did its part of {self.subject.name} all the same.",)
            self.desk.talk.late = fault


def delete(desk: CommandContext, subject: Subject, *, wait: bool = True) -> Change:
    """Delete an instance or a binding.

    Args:
        desk: Where.
        subject: Which.
        wait: Wait until it is gone?

    Raises:
        Fault: It did not go well.
    """
    instance, binding = subject
    ids = (instance.service_id, instance.plan_id)

    def ask() -> Struct:
        if binding is None:
            return desk.client.deprovision(instance.instance_id, *ids)
        return desk.client.unbind(instance.instance_id, binding.binding_id, *ids)

    kind = Operation.DEPROVISION if binding is None else Operation.UNBIND
    deleting = Change(desk, subject, Pending(kind=kind))
    deleting.run(ask, wait=wait)
    return deleting


def follow(
    desk: CommandContext, subject: Subject, pending: Pending | None, plan: ServicePlan | None = None
) -> LastOperation:
    """Poll until an operation is through, and show how far it is.

    Args:
        desk: Where.
        subject: Of what.
        pending: Which operation; None for the last that there was.
        plan: Says for how long a platform would wait.

    Raises:
        ClientError: As `BrokerClient.wait`.
    """
    instance, binding = subject
    doing = "Asking for" if pending is None else _DOING[pending.kind]
    with progress(desk.talk, f"{doing} {subject.name}") as told:
        return desk.client.wait(
            instance.instance_id,
            None if binding is None else binding.binding_id,
            operation=None if pending is None else pending.operation,
            offering=instance.service_id,
            plan=plan or instance.plan_id,  # the one before an update (R-UPD-6)
            deleting=pending is not None and pending.is_deletion,
            progress=told,
        )


def _changed_nothing(error: ClientError) -> bool:
    """Is it certain that the broker has what it had before?"""
    if error.mitigation is not None:
        return error.mitigation.gone
    status = error.exchange.status
    return not error.exchange.was_sent if status is None else status >= 400


def fetch(desk: CommandContext, instance: KnownInstance, binding: KnownBinding) -> Binding:
    """Fetch a binding from the broker.

    Raises:
        ClientError: It did not go well.
    """
    return desk.client.get_binding(
        instance.instance_id, binding.binding_id, offering=instance.service_id, plan=instance.plan_id
    )


def document_of(binding: Binding) -> dict[str, Any]:
    """A binding as its broker wrote it."""
    fields: dict[str, Any] = msgspec.to_builtins(binding)
    return {name: value for name, value in fields.items() if name not in ("exists", "data")}
