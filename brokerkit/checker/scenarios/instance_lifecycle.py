"""The life of a service instance, and all that a platform may ask meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..example_parameters import Values
from ..resource_tracker import Resource
from ..scenario import ACCEPTED, FAILED, SUCCEEDED, Probe, Scenario, is_plain_refusal
from ..session import new_binding, new_instance
from ..situations import Situation
from .binding_lifecycle import BINDING_SITUATIONS, BindingLifecycle
from .headers import NOT_BASE64
from .invalid_requests import wrong_deletes
from .special_ids import SPECIAL_ID_SITUATIONS, SpecialIds
from .updates import Updates

_ONE_PLAN = "the offering has one plan only"
_REPEATS = (
    Situation.PROVISIONED_AGAIN,
    Situation.PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS,
    Situation.PROVISIONED_AGAIN_WITH_NULLS,
    Situation.PROVISIONED_WITH_OTHER_PARAMETERS,
    Situation.PROVISIONED_WITH_OTHER_PLAN,
)
_OF_AN_INSTANCE = (
    *_REPEATS,
    Situation.FETCHED,
    Situation.FETCHED_WITHOUT_HINTS,
    Situation.BOUND,
    Situation.UPDATED,
    Situation.DEPROVISIONED,
    *SPECIAL_ID_SITUATIONS,
)


class InstanceLifecycle(Scenario):
    """Makes a service instance, asks everything of it, and deletes it."""

    is_changed = False
    """Was an update accepted that came while it was being made? A quick broker may have been through."""

    def run(self, *, odd_id: bool) -> None:
        """Live it; :attr:`trouble` says why it could not be.

        Args:
            odd_id: Make another one, under an id that has to be quoted in a path?
        """
        self.resource = new_instance()
        self.parameters: Values | None = None  # those that it is ordered with
        self.skip("no provision failed", Situation.DEPROVISIONED_AFTER_FAILURE)
        made = self._make()
        if made is None:
            self.skip("no service instance could be made", *_OF_AN_INSTANCE)
            return
        self._repeat(made)
        fetched = self._fetch(made)
        binding: Resource | None = None
        if self.target.bindable:
            self.skip("the plan is bindable", Situation.BOUND_THOUGH_NOT_BINDABLE)
            life = BindingLifecycle(self.session, self.target, self.timeout)
            life.run(self.resource, made)
            self.trouble = life.trouble
            binding = life.gone
        else:
            self._not_bindable()
        updates = Updates(self.session, self.target, self.timeout)
        plan_id = updates.run(self.resource, self._now, fetched)
        self._end(plan_id, binding)
        if odd_id:
            put = partial(self.provision, parameters=self.parameters)
            SpecialIds(self.session, self.target, self.timeout).run(self.resource, made, put)

    # Its beginning

    def _make(self) -> Exchange | None:
        """Make it; the answer that made it, or None."""
        for parameters in self._tries():
            self.parameters = parameters
            made = self._try(parameters)
            if made.status == 202:
                return self._finished(made)
            if made.status in (200, 201):
                self._no_polls()
                return made
            if not _is_refused(made):
                break
        self.trouble = (
            f"no service instance of {self.target.name} could be made: {made.response_line}{self._hint}"
        )
        return None

    def _try(self, parameters: Values | None) -> Exchange:
        """Make it without polling, if it goes."""
        plain = self.provision(self.resource, parameters, can_poll=False)
        first = self.send(plain, self.resource)
        if first.status == 422 and first.error_code == "AsyncRequired":
            self.note(Situation.PROVISIONED_WITHOUT_POLLING, plain, first)
            ask = self.provision(self.resource, parameters)
            self.without_saying_true(Situation.PROVISIONED_WITHOUT_SAYING_TRUE, ask, self.resource)
            made = self.send(ask, self.resource)
            if not is_plain_refusal(made):
                self.note(Situation.PROVISIONED, ask, made)
            return made
        polled = self._if_it_could_poll(first, parameters)
        then = None if polled is None else polled.status
        self.note(Situation.PROVISIONED_WITHOUT_POLLING, plain, first, then=then)
        made = polled or first
        if not _is_refused(made):
            self.note(Situation.PROVISIONED, plain, made)
        return made

    def _if_it_could_poll(self, refused: Exchange, parameters: Values | None) -> Exchange | None:
        """What is refused for whatever reason is tried with polling, too; the answer, if that went better."""
        if not _is_refused(refused):
            return None
        polled = self.send(self.provision(self.resource, parameters), self.resource)
        return polled if polled.status in ACCEPTED else None

    @property
    def _hint(self) -> str:
        return "" if self.target.create.told else "; parameters for it can be given in a file"

    def _tries(self) -> list[Values | None]:
        """What to send: the best parameters; then none, in case they were made up badly."""
        create = self.target.create
        return [create.first] if create.told or create.first is None else [create.first, None]

    def _no_polls(self) -> None:
        self.skip(
            "it is made at once",
            Situation.PROVISIONED_WITHOUT_SAYING_TRUE,
            Situation.PROVISIONED_AGAIN_IN_PROGRESS,
            Situation.PROVISIONED_OTHERWISE_IN_PROGRESS,
            Situation.FETCHED_IN_PROGRESS,
            Situation.UPDATED_IN_PROGRESS,
            Situation.BOUND_IN_PROGRESS,
            Situation.POLLED,
            Situation.POLLED_AGAIN,
            Situation.POLLED_TO_THE_END,
            Situation.POLLED_UNKNOWN_OPERATION,
        )

    def _finished(self, made: Exchange) -> Exchange | None:
        """Ask what can be asked while it is in progress, and wait for its end."""
        resource = self.resource
        probes = [
            Probe(
                Situation.PROVISIONED_AGAIN_IN_PROGRESS,
                self.provision(resource, self.parameters),
                resource,
                (made,),
            ),
        ]
        if self.target.change.first is not None:
            update = self.update(resource, parameters=self.target.change.first)
            facts = {"made_up": not self.target.change.told}
            probes.append(Probe(Situation.UPDATED_IN_PROGRESS, update, facts=facts))
        other = self._otherwise()
        if other is not None:
            probes.append(Probe(Situation.PROVISIONED_OTHERWISE_IN_PROGRESS, other, resource))
        if self.target.instances_retrievable:
            probes.append(Probe(Situation.FETCHED_IN_PROGRESS, self.fetch(resource)))
        if self.target.bindable:
            binding = new_binding(resource)
            probes.append(self.bind_probe(Situation.BOUND_IN_PROGRESS, binding))
        meanwhile = self.while_in_progress(resource, made, probes)
        ended = self.wait(resource, made)
        self.is_changed = self.settle(resource, meanwhile)
        if ended.state == SUCCEEDED:
            self.repeat_request(resource, made, ended.last)
            return made
        if ended.state == FAILED:
            self._clean_up()
        self.trouble = f"no service instance of {self.target.name} could be made: {ended.told}{self._hint}"
        return None

    def _clean_up(self) -> None:
        """Delete what a provision that failed may have left (R-DEL-5)."""
        deleted = self.request(
            Situation.DEPROVISIONED_AFTER_FAILURE, self.delete(self.resource), resource=self.resource
        )
        self.is_deleted(self.resource, deleted)

    @property
    def _other(self) -> Values | None:
        """Other parameters than it has, if it took those that come first."""
        create = self.target.create
        return create.other if self.parameters == create.first and create.other != create.first else None

    def _otherwise(self) -> APIRequest | None:
        """The same provision with other attributes, if any are known."""
        if self._other is not None:
            return self.provision(self.resource, self._other)
        move = self.target.move
        return self.provision(self.resource, move.create, plan_id=move.plan_id) if move else None

    # Its life

    def _repeat(self, made: Exchange) -> None:
        """Send the provision again, the same and not the same."""
        resource, target = self.resource, self.target
        if self.is_changed:
            self.skip("it was updated before it could be provisioned again", *_REPEATS)
            return
        same = self.provision(resource, self.parameters)
        again = self.request(Situation.PROVISIONED_AGAIN, same, made, resource=resource)
        if again.status == 200:
            self.request(
                Situation.PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS,
                same.with_body(brokerkit_check={"unknown": True}),
                resource=resource,
                what="a provision with an unknown field, the same otherwise",
            )
            nulls = {name: None for name in ("parameters", "maintenance_info") if name not in _fields(same)}
            self.request(
                Situation.PROVISIONED_AGAIN_WITH_NULLS,
                same.with_body(**nulls),
                resource=resource,
                what=f"a provision with {' and '.join(nulls)} null, the same otherwise",
            )
        else:
            self.skip(
                "a provision that is sent again is not answered with 200",
                Situation.PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS,
                Situation.PROVISIONED_AGAIN_WITH_NULLS,
            )
        other = self._other
        if other is None:
            self.skip("no other parameters are known", Situation.PROVISIONED_WITH_OTHER_PARAMETERS)
        else:
            self.request(
                Situation.PROVISIONED_WITH_OTHER_PARAMETERS,
                self.provision(resource, other),
                made,
                resource=resource,
            )
        if target.move is not None:
            ask = self.provision(resource, target.move.create, plan_id=target.move.plan_id)
            self.request(Situation.PROVISIONED_WITH_OTHER_PLAN, ask, made, resource=resource)
        else:
            why = "no parameters are known for any other plan" if target.others else _ONE_PLAN
            self.skip(why, Situation.PROVISIONED_WITH_OTHER_PLAN)

    @property
    def _now(self) -> Values | None:
        """The parameters that it has by now."""
        if not self.is_changed:
            return self.parameters
        return {**(self.parameters or {}), **(self.target.change.first or {})}

    def _fetch(self, made: Exchange) -> Exchange | None:
        """Fetch it; what came back, if it can be fetched."""
        if not self.target.instances_retrievable:
            self.skip(
                "instances are not retrievable",
                Situation.FETCHED,
                Situation.FETCHED_WITHOUT_HINTS,
                Situation.FETCHED_IN_PROGRESS,
                Situation.FETCHED_AFTER_REFUSALS,
                Situation.FETCHED_AFTER_PARAMETERS,
                Situation.FETCHED_AFTER_PLAN,
                Situation.FETCHED_AFTER_CONTEXT,
                Situation.FETCHED_WHILE_UPDATED,
                Situation.FETCHED_WHEN_GONE,
                Situation.FETCHED_AFTER_HALT,
            )
            return None
        fetch = self.fetch(self.resource)
        fetched = self.request(Situation.FETCHED, fetch, made, parameters=self._now)
        if fetched.status == 200:
            self.request(Situation.FETCHED_WITHOUT_HINTS, self.fetch(self.resource, hints=False))
            what = "a fetch with an identity that is not base64"
            self.request(Situation.IDENTITY_MALFORMED, fetch, headers=NOT_BASE64, what=what)
        return fetched if fetched.status == 200 else None

    def _not_bindable(self) -> None:
        binding = new_binding(self.resource)
        bound = self.request(Situation.BOUND_THOUGH_NOT_BINDABLE, self.bind(binding, None), resource=binding)
        if bound.status in ACCEPTED:  # it was to be refused, and must not be in the way
            self.is_deleted(binding, self.send(self.delete(binding), binding), polled=None)
        self.skip("the plan is not bindable", *BINDING_SITUATIONS)

    # Its end

    def _end(self, plan_id: str, binding: Resource | None) -> None:
        """Delete it, the wrong way first.

        Args:
            plan_id: The plan that it has by now.
            binding: A binding that it had.
        """
        resource = self.resource
        right = self.delete(resource, plan_id=plan_id)
        for situation, what, wrong, headers in wrong_deletes(right, Situation.DEPROVISIONED_WITHOUT_IDS):
            deleted = self.request(situation, wrong, resource=resource, headers=headers, what=what)
            if deleted.status in (200, 202):
                self.skip(f"{what} deleted it", Situation.DEPROVISIONED, Situation.DEPROVISIONED_WHEN_GONE)
                self.is_deleted(resource, deleted, plan_id=plan_id)
                return
        if self._delete(right, plan_id) and binding is not None:
            self.request(Situation.UNKNOWN_UNBOUND, self.delete(binding, plan_id=plan_id), resource=binding)

    def _delete(self, right: APIRequest, plan_id: str) -> bool:
        """Delete it; was it deleted?"""
        resource = self.resource
        plain = self.delete(resource, can_poll=False, plan_id=plan_id)
        deleted = self.request(Situation.DEPROVISIONED_WITHOUT_POLLING, plain, resource=resource)
        if deleted.status == 422 and deleted.error_code == "AsyncRequired":
            self.without_saying_true(Situation.DEPROVISIONED_WITHOUT_SAYING_TRUE, right, resource)
            deleted = self.request(Situation.DEPROVISIONED, right, resource=resource)
        else:
            self.note(Situation.DEPROVISIONED, plain, deleted)
        if deleted.status == 202:
            probes = [Probe(Situation.DEPROVISIONED_AGAIN_IN_PROGRESS, right, None, (deleted,))]
            if self.target.takes_updates:
                update = self.update(resource, parameters=self.target.change.first, plan_id=plan_id)
                probes.append(Probe(Situation.UPDATED_WHILE_DELETED, update))
            if self.target.bindable:
                probes.append(self.bind_probe(Situation.BOUND_WHILE_DELETED, new_binding(resource)))
            polls = {"polled": Situation.POLLED_DELETION, "plan_id": plan_id}
            self.while_in_progress(resource, deleted, probes, **polls)
        else:
            self.skip(
                "it is deleted at once",
                Situation.BOUND_WHILE_DELETED,
                Situation.UPDATED_WHILE_DELETED,
                Situation.DEPROVISIONED_AGAIN_IN_PROGRESS,
                Situation.DEPROVISIONED_WITHOUT_SAYING_TRUE,
                Situation.POLLED_DELETION,
            )
        if not self.is_deleted(resource, deleted, plan_id=plan_id):
            return False
        self.request(Situation.DEPROVISIONED_WHEN_GONE, right, resource=resource)
        if self.target.instances_retrievable:
            self.request(Situation.FETCHED_WHEN_GONE, self.fetch(resource))
        return True


def _fields(ask: APIRequest) -> frozenset[str]:
    return frozenset(ask.body) if isinstance(ask.body, Mapping) else frozenset()


def _is_refused(exchange: Exchange) -> bool:
    return exchange.status is not None and 400 <= exchange.status < 500
