"""The life of a service binding, and of its successor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..example_parameters import Values
from ..resource_tracker import Resource
from ..scenario import ACCEPTED, FOR_AN_APP, SUCCEEDED, Probe
from ..session import new_binding, new_instance
from ..situations import Situation
from ._cancel import BINDING_CANCELLED, cancel
from .concurrent import ConcurrentRequests
from .headers import NOT_BASE64
from .invalid_requests import NOBODY, UNREADABLE, Wrong, wrong_deletes, wrong_types
from .special_ids import SpecialIds

_OF_ANOTHER, _AFTER_UNBIND = Situation.POLLED_OPERATION_OF_ANOTHER, Situation.OTHER_BINDING_AFTER_UNBIND
_OTHER_APP = "c3333333-0000-4000-8000-000000000004"

BINDING_SITUATIONS = (
    *BINDING_CANCELLED,
    Situation.BOUND,
    Situation.BOUND_WITHOUT_SAYING_TRUE,
    Situation.BOUND_WITHOUT_POLLING,
    Situation.BOUND_AGAIN,
    Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
    Situation.BOUND_AGAIN_WITH_NULLS,
    Situation.BOUND_AGAIN_IN_PROGRESS,
    Situation.BOUND_OTHERWISE,
    Situation.BOUND_AT_ONCE_BY_MANY,
    Situation.BOUND_IN_PROGRESS,
    Situation.BOUND_WHILE_UPDATED,
    Situation.BOUND_WHILE_DELETED,
    Situation.BIND_UNREADABLE,
    Situation.BIND_OF_WRONG_TYPES,
    Situation.BIND_WITHOUT_FIELD,
    Situation.BIND_OF_UNKNOWN_PLAN,
    Situation.BIND_AGAINST_SCHEMA,
    Situation.REFUSED_BIND_DELETED,
    Situation.BINDING_FETCHED,
    Situation.BINDING_FETCHED_UNKNOWN,
    Situation.BINDING_FETCHED_IN_PROGRESS,
    Situation.BINDING_FETCHED_WHEN_GONE,
    Situation.BINDING_FETCHED_ELSEWHERE,
    Situation.BINDING_POLLED_UNKNOWN,
    Situation.POLLED_OPERATION_OF_ANOTHER,
    Situation.ROTATED,
    Situation.ROTATED_FROM_UNKNOWN,
    Situation.PREDECESSOR_FETCHED,
    Situation.SUCCESSOR_FETCHED,
    Situation.UNBOUND,
    Situation.UNBOUND_WITHOUT_POLLING,
    Situation.UNBOUND_WITHOUT_SAYING_TRUE,
    Situation.UNBOUND_AGAIN_IN_PROGRESS,
    Situation.UNBOUND_WHEN_GONE,
    Situation.UNBOUND_UNKNOWN,
    Situation.UNBOUND_WITHOUT_IDS,
    Situation.UNBOUND_ELSEWHERE,
    Situation.OTHER_BINDING_AFTER_UNBIND,
    Situation.UNKNOWN_UNBOUND,
)
"""What only a bindable plan comes to."""


class BindingLifecycle(ConcurrentRequests):
    """Makes service bindings of an instance, asks everything of them, and deletes them."""

    gone: Resource | None = None
    """A binding that was deleted, to be asked for when its instance is gone too."""

    def run(self, instance: Resource, provisioned: Exchange) -> None:
        """Live it.

        Args:
            instance: A service instance that is there.
            provisioned: How the broker answered when that was made.
        """
        self.instance = instance
        self.provisioned = provisioned
        self.others: list[tuple[Resource, APIRequest]] = []
        self.app: Mapping[str, Any] = {}
        self.parameters: Values | None = None
        self._unknown()
        binding = new_binding(instance)
        made = self._make(binding)
        if made is None:
            self.skip(
                "no service binding could be made",
                Situation.BOUND_AGAIN,
                Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
                Situation.BOUND_OTHERWISE,
                Situation.BINDING_FETCHED,
                Situation.ROTATED,
                Situation.UNBOUND,
                Situation.UNKNOWN_UNBOUND,
            )
            return
        self._refusals()
        self._repeat(binding, made)
        self._fetch(binding, made)
        self._rotate(binding)
        self._at_once()
        self._end_alone(binding)
        self._halt(made)
        put = partial(self.bind, parameters=self.parameters, **self.app)
        SpecialIds(self.session, self.target, self.timeout).run(binding, made, put)

    def _unknown(self) -> None:
        nobody = new_binding(self.instance)
        deleted = self.request(Situation.UNBOUND_UNKNOWN, self.delete(nobody), resource=nobody)
        self._tells_gone = deleted.status == 410
        if not self._tells_gone:
            self.skip("an unbind of what never was is not answered with 410", Situation.REFUSED_BIND_DELETED)
        if self.target.bindings_retrievable:
            self.request(Situation.BINDING_FETCHED_UNKNOWN, self.fetch(nobody))
            self.request(Situation.BINDING_POLLED_UNKNOWN, self.poll(nobody, None))
        else:
            self.skip(
                "bindings are not retrievable",
                Situation.BINDING_FETCHED_UNKNOWN,
                Situation.BINDING_POLLED_UNKNOWN,
                Situation.BINDING_FETCHED_IN_PROGRESS,
            )

    # Its beginning

    def _make(self, binding: Resource) -> Exchange | None:
        """Make it; the answer that made it, or None."""
        bind = self.target.bind
        tries = [bind.first] if bind.told or bind.first is None else [bind.first, None]
        for parameters in tries:  # those that were made up may be refused, as they say nothing to the broker
            self.parameters = parameters
            ask, made = self._try(binding)
            if made.status is None or not 400 <= made.status < 500:
                break
        else:
            self.trouble = f"no service binding of {self.target.name} could be made: {made.response_line}"
            return None
        self.note(Situation.BOUND, ask, made)
        if made.status in (200, 201):
            self.skip(
                "it is bound at once",
                Situation.BOUND_AGAIN_IN_PROGRESS,
                Situation.BINDING_FETCHED_IN_PROGRESS,
                Situation.BOUND_WITHOUT_SAYING_TRUE,
                _OF_ANOTHER,
            )
            return made
        return made if made.status == 202 and self._finished(binding, made) else None

    def _try(self, binding: Resource) -> tuple[APIRequest, Exchange]:
        """Make it as a key for no application, and without polling, if it goes."""
        ask = self.bind(binding, self.parameters, can_poll=False)
        made = self.request(Situation.BOUND_WITHOUT_POLLING, ask, resource=binding)
        if made.status == 422 and made.error_code == "RequiresApp":
            self.app = FOR_AN_APP
            ask = self.bind(binding, self.parameters, can_poll=False, **self.app)
            made = self.request(Situation.BOUND_WITHOUT_POLLING, ask, resource=binding)
        if made.status == 422 and made.error_code == "AsyncRequired":
            ask = self.bind(binding, self.parameters, **self.app)
            self.without_saying_true(Situation.BOUND_WITHOUT_SAYING_TRUE, ask, binding)
            made = self.send(ask, binding)
        return ask, made

    def _finished(self, binding: Resource, made: Exchange) -> bool:
        again = self.bind(binding, self.parameters, **self.app)
        probes = [Probe(Situation.BOUND_AGAIN_IN_PROGRESS, again, binding, (made,))]
        if self.target.bindings_retrievable:
            probes.append(Probe(Situation.BINDING_FETCHED_IN_PROGRESS, self.fetch(binding)))
        self.while_in_progress(binding, made, probes)
        ended = self.wait(binding, made)
        if ended.state == SUCCEEDED:
            self.repeat_request(binding, made, ended.last)
            self._poll_instead(made)
        return ended.state == SUCCEEDED

    def _poll_instead(self, made: Exchange) -> None:
        """Poll the instance for what was begun on the binding: an operation is of one thing."""
        if made.operation is None or made.operation == self.provisioned.operation:
            self.skip("operations of bindings have no names of their own", _OF_ANOTHER)
        elif self.provisioned.status != 202:
            self.skip("the instance was made at once", _OF_ANOTHER)
        else:
            self.request(_OF_ANOTHER, self.poll(self.instance, made.operation))

    def _refusals(self) -> None:
        """Binds that are wrong in one thing each; each time nothing may be made."""
        binding = new_binding(self.instance)
        right = self.bind(binding, self.parameters, **self.app)

        def refused(situation: Situation, ask: APIRequest, what: str | None = None) -> None:
            self._refused(situation, ask, binding, what)

        for what, body in UNREADABLE.items():
            refused(Situation.BIND_UNREADABLE, right._replace(body=body), what)
        for what, wrong in wrong_types("service_id", "plan_id").items():
            refused(Situation.BIND_OF_WRONG_TYPES, right.with_body(**wrong), what)
        for field in ("service_id", "plan_id"):
            refused(Situation.BIND_WITHOUT_FIELD, right.without_field(field), f"a bind without {field}")
        refused(Situation.BIND_OF_UNKNOWN_PLAN, right.with_body(plan_id=NOBODY))
        if self.target.strangers:
            stranger = right.with_body(plan_id=self.target.strangers[0]["id"])
            refused(Situation.BIND_OF_UNKNOWN_PLAN, stranger, "a plan of another offering")
        if self.target.bind.bad is not None:
            refused(Situation.BIND_AGAINST_SCHEMA, right.with_body(parameters=self.target.bind.bad))
        else:
            self.skip("the plan has no schema for binds, or none that refuses", Situation.BIND_AGAINST_SCHEMA)

    def _refused(self, situation: Situation, ask: APIRequest, binding: Resource, what: str | None) -> None:
        refused = self.request(situation, ask, resource=binding, what=what)
        delete = self.delete(binding)
        if refused.status in ACCEPTED:  # it was to be refused, and must not be in the way
            deleted = self.send(delete, binding)
        elif self._tells_gone and refused.status is not None and refused.status < 500:
            deleted = self.request(Situation.REFUSED_BIND_DELETED, delete, refused, resource=binding)
        else:
            return
        self.is_deleted(binding, deleted, polled=None)

    # Its life

    def _repeat(self, binding: Resource, made: Exchange) -> None:
        same = self.bind(binding, self.parameters, **self.app)
        again = self.request(Situation.BOUND_AGAIN, same, made, resource=binding)
        if again.status == 200:
            self.request(
                Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
                same.with_body(brokerkit_check={"unknown": True}),
                resource=binding,
                what="a bind with an unknown field, the same otherwise",
            )
            self._repeat_with_nulls(binding, same)
            headers, what = NOT_BASE64, "a bind with an identity that is not base64"
            self.request(Situation.IDENTITY_MALFORMED, same, resource=binding, headers=headers, what=what)
        else:
            self.skip(
                "a bind that is sent again is not answered with 200",
                Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
                Situation.BOUND_AGAIN_WITH_NULLS,
            )
        other = self.target.bind.other if self.parameters == self.target.bind.first else None
        app = self.app if other else {"app_guid": _OTHER_APP, "bind_resource": {"app_guid": _OTHER_APP}}
        otherwise = self.bind(binding, other or self.parameters, **app)
        made_up = not (other and self.target.bind.told)
        self.request(Situation.BOUND_OTHERWISE, otherwise, made, resource=binding, made_up=made_up)

    def _repeat_with_nulls(self, binding: Resource, same: APIRequest) -> None:
        """Without parameters it may be another bind than the one that was made; it is a bind all the same."""
        needed = self.target.bind.told or self.target.bind.needed
        names = [
            *(("parameters",) if self.parameters is None or not needed else ()),
            *(("app_guid", "bind_resource") if not self.app else ()),
        ]
        if names:
            nulls = same.with_body(**dict.fromkeys(names))
            what = f"a bind with {' and '.join(names)} null"
            self.request(Situation.BOUND_AGAIN_WITH_NULLS, nulls, resource=binding, what=what)

    def _fetch(self, binding: Resource, made: Exchange) -> None:
        if self.target.bindings_retrievable:
            fetch = self.fetch(binding)
            self.request(Situation.BINDING_FETCHED, fetch, made, parameters=self.parameters)
            what = "a fetch with an identity that is not base64"
            self.request(Situation.IDENTITY_MALFORMED, fetch, headers=NOT_BASE64, what=what)
            self.request(Situation.BINDING_FETCHED_ELSEWHERE, self.fetch(_elsewhere(binding)))
        else:
            self.skip(
                "bindings are not retrievable",
                Situation.BINDING_FETCHED,
                Situation.BINDING_FETCHED_ELSEWHERE,
                Situation.PREDECESSOR_FETCHED,
                Situation.SUCCESSOR_FETCHED,
                Situation.BINDING_FETCHED_WHEN_GONE,
            )

    def _rotate(self, binding: Resource) -> None:
        """Give it a successor (R-BIND-6)."""
        if not self.target.rotatable:
            self.skip(
                "the plan is not binding_rotatable",
                Situation.ROTATED,
                Situation.ROTATED_FROM_UNKNOWN,
                Situation.PREDECESSOR_FETCHED,
                Situation.SUCCESSOR_FETCHED,
            )
            return
        stranger = new_binding(self.instance)
        ask = self.bind(stranger, None, **self.app, predecessor_binding_id=NOBODY)
        self.request(Situation.ROTATED_FROM_UNKNOWN, ask, resource=stranger)
        successor = new_binding(self.instance)
        ask = self.bind(successor, None, **self.app, predecessor_binding_id=binding.binding_id)
        made = self.request(Situation.ROTATED, ask, resource=successor)
        if made.status == 202 and self.wait(successor, made).state != SUCCEEDED:
            return
        if made.status not in ACCEPTED:
            return
        if self.target.bindings_retrievable:
            before = self.request(Situation.PREDECESSOR_FETCHED, self.fetch(binding))
            fetch = self.fetch(successor)
            self.request(Situation.SUCCESSOR_FETCHED, fetch, before, parameters=self.parameters)
        self.others.append((successor, ask))

    # Its end

    def _end(self, binding: Resource) -> None:
        right = self.delete(binding)
        elsewhere = _elsewhere(binding)
        what = "a delete of it under another instance's id"
        wrong = Wrong(Situation.UNBOUND_ELSEWHERE, what, self.delete(elsewhere))
        for situation, what, ask, headers in (
            wrong,
            *wrong_deletes(right, Situation.UNBOUND_WITHOUT_IDS),
        ):
            resource = elsewhere if ask is wrong.ask else binding
            deleted = self.request(situation, ask, resource=resource, headers=headers, what=what)
            if deleted.status in (200, 202):
                self.skip(
                    f"{what} deleted it", Situation.UNBOUND_WITHOUT_POLLING, Situation.UNBOUND_WHEN_GONE
                )
                self.is_deleted(binding, deleted)
                return
        plain = self.delete(binding, can_poll=False)
        deleted = self.request(Situation.UNBOUND_WITHOUT_POLLING, plain, resource=binding)
        if deleted.status == 422 and deleted.error_code == "AsyncRequired":
            self.without_saying_true(Situation.UNBOUND_WITHOUT_SAYING_TRUE, right, binding)
            deleted = self.request(Situation.UNBOUND, right, resource=binding)
        else:
            self.note(Situation.UNBOUND, plain, deleted)
        if deleted.status == 202:
            again = Probe(Situation.UNBOUND_AGAIN_IN_PROGRESS, right, None, (deleted,))
            self.while_in_progress(binding, deleted, [again], polled=Situation.POLLED_DELETION)
        else:
            self.skip(
                "it is unbound at once",
                Situation.UNBOUND_AGAIN_IN_PROGRESS,
                Situation.UNBOUND_WITHOUT_SAYING_TRUE,
            )
        if not self.is_deleted(binding, deleted):
            return
        self.gone = binding
        self.request(Situation.UNBOUND_WHEN_GONE, right, resource=binding)
        if self.target.bindings_retrievable:
            self.request(Situation.BINDING_FETCHED_WHEN_GONE, self.fetch(binding))

    def _end_alone(self, binding: Resource) -> None:
        """Delete it, and see that the others are still there; then these are deleted, too."""
        asks = {other: self._look(other, put) for other, put in self.others}
        before = {other: self.send(ask, other) for other, ask in asks.items()}
        self._end(binding)
        for other, ask in asks.items():
            is_there = before[other].status == 200
            if is_there and self.gone is not None:
                after = self.request(_AFTER_UNBIND, ask, before[other], resource=other)
                is_there = after.status == 200
            self.remove(other, Situation.UNBOUND if is_there else None)
        if not asks:
            self.skip("the instance has no other binding", _AFTER_UNBIND)

    def _look(self, binding: Resource, put: APIRequest) -> APIRequest:
        """The request that tells if a binding is there, whose id nobody else has."""
        return self.fetch(binding) if self.target.bindings_retrievable else put

    def _halt(self, made: Exchange) -> None:
        """Make another one and delete it while it is in progress (R-UNB-3)."""
        if made.status != 202:
            self.skip("it is bound at once", *BINDING_CANCELLED)
            return
        binding = new_binding(self.instance)
        accepted = self.send(self.bind(binding, self.parameters, **self.app), binding)
        if accepted.status != 202:
            self.skip("another one was not answered with 202", *BINDING_CANCELLED)
            return
        cancel(self, binding, accepted, can_be_fetched=self.target.bindings_retrievable)

    def _at_once(self) -> None:
        """Several binds of one id at once."""
        binding = new_binding(self.instance)
        ask = self.bind(binding, self.parameters, **self.app)
        answers = self.send_concurrently(Situation.BOUND_AT_ONCE_BY_MANY, binding, [("same", ask)] * 4)
        accepted = {each.operation: each for each in answers if each.status == 202}
        for each in accepted.values():  # if they are several, which of them can be polled is not known
            polled = Situation.POLLED if len(accepted) == 1 else None
            if self.wait(binding, each, polled=polled).state == SUCCEEDED:
                break
        if any(each.status in ACCEPTED for each in answers):
            self.others.append((binding, ask))


def _elsewhere(binding: Resource) -> Resource:
    """The same binding, of an instance that is none."""
    return binding._replace(instance_id=new_instance().instance_id)
