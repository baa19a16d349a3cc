"""Updates of a service instance: of its parameters, its plan, its context; and those that must be refused."""

from __future__ import annotations

from typing import Any

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..example_parameters import Values
from ..resource_tracker import Resource
from ..scenario import SUCCEEDED, Meanwhile, Probe, Scenario
from ..session import Headers, new_binding
from ..situations import Situation
from .headers import NOT_BASE64
from .invalid_requests import NO_VERSION, NOBODY, UNREADABLE, wrong_types

_WHILE_UPDATED = (
    Situation.UPDATED_AGAIN_WHILE_UPDATED,
    Situation.UPDATED_OTHERWISE_WHILE_UPDATED,
    Situation.FETCHED_WHILE_UPDATED,
    Situation.BOUND_WHILE_UPDATED,
)

UPDATE_SITUATIONS = (
    Situation.UPDATED,
    Situation.UPDATED_WITHOUT_POLLING,
    Situation.UPDATED_WITHOUT_SAYING_TRUE,
    Situation.UPDATED_TO_PLAN,
    Situation.UPDATED_TO_PLAN_THOUGH_NOT_UPDATEABLE,
    Situation.UPDATED_TO_UNKNOWN_PLAN,
    Situation.UPDATED_CONTEXT,
    Situation.UPDATED_WITHOUT_EFFECT,
    Situation.UPDATED_WITH_NULLS,
    Situation.UPDATED_WITH_UNKNOWN_FIELDS,
    Situation.UPDATE_UNREADABLE,
    Situation.UPDATE_OF_WRONG_TYPES,
    Situation.UPDATE_WITHOUT_SERVICE,
    Situation.UPDATE_AGAINST_SCHEMA,
    Situation.UPDATE_TO_OTHER_VERSION,
    Situation.FETCHED_AFTER_REFUSALS,
    Situation.FETCHED_AFTER_PARAMETERS,
    Situation.FETCHED_AFTER_PLAN,
    Situation.FETCHED_AFTER_CONTEXT,
    Situation.POLLED_WITH_PLAN_BEFORE,
    *_WHILE_UPDATED,
)
"""What only a plan that can be updated comes to."""


