"""Updates of a service instance: parameters, plan and context, and invalid updates."""

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
from .invalid_requests import UNKNOWN_ID, UNKNOWN_VERSION, UNREADABLE, fields_of_wrong_types

_WHILE_UPDATED = (
    Situation.UPDATED_AGAIN_WHILE_UPDATED,
    Situation.UPDATED_WITH_OTHER_PARAMETERS_WHILE_UPDATED,
    Situation.FETCHED_WHILE_UPDATED,
    Situation.BOUND_WHILE_UPDATED,
)

UPDATE_SITUATIONS = (
    Situation.UPDATED,
    Situation.UPDATED_WITHOUT_POLLING,
    Situation.UPDATED_WITH_FLAG_NOT_TRUE,
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
    Situation.POLLED_WITH_PREVIOUS_PLAN,
    *_WHILE_UPDATED,
)
"""The situations that require a plan with updates."""


class Updates(Scenario):
    """Scenario that sends every valid update of a service instance and some invalid ones."""

    is_changed = False
    """Whether another update was accepted because the first one had already ended."""

    def run(self, instance: Resource, parameters: Values | None, fetched: Exchange | None) -> str:
        """Run the scenario.

        Args:
            instance: An existing service instance.
            parameters: Its parameters.
            fetched: The response to a fetch; None if instances cannot be fetched.

        Returns:
            The id of its final plan.
        """
        self.instance = instance
        self.parameters = parameters
        self.retrievable = fetched is not None
        self.plan_id = self.target.plan_id
        if not self.target.takes_updates:
            self.skip("the plan does not support updates", *UPDATE_SITUATIONS)
            return self.plan_id
        self._send_invalid_updates(fetched)
        self._update_parameters()
        self._update_little()
        self._update_plan()
        return self.plan_id

    def _build_update(self, **body: Any) -> APIRequest:
        return self.update(self.instance, plan_id=self.plan_id, **body)

    # Invalid updates

    def _send_invalid_updates(self, fetched: Exchange | None) -> None:
        change = self.target.update
        accepted = []

        def refused(
            situation: Situation, request: APIRequest, what: str | None = None, headers: Headers | None = None
        ) -> None:
            response = self.request(situation, request, headers=headers, what=what)
            if response.status in (200, 202):
                accepted.append(response)
            if response.status == 202:
                self.wait(self.instance, response, plan_id=self.plan_id)

        right = self._build_update(parameters=change.first)
        for what, body in UNREADABLE.items():
            refused(Situation.UPDATE_UNREADABLE, right._replace(body=body), what)
        for what, wrong in fields_of_wrong_types("service_id").items():
            refused(Situation.UPDATE_OF_WRONG_TYPES, right.with_body(**wrong), what)
        refused(Situation.UPDATE_WITHOUT_SERVICE, right.without_field("service_id"))
        same = self._build_plan_update(self.plan_id)
        what = "an update request with an identity that is not base64"
        refused(Situation.IDENTITY_MALFORMED, same, what, NOT_BASE64)
        refused(Situation.UPDATED_TO_UNKNOWN_PLAN, self._build_plan_update(UNKNOWN_ID))
        if self.target.other_offering_plans:
            foreign = self._build_plan_update(self.target.other_offering_plans[0]["id"])
            refused(Situation.UPDATED_TO_UNKNOWN_PLAN, foreign, "an update to a plan of another offering")
        refused(
            Situation.UPDATE_TO_OTHER_VERSION,
            self._build_update(maintenance_info={"version": UNKNOWN_VERSION}),
        )
        if change.rejected is not None:
            refused(Situation.UPDATE_AGAINST_SCHEMA, self._build_update(parameters=change.rejected))
        else:
            self.skip(
                "the plan has no schema for update parameters, or it rejects nothing",
                Situation.UPDATE_AGAINST_SCHEMA,
            )
        if self.target.sibling_plans and not self.target.plan_updateable:
            request = self._build_plan_update(self.target.sibling_plans[0]["id"])
            refused(Situation.UPDATED_TO_PLAN_THOUGH_NOT_UPDATEABLE, request)
        else:
            why = (
                "the plan is plan_updateable"
                if self.target.sibling_plans
                else "the offering has only one plan"
            )
            self.skip(why, Situation.UPDATED_TO_PLAN_THOUGH_NOT_UPDATEABLE)
        if accepted:
            self.skip("an invalid update was accepted", Situation.FETCHED_AFTER_REFUSALS)
            if self.retrievable:
                self._fetch_current_plan()
        elif fetched is not None:
            self.request(Situation.FETCHED_AFTER_REFUSALS, self.fetch(self.instance), fetched)

    def _fetch_current_plan(self) -> None:
        """Fetch the current plan after an invalid update was accepted."""
        plan_id = (self.send(self.fetch(self.instance)).document or {}).get("plan_id")
        if isinstance(plan_id, str):
            self.plan_id = plan_id
            self.session.tracker.changed_plan(self.instance, plan_id)

    # Valid updates

    def _update_parameters(self) -> None:
        parameters = self._new_parameters()
        if parameters is None:
            self.skip(
                "the plan has no schema for update parameters, and none were given",
                Situation.UPDATED,
                Situation.UPDATED_WITHOUT_POLLING,
                Situation.FETCHED_AFTER_PARAMETERS,
                Situation.UPDATED_WITH_UNKNOWN_FIELDS,
                *_WHILE_UPDATED,
            )
            return
        request = self._build_update(parameters=parameters)
        done = self._apply(Situation.UPDATED, request, parameters)
        if not done:
            return
        self.parameters = {**(self.parameters or {}), **parameters}
        if self.is_changed:
            self.skip("another update was also accepted", Situation.FETCHED_AFTER_PARAMETERS)
        elif self.retrievable:
            self.request(
                Situation.FETCHED_AFTER_PARAMETERS,
                self.fetch(self.instance, plan_id=self.plan_id),
                parameters=parameters,
                plan_id=self.plan_id,
            )
        with_unknown_field = request.with_body(brokerkit_check={"unknown": True})
        what = "an identical update request with an unknown field"
        again = self.request(Situation.UPDATED_WITH_UNKNOWN_FIELDS, with_unknown_field, what=what)
        if again.status == 202:
            self.wait(self.instance, again, plan_id=self.plan_id)

    def _new_parameters(self) -> Values | None:
        """Choose parameters that differ from the current ones, if possible."""
        current = self.parameters or {}
        candidates = [values for values in self.target.update.accepted if values]
        new = [values for values in candidates if any(current.get(k) != v for k, v in values.items())]
        return next(iter(new or candidates), None)

    def _update_plan(self) -> None:
        target = self.target
        if not (target.sibling_plans and target.plan_updateable):
            why = (
                "the plan is not plan_updateable"
                if target.sibling_plans
                else "the offering has only one plan"
            )
            self.skip(
                why,
                Situation.UPDATED_TO_PLAN,
                Situation.FETCHED_AFTER_PLAN,
                Situation.POLLED_WITH_PREVIOUS_PLAN,
            )
            return
        previous = self._fetch_if_retrievable()
        plan_id = target.sibling_plans[0]["id"]
        request = self._build_plan_update(plan_id)
        if not self._apply(Situation.UPDATED_TO_PLAN, request, None):
            return
        self.plan_id = plan_id
        self.session.tracker.changed_plan(self.instance, plan_id)
        if previous is not None:
            fetch = self.fetch(self.instance, plan_id=plan_id)
            self.request(Situation.FETCHED_AFTER_PLAN, fetch, previous, plan_id=plan_id)

    def _build_plan_update(self, plan_id: str) -> APIRequest:
        """Build an update request that changes only the plan."""
        return self._build_update().with_body(plan_id=plan_id)

    def _apply(self, situation: Situation, request: APIRequest, parameters: Values | None) -> bool:
        """Update the instance, synchronously if possible; return whether it succeeded."""
        plain = request.without_field("accepts_incomplete")
        changed = self.request(Situation.UPDATED_WITHOUT_POLLING, plain)
        if changed.status == 422 and changed.error_code == "AsyncRequired":
            self.send_with_flag_not_true(Situation.UPDATED_WITH_FLAG_NOT_TRUE, request)
            changed = self.send(request)
        if changed.status is not None and 400 <= changed.status < 500:
            # The broker may reject unsupported updates (R-UPD-3) and generated parameters.
            self.skip(f"the update was rejected: {changed.response_line}", situation)
            return False
        self.record(situation, request, changed)
        if changed.status == 200:
            self.skip(
                "the instance is updated synchronously",
                *_WHILE_UPDATED,
                Situation.UPDATED_WITH_FLAG_NOT_TRUE,
                Situation.POLLED_WITH_PREVIOUS_PLAN,
            )
            return True
        if changed.status != 202:
            return False
        to_plan = situation is Situation.UPDATED_TO_PLAN
        polled = Situation.POLLED_WITH_PREVIOUS_PLAN if to_plan else Situation.POLLED
        meanwhile = self._send_during_update(request, changed, parameters, polled)
        outcome = self.wait(self.instance, changed, polled=polled, plan_id=self.plan_id)
        self.is_changed = self.settle(self.instance, meanwhile, plan_id=self.plan_id)
        return outcome.state == SUCCEEDED

    def _send_during_update(
        self, request: APIRequest, changed: Exchange, parameters: Values | None, polled: Situation
    ) -> Meanwhile:
        probes = [Probe(Situation.UPDATED_AGAIN_WHILE_UPDATED, request, None, (changed,))]
        others = [values for values in self.target.update.accepted if values and values != parameters]
        if parameters is not None and others:
            other = self._build_update(parameters=others[0])
            facts = {"generated": not self.target.update.from_user}
            probes.append(Probe(Situation.UPDATED_WITH_OTHER_PARAMETERS_WHILE_UPDATED, other, facts=facts))
        if self.retrievable:
            fetch = self.fetch(self.instance, plan_id=self.plan_id)
            probes.append(Probe(Situation.FETCHED_WHILE_UPDATED, fetch))
        if self.target.bindable:
            binding = new_binding(self.instance)
            probes.append(self.bind_probe(Situation.BOUND_WHILE_UPDATED, binding))
        return self.while_in_progress(self.instance, changed, probes, polled=polled, plan_id=self.plan_id)

    def _fetch_if_retrievable(self) -> Exchange | None:
        return self.send(self.fetch(self.instance, plan_id=self.plan_id)) if self.retrievable else None

    def _update_little(self) -> None:
        """Send updates that change at most the context, and check that nothing else changed."""
        previous = self._fetch_if_retrievable()
        self._update_without_effect()
        self._update_context()
        if previous is not None:
            fetch = self.fetch(self.instance, plan_id=self.plan_id)
            self.request(Situation.FETCHED_AFTER_CONTEXT, fetch, previous, plan_id=self.plan_id)

    def _update_without_effect(self) -> None:
        """Send an update that changes nothing."""
        same = self._build_plan_update(self.plan_id)
        if self._send_and_wait(Situation.UPDATED_WITHOUT_EFFECT, same) in (200, 202):
            self._send_and_wait(Situation.UPDATED_WITH_NULLS, same.with_body(parameters=None))

    def _update_context(self) -> None:
        if not self.target.takes_context_updates:
            self.skip("the offering has no allow_context_updates", Situation.UPDATED_CONTEXT)
            return
        platform = self.session.platform
        context = {"platform": "cloudfoundry", **platform.full_context, "instance_name": "renamed"}
        self._send_and_wait(Situation.UPDATED_CONTEXT, self._build_update(context=context))

    def _send_and_wait(self, situation: Situation, request: APIRequest) -> int | None:
        changed = self.request(situation, request)
        if changed.status == 202:
            self.wait(self.instance, changed, plan_id=self.plan_id)
        return changed.status
