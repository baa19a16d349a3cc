"""What all journeys do: ask, note what was seen, and wait for what takes a while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from ..client import endpoints as asking
from ..client.endpoints import APIRequest
from ..client.exchange import Exchange
from ..client.responses import retry_after
from ..requests import Operation
from .example_parameters import Values
from .resource_tracker import Resource
from .session import BrokerGone, CheckSession, Headers, Stopped
from .situations import Situation
from .targets import Target

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_BAD_POLLS = 3
"""After how many polls in a row that tell nothing an operation is given up."""

_UNKNOWN_OPERATION = "brokerkit-check-unknown"

NOT_TRUE = ("false", "1", "True")
"""What does not say that a platform can poll."""

ACCEPTED = (200, 201, 202)
IN_PROGRESS, SUCCEEDED, FAILED = "in progress", "succeeded", "failed"

_APP = "c3333333-0000-4000-8000-000000000003"
FOR_AN_APP: Mapping[str, Any] = {"app_guid": _APP, "bind_resource": {"app_guid": _APP}}
"""What makes a bind one for an application."""


def is_plain_refusal(exchange: Exchange) -> bool:
    """Is it refused for what it is, such as a quota, and not for what there is?"""
    return exchange.status is not None and 400 <= exchange.status < 500 and exchange.status not in (409, 422)


class FinalState(NamedTuple):
    """How an operation ended.

    Args:
        state: ``"succeeded"``, ``"failed"``; or ``"unknown"``, if nobody told.
        last: The last poll.
    """

    state: str
    last: Exchange

    @property
    def told(self) -> str:
        """How, in words."""
        return f"{self.state}: {self.last.description}" if self.last.description else self.state


class Probe(NamedTuple):
    """A request to send while an operation is in progress.

    Args:
        situation: Why it is sent.
        ask: What is asked.
        resource: What it makes or deletes, if anything.
        before: What the answer is compared with, where it is the same request once more.
        facts: What else the rules need to judge it.
    """

    situation: Situation
    ask: APIRequest
    resource: Resource | None = None
    before: tuple[Exchange, ...] = ()
    facts: Mapping[str, Any] = {}


Meanwhile = Sequence[tuple[Probe, Exchange]]
"""What was asked while an operation was in progress, or so it seemed, and the answers."""


class Scenario:
    """Works through something with one plan.

    Args:
        session: What all journeys share.
        target: The plan.
        operation_timeout: For how many seconds to wait for an operation whose plan does not say.
    """

    def __init__(self, session: CheckSession, target: Target, operation_timeout: float) -> None:
        self.session = session
        self.target = target
        self.timeout = operation_timeout
        self.trouble: str | None = None
        self._facts: Mapping[str, Any] = {
            "service_id": target.service_id,
            "plan_id": target.plan_id,
            "requires": target.requires,
            "bindings_retrievable": target.bindings_retrievable,
        }

    def request(
        self,
        situation: Situation,
        ask: APIRequest,
        *before: Exchange,
        resource: Resource | None = None,
        headers: Headers | None = None,
        **facts: Any,
    ) -> Exchange:
        """Send a request, and note what was seen.

        Args:
            situation: Why it is sent.
            ask: What is asked.
            before: What the answer is compared with.
            resource: What a PUT makes, or a DELETE deletes.
            headers: More headers; None leaves one out.
            facts: What the rules need to judge it.
        """
        exchange = self.send(ask, resource, headers)
        self.note(situation, ask, exchange, *before, **facts)
        return exchange

    def send(
        self,
        ask: APIRequest,
        resource: Resource | None = None,
        headers: Headers | None = None,
        **options: bool,
    ) -> Exchange:
        """Send a request, keeping the ledger."""
        ledger = self.session.ledger
        if resource is not None and ask.method == "PUT":
            ledger.requested(resource, self.target.service_id, self.target.plan_id)
        try:
            exchange = self.session.send(ask, headers, **options)
        except (Stopped, BrokerGone):
            if resource is not None and ask.method == "PUT":
                ledger.refused(resource)
            raise
        if resource is not None:
            ledger.responded(resource, ask.operation, exchange)
        return exchange

    def undo(self, resource: Resource, exchange: Exchange) -> None:
        """Delete what should have been refused, if it was not; it is seen to in the end that it is gone."""
        if exchange.status in ACCEPTED:
            self.send(self.delete(resource), resource)

    def remove(self, resource: Resource, situation: Situation | None = None) -> None:
        """Delete what is needed no more: a broker need not delete an instance that has bindings.

        Args:
            resource: What.
            situation: What it is noted as, if at all.
        """
        ask = self.delete(resource)
        if situation is None:
            self.is_deleted(resource, self.send(ask, resource))
        else:
            self.is_deleted(resource, self.request(situation, ask, resource=resource))

    def is_deleted(
        self,
        resource: Resource,
        answer: Exchange,
        *,
        polled: Situation | None = Situation.POLLED_DELETION,
        plan_id: str | None = None,
    ) -> bool:
        """Did a DELETE delete it? Waits for one that takes a while.

        Args:
            resource: What.
            answer: The answer to the DELETE.
            polled: What its polls are noted as; None for not at all.
            plan_id: The plan to poll with, if not the target's.
        """
        if answer.status != 202:
            return answer.status == 200
        ended = self.wait(resource, answer, polled=polled, deleting=True, plan_id=plan_id)
        return ended.state == SUCCEEDED

    def without_saying_true(
        self, situation: Situation, ask: APIRequest, resource: Resource | None = None
    ) -> None:
        """Send what only a platform that can poll may ask, with words that do not say so (R-REQ-9).

        Args:
            situation: What it is noted as.
            ask: What is asked. If the broker begins it all the same, it is the same that comes next.
            resource: What it makes or deletes.
        """
        for word in NOT_TRUE:
            asked = ask.with_field(word)
            answer = self.send(asked, resource)
            if word == "false" and is_plain_refusal(answer):
                plain = self.send(ask.without_field("accepts_incomplete"), resource)
                if is_plain_refusal(plain):  # by now, for whatever reason
                    self.skip(f"it was refused: {plain.response_line}", situation)
                    return
            self.note(situation, asked, answer, what=f"accepts_incomplete={word}", word=word)
            if answer.status in ACCEPTED:
                break

    def note(
        self, situation: Situation, ask: APIRequest, exchange: Exchange, *before: Exchange, **facts: Any
    ) -> None:
        """Note what was seen."""
        self.session.note(situation, self.target.name, ask, exchange, *before, **{**self._facts, **facts})

    def skip(self, why: str, *situations: Situation) -> None:
        """Say why situations are not come to."""
        self.session.skip(f"{self.target.name}: {why}", *situations)

    # Requests for the plan

    def provision(
        self, resource: Resource, parameters: Values | None, *, can_poll: bool = True, **more: Any
    ) -> APIRequest:
        """The request that makes a service instance of the plan."""
        platform = self.session.platform
        body = {
            "service_id": self.target.service_id,
            "plan_id": self.target.plan_id,
            "organization_guid": platform.organization_guid,
            "space_guid": platform.space_guid,
            "context": platform.full_context or None,
            "parameters": parameters,
            **more,
        }
        return asking.provision(resource.instance_id, can_poll=can_poll, **body)

    def bind(
        self, resource: Resource, parameters: Values | None, *, can_poll: bool = True, **more: Any
    ) -> APIRequest:
        """The request that makes a service binding of the plan."""
        assert resource.binding_id is not None, "it is a binding"
        body = {
            "service_id": self.target.service_id,
            "plan_id": self.target.plan_id,
            "context": self.session.platform.full_context or None,
            "parameters": parameters,
            **more,
        }
        return asking.bind(resource.instance_id, resource.binding_id, can_poll=can_poll, **body)

    def bind_probe(self, situation: Situation, binding: Resource) -> Probe:
        """A bind that comes at the wrong moment, for no application."""
        bind = self.target.bind
        facts = {"made_up": bind.least_is_made_up}
        return Probe(situation, self.bind(binding, bind.least), binding, facts=facts)

    def update(
        self, resource: Resource, *, can_poll: bool = True, plan_id: str | None = None, **body: Any
    ) -> APIRequest:
        """The request that changes a service instance; `plan_id` is the plan that it has."""
        before = {
            "service_id": self.target.service_id,
            "plan_id": plan_id or self.target.plan_id,
            "organization_id": self.session.platform.organization_guid,
            "space_id": self.session.platform.space_guid,
        }
        return asking.update(
            resource.instance_id,
            can_poll=can_poll,
            **{"service_id": self.target.service_id, "previous_values": before, **body},
        )

    def delete(self, resource: Resource, *, can_poll: bool = True, plan_id: str | None = None) -> APIRequest:
        """The request that deletes a service instance or a service binding."""
        return asking.delete(
            *resource,
            service_id=self.target.service_id,
            plan_id=plan_id or self.target.plan_id,
            can_poll=can_poll,
        )

    def fetch(self, resource: Resource, *, hints: bool = True, plan_id: str | None = None) -> APIRequest:
        """The request that fetches a service instance or a service binding."""
        if not hints:
            return asking.fetch(*resource)
        return asking.fetch(
            *resource, service_id=self.target.service_id, plan_id=plan_id or self.target.plan_id
        )

    def poll(self, resource: Resource, operation: str | None, *, plan_id: str | None = None) -> APIRequest:
        """The request that asks how an operation goes."""
        return asking.poll(
            *resource,
            operation=operation,
            service_id=self.target.service_id,
            plan_id=plan_id or self.target.plan_id,
        )

    # What takes a while

    def wait(
        self,
        resource: Resource,
        accepted: Exchange,
        *,
        polled: Situation | None = Situation.POLLED,
        deleting: bool = False,
        plan_id: str | None = None,
    ) -> FinalState:
        """Poll until an operation is over.

        Args:
            resource: What it is about.
            accepted: The 202.
            polled: What its polls are noted as; None for not at all.
            deleting: Is it a deletion? Also if its polls are noted as that.
            plan_id: The plan to poll with, if not the target's.
        """
        ask = self.poll(resource, accepted.operation, plan_id=plan_id)
        deleting = deleting or polled is Situation.POLLED_DELETION
        began, pause, bad = monotonic(), _FIRST_PAUSE, 0
        limit = min(self.timeout, self.target.polling_seconds or self.timeout)
        while True:
            last = self.send(ask) if polled is None else self.request(polled, ask, of=accepted.method)
            if deleting and (last.status == 410 or (last.status == 200 and last.state == SUCCEEDED)):
                self.session.ledger.deleted(resource)
            if deleting and last.status in (404, 410):  # which of them is right is a rule's
                return self._ended(FinalState(SUCCEEDED, last), ask, began)
            if last.status == 200 and last.state in (SUCCEEDED, FAILED):
                return self._ended(FinalState(last.state, last), ask, began)
            bad = 0 if last.status == 200 and last.state == IN_PROGRESS else bad + 1
            if bad == _BAD_POLLS:
                return FinalState("unknown", last)
            if monotonic() - began > limit:
                self._too_long(ask, last, accepted, monotonic() - began)
                return FinalState("unknown", last)
            told = retry_after(last)
            self.session.wait(pause if told is None else min(float(told), limit))
            pause = min(1.5 * pause, _LONGEST_PAUSE)

    def repeat_request(self, resource: Resource, made: Exchange, last: Exchange) -> None:
        """Poll what is over once more, and what never was.

        Args:
            resource: What was made.
            made: The 202.
            last: The last poll.
        """
        self.request(Situation.POLLED_AGAIN, self.poll(resource, made.operation), last)
        if made.operation is None:
            self.skip("the broker names no operations", Situation.POLLED_UNKNOWN_OPERATION)
        else:
            self.request(Situation.POLLED_UNKNOWN_OPERATION, self.poll(resource, _UNKNOWN_OPERATION))

    def _too_long(self, ask: APIRequest, last: Exchange, accepted: Exchange, seconds: float) -> None:
        """It is a fault where the plan says how long it may take; else the check has no time for it."""
        most = self.target.polling_seconds
        if most is not None and seconds > most:
            self.note(Situation.POLLED_TO_THE_END, ask, last, accepted, ended=False, seconds=seconds)
        else:
            self.skip(f"an operation took more than {seconds:.0f} s", Situation.POLLED_TO_THE_END)

    def _ended(self, ended: FinalState, ask: APIRequest, began: float) -> FinalState:
        seconds = monotonic() - began
        self.note(Situation.POLLED_TO_THE_END, ask, ended.last, ended=True, seconds=seconds)
        return ended

    def while_in_progress(
        self, resource: Resource, accepted: Exchange, probes: Sequence[Probe], **poll: Any
    ) -> Meanwhile:
        """Send requests while an operation is in progress, and note them only if it still was after them.

        Args:
            resource: What the operation is about.
            accepted: The 202.
            probes: What to send.
            poll: How to poll, as for :meth:`wait`.

        Returns:
            The answers, for :meth:`settle`.
        """
        seen = [(probe, self.send(probe.ask, probe.resource)) for probe in probes]
        polled = poll.pop("polled", Situation.POLLED)
        after = self.request(polled, self.poll(resource, accepted.operation, **poll), of=accepted.method)
        is_its_own = accepted.operation is not None or not any(_begins(*each) for each in seen)
        if after.status == 200 and after.state == IN_PROGRESS and is_its_own:
            for probe, exchange in seen:
                self.note(probe.situation, probe.ask, exchange, *probe.before, **probe.facts)
        else:
            why = "the operation was over before it could be asked about"
            self.skip(why, *(probe.situation for probe in probes))
        return seen

    def settle(self, instance: Resource, meanwhile: Meanwhile, *, plan_id: str | None = None) -> bool:
        """See to what was accepted because the operation was over by then: it is as good as any other.

        Args:
            instance: What was asked about.
            meanwhile: What :meth:`while_in_progress` returned.
            plan_id: The plan to poll with, if not the target's.

        Returns:
            Was the instance changed?
        """
        changed = False
        for probe, answer in meanwhile:
            if answer.status not in ACCEPTED:
                continue
            if probe.before:
                self._wait_for_another(instance, probe, answer, plan_id)
            elif probe.ask.operation is Operation.UPDATE:
                changed = True
                if answer.status == 202:
                    self.wait(instance, answer, plan_id=plan_id)
            elif probe.ask.operation is Operation.BIND and probe.resource is not None:
                if answer.status == 202:
                    self.wait(probe.resource, answer, polled=None)
                self.remove(probe.resource)
        return changed

    def _wait_for_another(
        self, resource: Resource, probe: Probe, answer: Exchange, plan_id: str | None
    ) -> None:
        """Wait for what a repeated request began, if it came too late to be one."""
        (before,) = probe.before
        is_the_same = answer.operation is not None and answer.operation == before.operation
        if answer.status == 202 and not is_the_same:
            self.wait(resource, answer, polled=None, plan_id=plan_id)


def _begins(probe: Probe, answer: Exchange) -> bool:
    """Did it begin another operation on the instance? Where those have no names, a poll is of the last."""
    return probe.ask.operation is Operation.UPDATE and not probe.before and answer.status == 202
