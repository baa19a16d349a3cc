"""The base class of all scenarios: sending requests, recording observations and polling operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from ..client import endpoints
from ..client.endpoints import APIRequest
from ..client.exchange import Exchange
from ..client.responses import retry_after
from ..requests import Operation
from .example_parameters import Values
from .resource_tracker import Resource
from .session import BrokerGone, CheckSession, Headers, Stopped
from .situations import Situation
from .targets import Target

_FIRST_PAUSE, _MAX_PAUSE = 0.1, 5.0
_MAX_INVALID_POLLS = 3
"""The number of consecutive invalid poll responses that end the polling."""

_UNKNOWN_OPERATION = "brokerkit-check-unknown"

FLAG_VALUES_NOT_TRUE = ("false", "1", "True")
"""Values of accepts_incomplete that are not ``true`` (R-REQ-9)."""

ACCEPTED = (200, 201, 202)
IN_PROGRESS, SUCCEEDED, FAILED = "in progress", "succeeded", "failed"

_APP_GUID = "c3333333-0000-4000-8000-000000000003"
APP_FIELDS: Mapping[str, Any] = {"app_guid": _APP_GUID, "bind_resource": {"app_guid": _APP_GUID}}
"""The fields of a bind request for an application."""


def is_unconditional_rejection(exchange: Exchange) -> bool:
    """Check whether a request was rejected for its content, not because of existing resources."""
    return exchange.status is not None and 400 <= exchange.status < 500 and exchange.status not in (409, 422)


class FinalState(NamedTuple):
    """The result of an operation.

    Args:
        state: ``"succeeded"``, ``"failed"``; or ``"unknown"`` if the broker reported no final state.
        last: The last poll.
    """

    state: str
    last: Exchange

    @property
    def summary(self) -> str:
        """The state with its description."""
        return f"{self.state}: {self.last.description}" if self.last.description else self.state


class Probe(NamedTuple):
    """A request to send while an operation is in progress.

    Args:
        situation: The situation to record.
        request: The request.
        resource: The resource that it creates or deletes, if any.
        previous: The exchange that a repeated request is compared with.
        facts: Further facts for the rules.
    """

    situation: Situation
    request: APIRequest
    resource: Resource | None = None
    previous: tuple[Exchange, ...] = ()
    facts: Mapping[str, Any] = {}


Meanwhile = Sequence[tuple[Probe, Exchange]]
"""The probes of an operation with their exchanges."""


class Scenario:
    """Base class of a sequence of requests for one plan.

    Args:
        session: The session of the check.
        target: The plan.
        operation_timeout: The maximum duration in seconds of an operation, unless the plan has its own.
    """

    def __init__(self, session: CheckSession, target: Target, operation_timeout: float) -> None:
        self.session = session
        self.target = target
        self.timeout = operation_timeout
        self.problem: str | None = None
        self._facts: Mapping[str, Any] = {
            "service_id": target.service_id,
            "plan_id": target.plan_id,
            "requires": target.requires,
            "bindings_retrievable": target.bindings_retrievable,
        }

    def request(
        self,
        situation: Situation,
        request: APIRequest,
        *previous: Exchange,
        resource: Resource | None = None,
        headers: Headers | None = None,
        **facts: Any,
    ) -> Exchange:
        """Send a request, and record the observation.

        Args:
            situation: The situation to record.
            request: The request.
            previous: The exchanges that the response is compared with.
            resource: The resource that a PUT creates or a DELETE deletes.
            headers: Additional headers; None removes one.
            facts: Further facts for the rules.
        """
        exchange = self.send(request, resource, headers)
        self.record(situation, request, exchange, *previous, **facts)
        return exchange

    def send(
        self,
        request: APIRequest,
        resource: Resource | None = None,
        headers: Headers | None = None,
        **options: bool,
    ) -> Exchange:
        """Send a request, and update the resource tracker."""
        tracker = self.session.tracker
        if resource is not None and request.method == "PUT":
            tracker.requested(resource, self.target.service_id, self.target.plan_id)
        try:
            exchange = self.session.send(request, headers, **options)
        except (Stopped, BrokerGone):
            if resource is not None and request.method == "PUT":
                tracker.rejected(resource)
            raise
        if resource is not None:
            tracker.responded(resource, request.operation, exchange)
        return exchange

    def delete_if_accepted(self, resource: Resource, exchange: Exchange) -> None:
        """Delete a resource that should have been rejected. The final cleanup confirms the deletion."""
        if exchange.status in ACCEPTED:
            self.send(self.delete(resource), resource)

    def delete_and_wait(self, resource: Resource, situation: Situation | None = None) -> None:
        """Delete a resource and wait: a broker may refuse to delete an instance that has bindings.

        Args:
            resource: The resource.
            situation: The situation to record. Defaults to none.
        """
        request = self.delete(resource)
        if situation is None:
            self.await_deletion(resource, self.send(request, resource))
        else:
            self.await_deletion(resource, self.request(situation, request, resource=resource))

    def await_deletion(
        self,
        resource: Resource,
        response: Exchange,
        *,
        polled: Situation | None = Situation.POLLED_DELETION,
        plan_id: str | None = None,
    ) -> bool:
        """Wait for the end of a deletion; return whether it succeeded.

        Args:
            resource: The resource.
            response: The response to the DELETE request.
            polled: The situation of its polls; None to record none.
            plan_id: The plan to poll with. Defaults to the target's.
        """
        if response.status != 202:
            return response.status == 200
        outcome = self.wait(resource, response, polled=polled, deleting=True, plan_id=plan_id)
        return outcome.state == SUCCEEDED

    def send_with_flag_not_true(
        self, situation: Situation, request: APIRequest, resource: Resource | None = None
    ) -> None:
        """Send a request with values of accepts_incomplete that are not ``true`` (R-REQ-9).

        Args:
            situation: The situation to record.
            request: The request. The caller repeats it afterwards.
            resource: The resource that it creates or deletes.
        """
        for value in FLAG_VALUES_NOT_TRUE:
            variant = request.with_field(value)
            response = self.send(variant, resource)
            if value == "false" and is_unconditional_rejection(response):
                plain = self.send(request.without_field("accepts_incomplete"), resource)
                if is_unconditional_rejection(plain):  # The cause is not accepts_incomplete.
                    self.skip(f"it was rejected: {plain.response_line}", situation)
                    return
            self.record(situation, variant, response, what=f"accepts_incomplete={value}", value=value)
            if response.status in ACCEPTED:
                break

    def record(
        self, situation: Situation, request: APIRequest, exchange: Exchange, *previous: Exchange, **facts: Any
    ) -> None:
        """Record an observation."""
        self.session.record(
            situation, self.target.name, request, exchange, *previous, **{**self._facts, **facts}
        )

    def skip(self, why: str, *situations: Situation) -> None:
        """Record why situations do not occur."""
        self.session.skip(f"{self.target.name}: {why}", *situations)

    # Requests for the plan

    def provision(
        self, resource: Resource, parameters: Values | None, *, can_poll: bool = True, **more: Any
    ) -> APIRequest:
        """Build a request that creates a service instance of the plan."""
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
        return endpoints.provision(resource.instance_id, can_poll=can_poll, **body)

    def bind(
        self, resource: Resource, parameters: Values | None, *, can_poll: bool = True, **more: Any
    ) -> APIRequest:
        """Build a request that creates a service binding of the plan."""
        assert resource.binding_id is not None, "a bind request needs a binding id"
        body = {
            "service_id": self.target.service_id,
            "plan_id": self.target.plan_id,
            "context": self.session.platform.full_context or None,
            "parameters": parameters,
            **more,
        }
        return endpoints.bind(resource.instance_id, resource.binding_id, can_poll=can_poll, **body)

    def bind_probe(self, situation: Situation, binding: Resource) -> Probe:
        """Build a probe with a bind request, without an application, during an operation of the instance."""
        bind = self.target.bind
        facts = {"generated": bind.minimal_is_generated}
        return Probe(situation, self.bind(binding, bind.minimal), binding, facts=facts)

    def update(
        self, resource: Resource, *, can_poll: bool = True, plan_id: str | None = None, **body: Any
    ) -> APIRequest:
        """Build a request that updates a service instance; `plan_id` is its current plan."""
        previous = {
            "service_id": self.target.service_id,
            "plan_id": plan_id or self.target.plan_id,
            "organization_id": self.session.platform.organization_guid,
            "space_id": self.session.platform.space_guid,
        }
        return endpoints.update(
            resource.instance_id,
            can_poll=can_poll,
            **{"service_id": self.target.service_id, "previous_values": previous, **body},
        )

    def delete(self, resource: Resource, *, can_poll: bool = True, plan_id: str | None = None) -> APIRequest:
        """Build a request that deletes a service instance or a service binding."""
        return endpoints.delete(
            *resource,
            service_id=self.target.service_id,
            plan_id=plan_id or self.target.plan_id,
            can_poll=can_poll,
        )

    def fetch(self, resource: Resource, *, hints: bool = True, plan_id: str | None = None) -> APIRequest:
        """Build a request that fetches a service instance or a service binding."""
        if not hints:
            return endpoints.fetch(*resource)
        return endpoints.fetch(
            *resource, service_id=self.target.service_id, plan_id=plan_id or self.target.plan_id
        )

    def poll(self, resource: Resource, operation: str | None, *, plan_id: str | None = None) -> APIRequest:
        """Build a request that polls an operation."""
        return endpoints.poll(
            *resource,
            operation=operation,
            service_id=self.target.service_id,
            plan_id=plan_id or self.target.plan_id,
        )

    # Operations

    def wait(
        self,
        resource: Resource,
        accepted: Exchange,
        *,
        polled: Situation | None = Situation.POLLED,
        deleting: bool = False,
        plan_id: str | None = None,
    ) -> FinalState:
        """Poll an operation until it ends.

        Args:
            resource: The resource of the operation.
            accepted: The 202 response.
            polled: The situation of its polls; None to record none.
            deleting: Whether it is a deletion. Implied by the situation POLLED_DELETION.
            plan_id: The plan to poll with. Defaults to the target's.
        """
        request = self.poll(resource, accepted.operation, plan_id=plan_id)
        deleting = deleting or polled is Situation.POLLED_DELETION
        began, pause, invalid = monotonic(), _FIRST_PAUSE, 0
        limit = min(self.timeout, self.target.polling_seconds or self.timeout)
        while True:
            last = self.send(request) if polled is None else self.request(polled, request, of=accepted.method)
            if deleting and (last.status == 410 or (last.status == 200 and last.state == SUCCEEDED)):
                self.session.tracker.deleted(resource)
            if deleting and last.status in (404, 410):  # Rules check which of them is correct.
                return self._ended(FinalState(SUCCEEDED, last), request, began)
            if last.status == 200 and last.state in (SUCCEEDED, FAILED):
                return self._ended(FinalState(last.state, last), request, began)
            invalid = 0 if last.status == 200 and last.state == IN_PROGRESS else invalid + 1
            if invalid == _MAX_INVALID_POLLS:
                return FinalState("unknown", last)
            if monotonic() - began > limit:
                self._record_timeout(request, last, accepted, monotonic() - began)
                return FinalState("unknown", last)
            delay = retry_after(last)
            self.session.wait(pause if delay is None else min(float(delay), limit))
            pause = min(1.5 * pause, _MAX_PAUSE)

    def poll_after_completion(self, resource: Resource, created: Exchange, last: Exchange) -> None:
        """Poll a completed operation and an unknown operation.

        Args:
            resource: The resource of the operation.
            created: The 202 response.
            last: The last poll.
        """
        self.request(Situation.POLLED_AGAIN, self.poll(resource, created.operation), last)
        if created.operation is None:
            self.skip("the broker returns no operation names", Situation.POLLED_UNKNOWN_OPERATION)
        else:
            self.request(Situation.POLLED_UNKNOWN_OPERATION, self.poll(resource, _UNKNOWN_OPERATION))

    def _record_timeout(
        self, request: APIRequest, last: Exchange, accepted: Exchange, seconds: float
    ) -> None:
        """Record a timeout: a fault if the plan limits the duration, otherwise a limit of the check."""
        most = self.target.polling_seconds
        if most is not None and seconds > most:
            self.record(Situation.POLLED_TO_COMPLETION, request, last, accepted, ended=False, seconds=seconds)
        else:
            self.skip(f"an operation took more than {seconds:.0f} s", Situation.POLLED_TO_COMPLETION)

    def _ended(self, outcome: FinalState, request: APIRequest, began: float) -> FinalState:
        seconds = monotonic() - began
        self.record(Situation.POLLED_TO_COMPLETION, request, outcome.last, ended=True, seconds=seconds)
        return outcome

    def while_in_progress(
        self, resource: Resource, accepted: Exchange, probes: Sequence[Probe], **poll: Any
    ) -> Meanwhile:
        """Send requests during an operation; record them only if it is still in progress afterwards.

        Args:
            resource: The resource of the operation.
            accepted: The 202 response.
            probes: The requests.
            poll: Options for the poll, as for :meth:`wait`.

        Returns:
            The probes with their exchanges, for :meth:`settle`.
        """
        exchanges = [(probe, self.send(probe.request, probe.resource)) for probe in probes]
        polled = poll.pop("polled", Situation.POLLED)
        after = self.request(polled, self.poll(resource, accepted.operation, **poll), of=accepted.method)
        is_its_own = accepted.operation is not None or not any(
            _starts_operation(probe, exchange) for probe, exchange in exchanges
        )
        if after.status == 200 and after.state == IN_PROGRESS and is_its_own:
            for probe, exchange in exchanges:
                self.record(probe.situation, probe.request, exchange, *probe.previous, **probe.facts)
        else:
            why = "the operation ended before a request could be sent during it"
            self.skip(why, *(probe.situation for probe in probes))
        return exchanges

    def settle(self, instance: Resource, meanwhile: Meanwhile, *, plan_id: str | None = None) -> bool:
        """Complete the requests that were accepted because the operation had already ended.

        Args:
            instance: The service instance.
            meanwhile: The result of :meth:`while_in_progress`.
            plan_id: The plan to poll with. Defaults to the target's.

        Returns:
            Whether the instance was changed.
        """
        changed = False
        for probe, response in meanwhile:
            if response.status not in ACCEPTED:
                continue
            if probe.previous:
                self._wait_for_new_operation(instance, probe, response, plan_id)
            elif probe.request.operation is Operation.UPDATE:
                changed = True
                if response.status == 202:
                    self.wait(instance, response, plan_id=plan_id)
            elif probe.request.operation is Operation.BIND and probe.resource is not None:
                if response.status == 202:
                    self.wait(probe.resource, response, polled=None)
                self.delete_and_wait(probe.resource)
        return changed

    def _wait_for_new_operation(
        self, resource: Resource, probe: Probe, response: Exchange, plan_id: str | None
    ) -> None:
        """Wait for the new operation of a repeated request that was sent too late to be a repetition."""
        (previous,) = probe.previous
        is_the_same = response.operation is not None and response.operation == previous.operation
        if response.status == 202 and not is_the_same:
            self.wait(resource, response, polled=None, plan_id=plan_id)


def _starts_operation(probe: Probe, response: Exchange) -> bool:
    """Check whether a probe started another operation; without operation names, a poll reports that one."""
    return probe.request.operation is Operation.UPDATE and not probe.previous and response.status == 202