class Updates(Scenario):
    """Changes a service instance in every way that its plan allows, and tries some that it does not."""

    is_changed = False
    """Was another update accepted while one was in progress? A quick broker may have been through."""

    def run(self, instance: Resource, parameters: Values | None, fetched: Exchange | None) -> str:
        """Change it.

        Args:
            instance: A service instance that is there.
            parameters: Those that it was made with.
            fetched: What a fetch told of it; None if it cannot be fetched.

        Returns:
            The id of the plan that it has in the end.
        """
        self.instance = instance
        self.parameters = parameters
        self.retrievable = fetched is not None
        self.plan_id = self.target.plan_id
        if not self.target.takes_updates:
            self.skip("the plan does not say that it can be updated", *UPDATE_SITUATIONS)
            return self.plan_id
        self._refusals(fetched)
        self._parameters()
        self._little()
        self._plan()
        return self.plan_id

    def _change(self, **body: Any) -> APIRequest:
        return self.update(self.instance, plan_id=self.plan_id, **body)

    # What is refused

    def _refusals(self, fetched: Exchange | None) -> None:
        change = self.target.change
        accepted = []

        def refused(
            situation: Situation, ask: APIRequest, what: str | None = None, headers: Headers | None = None
        ) -> None:
            answer = self.request(situation, ask, headers=headers, what=what)
            if answer.status in (200, 202):
                accepted.append(answer)
            if answer.status == 202:
                self.wait(self.instance, answer, plan_id=self.plan_id)

        right = self._change(parameters=change.first)
        for what, body in UNREADABLE.items():
            refused(Situation.UPDATE_UNREADABLE, right._replace(body=body), what)
        for what, wrong in wrong_types("service_id").items():
            refused(Situation.UPDATE_OF_WRONG_TYPES, right.with_body(**wrong), what)
        refused(Situation.UPDATE_WITHOUT_SERVICE, right.without_field("service_id"))
        same = self._change_to(self.plan_id)
        what = "an update with an identity that is not base64"
        refused(Situation.IDENTITY_MALFORMED, same, what, NOT_BASE64)
        refused(Situation.UPDATED_TO_UNKNOWN_PLAN, self._change_to(NOBODY))
        if self.target.strangers:
            stranger = self._change_to(self.target.strangers[0]["id"])
            refused(Situation.UPDATED_TO_UNKNOWN_PLAN, stranger, "a plan of another offering")
        refused(Situation.UPDATE_TO_OTHER_VERSION, self._change(maintenance_info={"version": NO_VERSION}))
        if change.bad is not None:
            refused(Situation.UPDATE_AGAINST_SCHEMA, self._change(parameters=change.bad))
        else:
            self.skip(
                "the plan has no schema for updates, or none that refuses", Situation.UPDATE_AGAINST_SCHEMA
            )
        if self.target.others and not self.target.plan_updateable:
            ask = self._change_to(self.target.others[0]["id"])
            refused(Situation.UPDATED_TO_PLAN_THOUGH_NOT_UPDATEABLE, ask)
        else:
            why = "the plan is plan_updateable" if self.target.others else "the offering has one plan only"
            self.skip(why, Situation.UPDATED_TO_PLAN_THOUGH_NOT_UPDATEABLE)
        if accepted:
            self.skip("an update was accepted that was to be refused", Situation.FETCHED_AFTER_REFUSALS)
            if self.retrievable:
                self._look()
        elif fetched is not None:
            self.request(Situation.FETCHED_AFTER_REFUSALS, self.fetch(self.instance), fetched)

    def _look(self) -> None:
        """See which plan it has, after something that was not to be."""
        plan_id = (self.send(self.fetch(self.instance)).document or {}).get("plan_id")
        if isinstance(plan_id, str):
            self.plan_id = plan_id
            self.session.ledger.changed_plan(self.instance, plan_id)

    # What is done

    def _parameters(self) -> None:
        parameters = self._new_parameters()
        if parameters is None:
            self.skip(
                "the plan has no schema for updates, and no parameters for them were given",
                Situation.UPDATED,
                Situation.UPDATED_WITHOUT_POLLING,
                Situation.FETCHED_AFTER_PARAMETERS,
                Situation.UPDATED_WITH_UNKNOWN_FIELDS,
                *_WHILE_UPDATED,
            )
            return
        ask = self._change(parameters=parameters)
        done = self._apply(Situation.UPDATED, ask, parameters)
        if not done:
            return
        self.parameters = {**(self.parameters or {}), **parameters}
        if self.is_changed:
            self.skip("another update was accepted as well", Situation.FETCHED_AFTER_PARAMETERS)
        elif self.retrievable:
            self.request(
                Situation.FETCHED_AFTER_PARAMETERS,
                self.fetch(self.instance, plan_id=self.plan_id),
                parameters=parameters,
                plan_id=self.plan_id,
            )
        odd = ask.with_body(brokerkit_check={"unknown": True})
        what = "an update with an unknown field, the same otherwise"
        again = self.request(Situation.UPDATED_WITH_UNKNOWN_FIELDS, odd, what=what)
        if again.status == 202:
            self.wait(self.instance, again, plan_id=self.plan_id)

    def _new_parameters(self) -> Values | None:
        """Parameters that it does not have yet, if there are others."""
        given = [each for each in self.target.change.given if each]
        new = [each for each in given if any((self.parameters or {}).get(k) != v for k, v in each.items())]
        return next(iter(new or given), None)

    def _plan(self) -> None:
        target = self.target
        if not (target.others and target.plan_updateable):
            why = "the plan is not plan_updateable" if target.others else "the offering has one plan only"
            self.skip(
                why,
                Situation.UPDATED_TO_PLAN,
                Situation.FETCHED_AFTER_PLAN,
                Situation.POLLED_WITH_PLAN_BEFORE,
            )
            return
        before = self._fetched()
        plan_id = target.others[0]["id"]
        ask = self._change_to(plan_id)
        if not self._apply(Situation.UPDATED_TO_PLAN, ask, None):
            return
        self.plan_id = plan_id
        self.session.ledger.changed_plan(self.instance, plan_id)
        if before is not None:
            fetch = self.fetch(self.instance, plan_id=plan_id)
            self.request(Situation.FETCHED_AFTER_PLAN, fetch, before, plan_id=plan_id)

    def _change_to(self, plan_id: str) -> APIRequest:
        """An update that moves it to another plan, and says nothing else."""
        return self._change().with_body(plan_id=plan_id)

    def _apply(self, situation: Situation, ask: APIRequest, parameters: Values | None) -> bool:
        """Have it changed: without polling, if it goes. Is it?"""
        plain = ask.without_field("accepts_incomplete")
        changed = self.request(Situation.UPDATED_WITHOUT_POLLING, plain)
        if changed.status == 422 and changed.error_code == "AsyncRequired":
            self.without_saying_true(Situation.UPDATED_WITHOUT_SAYING_TRUE, ask)
            changed = self.send(ask)
        if changed.status is not None and 400 <= changed.status < 500:
            # It may refuse what it does not support (R-UPD-3), and parameters that were made up.
            self.skip(f"the update was refused: {changed.response_line}", situation)
            return False
        self.note(situation, ask, changed)
        if changed.status == 200:
            self.skip(
                "it is updated at once",
                *_WHILE_UPDATED,
                Situation.UPDATED_WITHOUT_SAYING_TRUE,
                Situation.POLLED_WITH_PLAN_BEFORE,
            )
            return True
        if changed.status != 202:
            return False
        to_plan = situation is Situation.UPDATED_TO_PLAN
        polled = Situation.POLLED_WITH_PLAN_BEFORE if to_plan else Situation.POLLED
        meanwhile = self._meanwhile(ask, changed, parameters, polled)
        ended = self.wait(self.instance, changed, polled=polled, plan_id=self.plan_id)
        self.is_changed = self.settle(self.instance, meanwhile, plan_id=self.plan_id)
        return ended.state == SUCCEEDED

    def _meanwhile(
        self, ask: APIRequest, changed: Exchange, parameters: Values | None, polled: Situation
    ) -> Meanwhile:
        probes = [Probe(Situation.UPDATED_AGAIN_WHILE_UPDATED, ask, None, (changed,))]
        others = [each for each in self.target.change.given if each and each != parameters]
        if parameters is not None and others:
            other = self._change(parameters=others[0])
            facts = {"made_up": not self.target.change.told}
            probes.append(Probe(Situation.UPDATED_OTHERWISE_WHILE_UPDATED, other, facts=facts))
        if self.retrievable:
            fetch = self.fetch(self.instance, plan_id=self.plan_id)
            probes.append(Probe(Situation.FETCHED_WHILE_UPDATED, fetch))
        if self.target.bindable:
            binding = new_binding(self.instance)
            probes.append(self.bind_probe(Situation.BOUND_WHILE_UPDATED, binding))
        return self.while_in_progress(self.instance, changed, probes, polled=polled, plan_id=self.plan_id)

    def _fetched(self) -> Exchange | None:
        return self.send(self.fetch(self.instance, plan_id=self.plan_id)) if self.retrievable else None

    def _little(self) -> None:
        """Updates that change no more than a context, and see that they do not."""
        before = self._fetched()
        self._nothing()
        self._context()
        if before is not None:
            fetch = self.fetch(self.instance, plan_id=self.plan_id)
            self.request(Situation.FETCHED_AFTER_CONTEXT, fetch, before, plan_id=self.plan_id)

    def _nothing(self) -> None:
        """An update that changes nothing, where updates are supported at all."""
        same = self._change_to(self.plan_id)
        if self._finish(Situation.UPDATED_WITHOUT_EFFECT, same) in (200, 202):
            self._finish(Situation.UPDATED_WITH_NULLS, same.with_body(parameters=None))

    def _context(self) -> None:
        if not self.target.takes_context_updates:
            self.skip("the offering has no allow_context_updates", Situation.UPDATED_CONTEXT)
            return
        platform = self.session.platform
        context = {"platform": "cloudfoundry", **platform.full_context, "instance_name": "renamed"}
        self._finish(Situation.UPDATED_CONTEXT, self._change(context=context))

    def _finish(self, situation: Situation, ask: APIRequest) -> int | None:
        changed = self.request(situation, ask)
        if changed.status == 202:
            self.wait(self.instance, changed, plan_id=self.plan_id)
        return changed.status
