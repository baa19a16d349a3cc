"""The lifecycle of a service binding and its successor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ..example_parameters import Values
from ..resource_tracker import Resource
from ..scenario import ACCEPTED, APP_FIELDS, SUCCEEDED, Probe
from ..session import new_binding, new_instance
from ..situations import Situation
from ._cancel import BINDING_CANCELLED, cancel
from .concurrent import ConcurrentRequests
from .headers import NOT_BASE64
from .invalid_requests import UNKNOWN_ID, UNREADABLE, InvalidRequest, fields_of_wrong_types, invalid_deletes
from .special_ids import SpecialIds

_OTHER_OPERATION, _AFTER_UNBIND = (
    Situation.POLLED_OPERATION_OF_OTHER_RESOURCE,
    Situation.OTHER_BINDING_AFTER_UNBIND,
)
_OTHER_APP_GUID = "c3333333-0000-4000-8000-000000000004"

BINDING_SITUATIONS = (
    *BINDING_CANCELLED,
    Situation.BOUND,
    Situation.BOUND_WITH_FLAG_NOT_TRUE,
    Situation.BOUND_WITHOUT_POLLING,
    Situation.BOUND_AGAIN,
    Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
    Situation.BOUND_AGAIN_WITH_NULLS,
    Situation.BOUND_AGAIN_IN_PROGRESS,
    Situation.BOUND_WITH_OTHER_ATTRIBUTES,
    Situation.BOUND_CONCURRENTLY,
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
    Situation.BINDING_FETCHED_AFTER_DELETION,
    Situation.BINDING_FETCHED_UNDER_OTHER_INSTANCE,
    Situation.BINDING_POLLED_UNKNOWN,
    Situation.POLLED_OPERATION_OF_OTHER_RESOURCE,
    Situation.ROTATED,
    Situation.ROTATED_FROM_UNKNOWN,
    Situation.PREDECESSOR_FETCHED,
    Situation.SUCCESSOR_FETCHED,
    Situation.UNBOUND,
    Situation.UNBOUND_WITHOUT_POLLING,
    Situation.UNBOUND_WITH_FLAG_NOT_TRUE,
    Situation.UNBOUND_AGAIN_IN_PROGRESS,
    Situation.UNBOUND_AFTER_DELETION,
    Situation.UNBOUND_UNKNOWN,
    Situation.UNBOUND_WITHOUT_IDS,
    Situation.UNBOUND_UNDER_OTHER_INSTANCE,
    Situation.OTHER_BINDING_AFTER_UNBIND,
    Situation.UNKNOWN_UNBOUND,
)
"""The situations that require a bindable plan."""


class BindingLifecycle(ConcurrentRequests):
    """Scenario that creates, repeats, fetches, rotates and deletes service bindings of an instance."""

    gone: Resource | None = None
    """A deleted service binding, to be deleted again after its instance."""

    def run(self, instance: Resource, provisioned: Exchange) -> None:
        """Run the scenario.

        Args:
            instance: An existing service instance.
            provisioned: The response that created the instance.
        """
        self.instance = instance
        self.provisioned = provisioned
        self.other_bindings: list[tuple[Resource, APIRequest]] = []
        self.app: Mapping[str, Any] = {}
        self.parameters: Values | None = None
        self._request_unknown_binding()
        binding = new_binding(instance)
        created = self._create(binding)
        if created is None:
            self.skip(
                "no service binding could be created",
                Situation.BOUND_AGAIN,
                Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
                Situation.BOUND_WITH_OTHER_ATTRIBUTES,
                Situation.BINDING_FETCHED,
                Situation.ROTATED,
                Situation.UNBOUND,
                Situation.UNKNOWN_UNBOUND,
            )
            return
        self._send_invalid_requests()
        self._repeat_creation(binding, created)
        self._fetch(binding, created)
        self._rotate(binding)
        self._send_concurrent_binds()
        self._delete_and_check_others(binding)
        self._cancel_binding(created)
        put = partial(self.bind, parameters=self.parameters, **self.app)
        SpecialIds(self.session, self.target, self.timeout).run(binding, created, put)

    def _request_unknown_binding(self) -> None:
        unknown = new_binding(self.instance)
        deleted = self.request(Situation.UNBOUND_UNKNOWN, self.delete(unknown), resource=unknown)
        self._returns_410 = deleted.status == 410
        if not self._returns_410:
            self.skip("unbinding an unknown binding does not return 410", Situation.REFUSED_BIND_DELETED)
        if self.target.bindings_retrievable:
            self.request(Situation.BINDING_FETCHED_UNKNOWN, self.fetch(unknown))
            self.request(Situation.BINDING_POLLED_UNKNOWN, self.poll(unknown, None))
        else:
            self.skip(
                "service bindings are not retrievable",
                Situation.BINDING_FETCHED_UNKNOWN,
                Situation.BINDING_POLLED_UNKNOWN,
                Situation.BINDING_FETCHED_IN_PROGRESS,
            )

    # Creation

    def _create(self, binding: Resource) -> Exchange | None:
        """Create the service binding; return the response that created it, or None."""
        bind = self.target.bind
        tries = [bind.first] if bind.from_user or bind.first is None else [bind.first, None]
        for parameters in tries:  # The broker may reject generated parameters.
            self.parameters = parameters
            request, created = self._create_synchronously(binding)
            if created.status is None or not 400 <= created.status < 500:
                break
        else:
            self.problem = (
                f"no service binding of {self.target.name} could be created: {created.response_line}"
            )
            return None
        self.record(Situation.BOUND, request, created)
        if created.status in (200, 201):
            self.skip(
                "the binding is created synchronously",
                Situation.BOUND_AGAIN_IN_PROGRESS,
                Situation.BINDING_FETCHED_IN_PROGRESS,
                Situation.BOUND_WITH_FLAG_NOT_TRUE,
                _OTHER_OPERATION,
            )
            return created
        return created if created.status == 202 and self._await_completion(binding, created) else None

    def _create_synchronously(self, binding: Resource) -> tuple[APIRequest, Exchange]:
        """Create the binding synchronously and without an application, unless the broker requires either."""
        request = self.bind(binding, self.parameters, can_poll=False)
        created = self.request(Situation.BOUND_WITHOUT_POLLING, request, resource=binding)
        if created.status == 422 and created.error_code == "RequiresApp":
            self.app = APP_FIELDS
            request = self.bind(binding, self.parameters, can_poll=False, **self.app)
            created = self.request(Situation.BOUND_WITHOUT_POLLING, request, resource=binding)
        if created.status == 422 and created.error_code == "AsyncRequired":
            request = self.bind(binding, self.parameters, **self.app)
            self.send_with_flag_not_true(Situation.BOUND_WITH_FLAG_NOT_TRUE, request, binding)
            created = self.send(request, binding)
        return request, created

    def _await_completion(self, binding: Resource, created: Exchange) -> bool:
        again = self.bind(binding, self.parameters, **self.app)
        probes = [Probe(Situation.BOUND_AGAIN_IN_PROGRESS, again, binding, (created,))]
        if self.target.bindings_retrievable:
            probes.append(Probe(Situation.BINDING_FETCHED_IN_PROGRESS, self.fetch(binding)))
        self.while_in_progress(binding, created, probes)
        outcome = self.wait(binding, created)
        if outcome.state == SUCCEEDED:
            self.poll_after_completion(binding, created, outcome.last)
            self._poll_instance(created)
        return outcome.state == SUCCEEDED

    def _poll_instance(self, created: Exchange) -> None:
        """Poll the instance with the operation of the binding: an operation belongs to one resource."""
        if created.operation is None or created.operation == self.provisioned.operation:
            self.skip("the operations of bindings have no distinct names", _OTHER_OPERATION)
        elif self.provisioned.status != 202:
            self.skip("the instance was created synchronously", _OTHER_OPERATION)
        else:
            self.request(_OTHER_OPERATION, self.poll(self.instance, created.operation))

    def _send_invalid_requests(self) -> None:
        """Send bind requests with one fault each. None of them may create a binding."""
        binding = new_binding(self.instance)
        right = self.bind(binding, self.parameters, **self.app)

        def refused(situation: Situation, request: APIRequest, what: str | None = None) -> None:
            self._send_invalid_request(situation, request, binding, what)

        for what, body in UNREADABLE.items():
            refused(Situation.BIND_UNREADABLE, right._replace(body=body), what)
        for what, wrong in fields_of_wrong_types("service_id", "plan_id").items():
            refused(Situation.BIND_OF_WRONG_TYPES, right.with_body(**wrong), what)
        for field in ("service_id", "plan_id"):
            refused(
                Situation.BIND_WITHOUT_FIELD, right.without_field(field), f"a bind request without {field}"
            )
        refused(Situation.BIND_OF_UNKNOWN_PLAN, right.with_body(plan_id=UNKNOWN_ID))
        if self.target.other_offering_plans:
            foreign = right.with_body(plan_id=self.target.other_offering_plans[0]["id"])
            refused(Situation.BIND_OF_UNKNOWN_PLAN, foreign, "a bind request for a plan of another offering")
        if self.target.bind.rejected is not None:
            refused(Situation.BIND_AGAINST_SCHEMA, right.with_body(parameters=self.target.bind.rejected))
        else:
            self.skip(
                "the plan has no schema for binding parameters, or it rejects nothing",
                Situation.BIND_AGAINST_SCHEMA,
            )

    def _send_invalid_request(
        self, situation: Situation, request: APIRequest, binding: Resource, what: str | None
    ) -> None:
        refused = self.request(situation, request, resource=binding, what=what)
        delete = self.delete(binding)
        if (
            refused.status in ACCEPTED
        ):  # Delete a binding that should have been rejected: it would block the deletion of the instance.
            deleted = self.send(delete, binding)
        elif self._returns_410 and refused.status is not None and refused.status < 500:
            deleted = self.request(Situation.REFUSED_BIND_DELETED, delete, refused, resource=binding)
        else:
            return
        self.await_deletion(binding, deleted, polled=None)

    # Requests for the existing binding

    def _repeat_creation(self, binding: Resource, created: Exchange) -> None:
        same = self.bind(binding, self.parameters, **self.app)
        again = self.request(Situation.BOUND_AGAIN, same, created, resource=binding)
        if again.status == 200:
            self.request(
                Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
                same.with_body(brokerkit_check={"unknown": True}),
                resource=binding,
                what="an identical bind request with an unknown field",
            )
            self._repeat_with_nulls(binding, same)
            headers, what = NOT_BASE64, "a bind request with an identity that is not base64"
            self.request(Situation.IDENTITY_MALFORMED, same, resource=binding, headers=headers, what=what)
        else:
            self.skip(
                "a repeated bind request does not return 200",
                Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
                Situation.BOUND_AGAIN_WITH_NULLS,
            )
        other = self.target.bind.alternative if self.parameters == self.target.bind.first else None
        app = (
            self.app
            if other
            else {"app_guid": _OTHER_APP_GUID, "bind_resource": {"app_guid": _OTHER_APP_GUID}}
        )
        different = self.bind(binding, other or self.parameters, **app)
        generated = not (other and self.target.bind.from_user)
        self.request(
            Situation.BOUND_WITH_OTHER_ATTRIBUTES, different, created, resource=binding, generated=generated
        )

    def _repeat_with_nulls(self, binding: Resource, same: APIRequest) -> None:
        """Repeat the request with null fields. It is valid, even if it differs from the first request."""
        required = self.target.bind.from_user or self.target.bind.required
        names = [
            *(("parameters",) if self.parameters is None or not required else ()),
            *(("app_guid", "bind_resource") if not self.app else ()),
        ]
        if names:
            nulls = same.with_body(**dict.fromkeys(names))
            what = f"a bind request with null for {' and '.join(names)}"
            self.request(Situation.BOUND_AGAIN_WITH_NULLS, nulls, resource=binding, what=what)

    def _fetch(self, binding: Resource, created: Exchange) -> None:
        if self.target.bindings_retrievable:
            fetch = self.fetch(binding)
            self.request(Situation.BINDING_FETCHED, fetch, created, parameters=self.parameters)
            what = "a fetch request with an identity that is not base64"
            self.request(Situation.IDENTITY_MALFORMED, fetch, headers=NOT_BASE64, what=what)
            self.request(
                Situation.BINDING_FETCHED_UNDER_OTHER_INSTANCE, self.fetch(_under_other_instance(binding))
            )
        else:
            self.skip(
                "service bindings are not retrievable",
                Situation.BINDING_FETCHED,
                Situation.BINDING_FETCHED_UNDER_OTHER_INSTANCE,
                Situation.PREDECESSOR_FETCHED,
                Situation.SUCCESSOR_FETCHED,
                Situation.BINDING_FETCHED_AFTER_DELETION,
            )

    def _rotate(self, binding: Resource) -> None:
        """Create a successor of the binding (R-BIND-6)."""
        if not self.target.rotatable:
            self.skip(
                "the plan is not binding_rotatable",
                Situation.ROTATED,
                Situation.ROTATED_FROM_UNKNOWN,
                Situation.PREDECESSOR_FETCHED,
                Situation.SUCCESSOR_FETCHED,
            )
            return
        foreign = new_binding(self.instance)
        request = self.bind(foreign, None, **self.app, predecessor_binding_id=UNKNOWN_ID)
        self.request(Situation.ROTATED_FROM_UNKNOWN, request, resource=foreign)
        successor = new_binding(self.instance)
        request = self.bind(successor, None, **self.app, predecessor_binding_id=binding.binding_id)
        created = self.request(Situation.ROTATED, request, resource=successor)
        if created.status == 202 and self.wait(successor, created).state != SUCCEEDED:
            return
        if created.status not in ACCEPTED:
            return
        if self.target.bindings_retrievable:
            previous = self.request(Situation.PREDECESSOR_FETCHED, self.fetch(binding))
            fetch = self.fetch(successor)
            self.request(Situation.SUCCESSOR_FETCHED, fetch, previous, parameters=self.parameters)
        self.other_bindings.append((successor, request))

    # Deletion

    def _delete_after_invalid_requests(self, binding: Resource) -> None:
        right = self.delete(binding)
        elsewhere = _under_other_instance(binding)
        what = "a DELETE request under another instance id"
        wrong = InvalidRequest(Situation.UNBOUND_UNDER_OTHER_INSTANCE, what, self.delete(elsewhere))
        for situation, what, request, headers in (
            wrong,
            *invalid_deletes(right, Situation.UNBOUND_WITHOUT_IDS),
        ):
            resource = elsewhere if request is wrong.request else binding
            deleted = self.request(situation, request, resource=resource, headers=headers, what=what)
            if deleted.status in (200, 202):
                self.skip(
                    f"{what} deleted it", Situation.UNBOUND_WITHOUT_POLLING, Situation.UNBOUND_AFTER_DELETION
                )
                self.await_deletion(binding, deleted)
                return
        plain = self.delete(binding, can_poll=False)
        deleted = self.request(Situation.UNBOUND_WITHOUT_POLLING, plain, resource=binding)
        if deleted.status == 422 and deleted.error_code == "AsyncRequired":
            self.send_with_flag_not_true(Situation.UNBOUND_WITH_FLAG_NOT_TRUE, right, binding)
            deleted = self.request(Situation.UNBOUND, right, resource=binding)
        else:
            self.record(Situation.UNBOUND, plain, deleted)
        if deleted.status == 202:
            again = Probe(Situation.UNBOUND_AGAIN_IN_PROGRESS, right, None, (deleted,))
            self.while_in_progress(binding, deleted, [again], polled=Situation.POLLED_DELETION)
        else:
            self.skip(
                "the binding is deleted synchronously",
                Situation.UNBOUND_AGAIN_IN_PROGRESS,
                Situation.UNBOUND_WITH_FLAG_NOT_TRUE,
            )
        if not self.await_deletion(binding, deleted):
            return
        self.gone = binding
        self.request(Situation.UNBOUND_AFTER_DELETION, right, resource=binding)
        if self.target.bindings_retrievable:
            self.request(Situation.BINDING_FETCHED_AFTER_DELETION, self.fetch(binding))

    def _delete_and_check_others(self, binding: Resource) -> None:
        """Delete the binding, check that the other bindings still exist, and delete those too."""
        requests = {other: self._existence_request(other, put) for other, put in self.other_bindings}
        previous = {other: self.send(request, other) for other, request in requests.items()}
        self._delete_after_invalid_requests(binding)
        for other, request in requests.items():
            is_there = previous[other].status == 200
            if is_there and self.gone is not None:
                after = self.request(_AFTER_UNBIND, request, previous[other], resource=other)
                is_there = after.status == 200
            self.delete_and_wait(other, Situation.UNBOUND if is_there else None)
        if not requests:
            self.skip("the instance has no other binding", _AFTER_UNBIND)

    def _existence_request(self, binding: Resource, put: APIRequest) -> APIRequest:
        """Build a request that shows whether a binding exists."""
        return self.fetch(binding) if self.target.bindings_retrievable else put

    def _cancel_binding(self, created: Exchange) -> None:
        """Create another binding and delete it during its creation (R-UNB-3)."""
        if created.status != 202:
            self.skip("the binding is created synchronously", *BINDING_CANCELLED)
            return
        binding = new_binding(self.instance)
        accepted = self.send(self.bind(binding, self.parameters, **self.app), binding)
        if accepted.status != 202:
            self.skip("another bind request did not return 202", *BINDING_CANCELLED)
            return
        cancel(self, binding, accepted, can_be_fetched=self.target.bindings_retrievable)

    def _send_concurrent_binds(self) -> None:
        """Send several bind requests for one id concurrently."""
        binding = new_binding(self.instance)
        request = self.bind(binding, self.parameters, **self.app)
        responses = self.send_concurrently(Situation.BOUND_CONCURRENTLY, binding, [("same", request)] * 4)
        accepted = {response.operation: response for response in responses if response.status == 202}
        for response in accepted.values():  # If there are several operations, only one of them may be valid.
            polled = Situation.POLLED if len(accepted) == 1 else None
            if self.wait(binding, response, polled=polled).state == SUCCEEDED:
                break
        if any(response.status in ACCEPTED for response in responses):
            self.other_bindings.append((binding, request))


def _under_other_instance(binding: Resource) -> Resource:
    """Return the binding under the id of an unknown instance."""
    return binding._replace(instance_id=new_instance().instance_id)
