"""The lifecycle of a service instance."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..example_parameters import Values
from ..resource_tracker import Resource
from ..scenario import ACCEPTED, FAILED, SUCCEEDED, Probe, Scenario, is_unconditional_rejection
from ..session import new_binding, new_instance
from ..situations import Situation
from .binding_lifecycle import BINDING_SITUATIONS, BindingLifecycle
from .headers import NOT_BASE64
from .invalid_requests import invalid_deletes
from .special_ids import SPECIAL_ID_SITUATIONS, SpecialIds
from .updates import Updates

_ONE_PLAN = "the offering has only one plan"
_REPEATS = (
    Situation.PROVISIONED_AGAIN,
    Situation.PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS,
    Situation.PROVISIONED_AGAIN_WITH_NULLS,
    Situation.PROVISIONED_WITH_OTHER_PARAMETERS,
    Situation.PROVISIONED_WITH_OTHER_PLAN,
)
_INSTANCE_SITUATIONS = (
    *_REPEATS,
    Situation.FETCHED,
    Situation.FETCHED_WITHOUT_HINTS,
    Situation.BOUND,
    Situation.UPDATED,
    Situation.DEPROVISIONED,
    *SPECIAL_ID_SITUATIONS,
)


class InstanceLifecycle(Scenario):
    """Scenario that creates, repeats, fetches, binds, updates and deletes a service instance."""

    is_changed = False
    """Whether an update was accepted because the creation had already ended."""

    def run(self, *, special_id: bool) -> None:
        """Run the scenario; :attr:`problem` then says why it could not be completed.

        Args:
            special_id: Whether to create another instance with special characters in its id.
        """
        self.resource = new_instance()
        self.parameters: Values | None = None  # of the provision request
        self.skip("no provision failed", Situation.DEPROVISIONED_AFTER_FAILURE)
        created = self._create()
        if created is None:
            self.skip("no service instance could be created", *_INSTANCE_SITUATIONS)
            return
        self._repeat_creation(created)
        fetched = self._fetch(created)
        binding: Resource | None = None
        if self.target.bindable:
            self.skip("the plan is bindable", Situation.BOUND_THOUGH_NOT_BINDABLE)
            lifecycle = BindingLifecycle(self.session, self.target, self.timeout)
            lifecycle.run(self.resource, created)
            self.problem = lifecycle.problem
            binding = lifecycle.gone
        else:
            self._not_bindable()
        updates = Updates(self.session, self.target, self.timeout)
        plan_id = updates.run(self.resource, self._current_parameters, fetched)
        self._delete_after_invalid_requests(plan_id, binding)
        if special_id:
            put = partial(self.provision, parameters=self.parameters)
            SpecialIds(self.session, self.target, self.timeout).run(self.resource, created, put)

    # Creation

    def _create(self) -> Exchange | None:
        """Create the service instance; return the response that created it, or None."""
        for parameters in self._parameter_candidates():
            self.parameters = parameters
            created = self._create_synchronously(parameters)
            if created.status == 202:
                return self._await_completion(created)
            if created.status in (200, 201):
                self._skip_polls()
                return created
            if not _is_rejected(created):
                break
        self.problem = self._describe_problem(created.response_line)
        return None

    def _create_synchronously(self, parameters: Values | None) -> Exchange:
        """Create the instance synchronously, unless the broker requires polling."""
        plain = self.provision(self.resource, parameters, can_poll=False)
        first = self.send(plain, self.resource)
        if first.status == 422 and first.error_code == "AsyncRequired":
            self.record(Situation.PROVISIONED_WITHOUT_POLLING, plain, first)
            request = self.provision(self.resource, parameters)
            self.send_with_flag_not_true(Situation.PROVISIONED_WITH_FLAG_NOT_TRUE, request, self.resource)
            created = self.send(request, self.resource)
            if not is_unconditional_rejection(created):
                self.record(Situation.PROVISIONED, request, created)
            return created
        polled = self._retry_with_polling(first, parameters)
        then = None if polled is None else polled.status
        self.record(Situation.PROVISIONED_WITHOUT_POLLING, plain, first, then=then)
        created = polled or first
        if not _is_rejected(created):
            self.record(Situation.PROVISIONED, plain, created)
        return created

    def _retry_with_polling(self, refused: Exchange, parameters: Values | None) -> Exchange | None:
        """Repeat a rejected request with accepts_incomplete=true; return the response if it was accepted."""
        if not _is_rejected(refused):
            return None
        polled = self.send(self.provision(self.resource, parameters), self.resource)
        return polled if polled.status in ACCEPTED else None

    @property
    def _parameter_hint(self) -> str:
        return "" if self.target.create.from_user else "; a file can provide parameters for it"

    def _describe_problem(self, cause: str) -> str:
        return f"no service instance of {self.target.name} could be created: {cause}{self._parameter_hint}"

    def _parameter_candidates(self) -> list[Values | None]:
        """List the parameters to try: the best ones, then none, as the broker may reject generated ones."""
        create = self.target.create
        return [create.first] if create.from_user or create.first is None else [create.first, None]

    def _skip_polls(self) -> None:
        self.skip(
            "the instance is created synchronously",
            Situation.PROVISIONED_WITH_FLAG_NOT_TRUE,
            Situation.PROVISIONED_AGAIN_IN_PROGRESS,
            Situation.PROVISIONED_WITH_OTHER_ATTRIBUTES_IN_PROGRESS,
            Situation.FETCHED_IN_PROGRESS,
            Situation.UPDATED_IN_PROGRESS,
            Situation.BOUND_IN_PROGRESS,
            Situation.POLLED,
            Situation.POLLED_AGAIN,
            Situation.POLLED_TO_COMPLETION,
            Situation.POLLED_UNKNOWN_OPERATION,
        )

    def _await_completion(self, created: Exchange) -> Exchange | None:
        """Send requests during the creation, and wait until it ends."""
        resource = self.resource
        probes = [
            Probe(
                Situation.PROVISIONED_AGAIN_IN_PROGRESS,
                self.provision(resource, self.parameters),
                resource,
                (created,),
            ),
        ]
        if self.target.update.first is not None:
            update = self.update(resource, parameters=self.target.update.first)
            facts = {"generated": not self.target.update.from_user}
            probes.append(Probe(Situation.UPDATED_IN_PROGRESS, update, facts=facts))
        other = self._request_with_other_attributes()
        if other is not None:
            probes.append(Probe(Situation.PROVISIONED_WITH_OTHER_ATTRIBUTES_IN_PROGRESS, other, resource))
        if self.target.instances_retrievable:
            probes.append(Probe(Situation.FETCHED_IN_PROGRESS, self.fetch(resource)))
        if self.target.bindable:
            binding = new_binding(resource)
            probes.append(self.bind_probe(Situation.BOUND_IN_PROGRESS, binding))
        meanwhile = self.while_in_progress(resource, created, probes)
        outcome = self.wait(resource, created)
        self.is_changed = self.settle(resource, meanwhile)
        if outcome.state == SUCCEEDED:
            self.poll_after_completion(resource, created, outcome.last)
            return created
        if outcome.state == FAILED:
            self._clean_up()
        self.problem = self._describe_problem(outcome.summary)
        return None

    def _clean_up(self) -> None:
        """Delete the remains of a failed provision (R-DEL-5)."""
        deleted = self.request(
            Situation.DEPROVISIONED_AFTER_FAILURE, self.delete(self.resource), resource=self.resource
        )
        self.await_deletion(self.resource, deleted)

    @property
    def _other_parameters(self) -> Values | None:
        """Valid parameters that differ from those of the instance, if any are known."""
        create = self.target.create
        return (
            create.alternative
            if self.parameters == create.first and create.alternative != create.first
            else None
        )

    def _request_with_other_attributes(self) -> APIRequest | None:
        """Build a provision request for the same id with other attributes, if any are known."""
        if self._other_parameters is not None:
            return self.provision(self.resource, self._other_parameters)
        move = self.target.plan_change
        return self.provision(self.resource, move.create, plan_id=move.plan_id) if move else None

    # Requests for the existing instance

    def _repeat_creation(self, created: Exchange) -> None:
        """Repeat the provision request with the same and with other attributes."""
        resource, target = self.resource, self.target
        if self.is_changed:
            self.skip("it was updated before the provision request could be repeated", *_REPEATS)
            return
        same = self.provision(resource, self.parameters)
        again = self.request(Situation.PROVISIONED_AGAIN, same, created, resource=resource)
        if again.status == 200:
            self.request(
                Situation.PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS,
                same.with_body(brokerkit_check={"unknown": True}),
                resource=resource,
                what="an identical provision request with an unknown field",
            )
            nulls = {
                name: None for name in ("parameters", "maintenance_info") if name not in _body_fields(same)
            }
            self.request(
                Situation.PROVISIONED_AGAIN_WITH_NULLS,
                same.with_body(**nulls),
                resource=resource,
                what=f"an identical provision request with null for {' and '.join(nulls)}",
            )
        else:
            self.skip(
                "a repeated provision request does not return 200",
                Situation.PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS,
                Situation.PROVISIONED_AGAIN_WITH_NULLS,
            )
        other = self._other_parameters
        if other is None:
            self.skip("no other parameters are known", Situation.PROVISIONED_WITH_OTHER_PARAMETERS)
        else:
            self.request(
                Situation.PROVISIONED_WITH_OTHER_PARAMETERS,
                self.provision(resource, other),
                created,
                resource=resource,
            )
        if target.plan_change is not None:
            request = self.provision(resource, target.plan_change.create, plan_id=target.plan_change.plan_id)
            self.request(Situation.PROVISIONED_WITH_OTHER_PLAN, request, created, resource=resource)
        else:
            why = "no parameters are known for another plan" if target.sibling_plans else _ONE_PLAN
            self.skip(why, Situation.PROVISIONED_WITH_OTHER_PLAN)

    @property
    def _current_parameters(self) -> Values | None:
        """The current parameters of the instance."""
        if not self.is_changed:
            return self.parameters
        return {**(self.parameters or {}), **(self.target.update.first or {})}

    def _fetch(self, created: Exchange) -> Exchange | None:
        """Fetch the instance; return the response if it can be fetched."""
        if not self.target.instances_retrievable:
            self.skip(
                "service instances are not retrievable",
                Situation.FETCHED,
                Situation.FETCHED_WITHOUT_HINTS,
                Situation.FETCHED_IN_PROGRESS,
                Situation.FETCHED_AFTER_REFUSALS,
                Situation.FETCHED_AFTER_PARAMETERS,
                Situation.FETCHED_AFTER_PLAN,
                Situation.FETCHED_AFTER_CONTEXT,
                Situation.FETCHED_WHILE_UPDATED,
                Situation.FETCHED_AFTER_DELETION,
                Situation.FETCHED_AFTER_CANCELLATION,
            )
            return None
        fetch = self.fetch(self.resource)
        fetched = self.request(Situation.FETCHED, fetch, created, parameters=self._current_parameters)
        if fetched.status == 200:
            self.request(Situation.FETCHED_WITHOUT_HINTS, self.fetch(self.resource, hints=False))
            what = "a fetch request with an identity that is not base64"
            self.request(Situation.IDENTITY_MALFORMED, fetch, headers=NOT_BASE64, what=what)
        return fetched if fetched.status == 200 else None

    def _not_bindable(self) -> None:
        binding = new_binding(self.resource)
        bound = self.request(Situation.BOUND_THOUGH_NOT_BINDABLE, self.bind(binding, None), resource=binding)
        if (
            bound.status in ACCEPTED
        ):  # Delete a binding that should have been rejected: it would block the deletion of the instance.
            self.await_deletion(binding, self.send(self.delete(binding), binding), polled=None)
        self.skip("the plan is not bindable", *BINDING_SITUATIONS)

    # Deletion

    def _delete_after_invalid_requests(self, plan_id: str, binding: Resource | None) -> None:
        """Delete the instance after some invalid DELETE requests.

        Args:
            plan_id: Its current plan.
            binding: One of its deleted bindings.
        """
        resource = self.resource
        right = self.delete(resource, plan_id=plan_id)
        for situation, what, wrong, headers in invalid_deletes(right, Situation.DEPROVISIONED_WITHOUT_IDS):
            deleted = self.request(situation, wrong, resource=resource, headers=headers, what=what)
            if deleted.status in (200, 202):
                self.skip(
                    f"{what} deleted it", Situation.DEPROVISIONED, Situation.DEPROVISIONED_AFTER_DELETION
                )
                self.await_deletion(resource, deleted, plan_id=plan_id)
                return
        if self._delete(right, plan_id) and binding is not None:
            self.request(Situation.UNKNOWN_UNBOUND, self.delete(binding, plan_id=plan_id), resource=binding)

    def _delete(self, right: APIRequest, plan_id: str) -> bool:
        """Delete the instance; return whether the broker deleted it."""
        resource = self.resource
        plain = self.delete(resource, can_poll=False, plan_id=plan_id)
        deleted = self.request(Situation.DEPROVISIONED_WITHOUT_POLLING, plain, resource=resource)
        if deleted.status == 422 and deleted.error_code == "AsyncRequired":
            self.send_with_flag_not_true(Situation.DEPROVISIONED_WITH_FLAG_NOT_TRUE, right, resource)
            deleted = self.request(Situation.DEPROVISIONED, right, resource=resource)
        else:
            self.record(Situation.DEPROVISIONED, plain, deleted)
        if deleted.status == 202:
            probes = [Probe(Situation.DEPROVISIONED_AGAIN_IN_PROGRESS, right, None, (deleted,))]
            if self.target.takes_updates:
                update = self.update(resource, parameters=self.target.update.first, plan_id=plan_id)
                probes.append(Probe(Situation.UPDATED_WHILE_DELETED, update))
            if self.target.bindable:
                probes.append(self.bind_probe(Situation.BOUND_WHILE_DELETED, new_binding(resource)))
            polls = {"polled": Situation.POLLED_DELETION, "plan_id": plan_id}
            self.while_in_progress(resource, deleted, probes, **polls)
        else:
            self.skip(
                "the instance is deleted synchronously",
                Situation.BOUND_WHILE_DELETED,
                Situation.UPDATED_WHILE_DELETED,
                Situation.DEPROVISIONED_AGAIN_IN_PROGRESS,
                Situation.DEPROVISIONED_WITH_FLAG_NOT_TRUE,
                Situation.POLLED_DELETION,
            )
        if not self.await_deletion(resource, deleted, plan_id=plan_id):
            return False
        self.request(Situation.DEPROVISIONED_AFTER_DELETION, right, resource=resource)
        if self.target.instances_retrievable:
            self.request(Situation.FETCHED_AFTER_DELETION, self.fetch(resource))
        return True


def _body_fields(request: APIRequest) -> frozenset[str]:
    return frozenset(request.body) if isinstance(request.body, Mapping) else frozenset()


def _is_rejected(exchange: Exchange) -> bool:
    return exchange.status is not None and 400 <= exchange.status < 500
