"""Invalid provision requests, none of which may create an instance."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...client.endpoints import APIRequest
from ..scenario import Scenario
from ..session import Headers, new_instance
from ..situations import Situation
from .headers import NOT_BASE64

UNREADABLE = {
    "a truncated body": b'{"service_id": ',
    "a body that is an array": b"[]",
    "a body that is a string": b'"provision"',
    "an empty body": b"",
    "a body that is not UTF-8": b'{"service_id": "\xff\xfe"}',
}
"""Bodies that are not a JSON object."""

UNKNOWN_VERSION = "999.0.0-brokerkit"
UNKNOWN_ID = "brokerkit-check-unknown-id"
ORGANIZATION = ("organization_guid", "space_guid")


INVALID_REQUEST_SITUATIONS = frozenset(
    {
        Situation.PROVISION_UNREADABLE,
        Situation.PROVISION_OF_WRONG_TYPES,
        Situation.PROVISION_WITHOUT_FIELD,
        Situation.PROVISION_WITHOUT_ORGANIZATION,
        Situation.PROVISION_OF_UNKNOWN_OFFERING,
        Situation.PROVISION_OF_UNKNOWN_PLAN,
        Situation.PROVISION_OF_PLAN_OF_OTHER_OFFERING,
        Situation.PROVISION_AGAINST_SCHEMA,
        Situation.PROVISION_OF_OTHER_VERSION,
        Situation.REFUSED_PROVISION_DELETED,
    }
)
"""The situations of this scenario."""


class InvalidRequests(Scenario):
    """Scenario that sends provision requests with one fault each.

    Requests that do not depend on the plan are sent for one plan of each offering.
    """

    def run(self, *, all_requests: bool) -> None:
        """Run the scenario.

        Args:
            all_requests: Whether to send the requests that do not depend on the plan.
        """
        unknown = new_instance()
        self._returns_410 = self.send(self.delete(unknown), unknown).status == 410
        if not self._returns_410:
            self.skip("deleting an unknown instance does not return 410", Situation.REFUSED_PROVISION_DELETED)
        if all_requests:
            self._malformed_bodies()
        self._unknown_ids()
        self._invalid_parameters()

    def _send_changed(self, situation: Situation, change: dict[str, Any], *, what: str | None = None) -> None:
        self._send_invalid(situation, lambda request: request.with_body(**change), what)

    def _send_invalid(self, situation: Situation, change: Any, what: str | None) -> None:
        resource = new_instance()
        request: APIRequest = change(self.provision(resource, self.target.create.minimal))
        refused = self.request(situation, request, resource=resource, what=what)
        self.delete_if_accepted(resource, refused)
        if self._returns_410 and refused.status is not None and 400 <= refused.status < 500:
            delete = self.delete(resource)
            deleted = self.request(Situation.REFUSED_PROVISION_DELETED, delete, refused, resource=resource)
            self.await_deletion(resource, deleted)

    def _malformed_bodies(self) -> None:
        for what, body in UNREADABLE.items():
            self._send_invalid(
                Situation.PROVISION_UNREADABLE, lambda request, body=body: request._replace(body=body), what
            )
        for what, wrong in fields_of_wrong_types(
            "service_id", "plan_id", "organization_guid", "space_guid"
        ).items():
            self._send_changed(Situation.PROVISION_OF_WRONG_TYPES, wrong, what=what)
        for field in ("service_id", "plan_id"):
            what = f"a provision request without {field}"
            self._send_invalid(
                Situation.PROVISION_WITHOUT_FIELD,
                lambda request, field=field: request.without_field(field),
                what,
            )
            self._send_changed(Situation.PROVISION_WITHOUT_FIELD, {field: ""}, what=f"an empty {field}")
        self._send_invalid(
            Situation.PROVISION_WITHOUT_ORGANIZATION,
            lambda request: request.without_field(*ORGANIZATION, "context"),
            None,
        )

    def _unknown_ids(self) -> None:
        self._send_changed(Situation.PROVISION_OF_UNKNOWN_OFFERING, {"service_id": UNKNOWN_ID})
        self._send_changed(Situation.PROVISION_OF_UNKNOWN_PLAN, {"plan_id": UNKNOWN_ID})
        if self.target.other_offering_plans:
            foreign = self.target.other_offering_plans[0]["id"]
            self._send_changed(Situation.PROVISION_OF_PLAN_OF_OTHER_OFFERING, {"plan_id": foreign})
        else:
            self.skip("there is only one offering", Situation.PROVISION_OF_PLAN_OF_OTHER_OFFERING)
        self._send_changed(
            Situation.PROVISION_OF_OTHER_VERSION,
            {"maintenance_info": {"version": UNKNOWN_VERSION}},
            what="a version other than that of the plan"
            if self.target.version
            else "a version for a plan without a version",
        )

    def _invalid_parameters(self) -> None:
        bad = self.target.create.rejected
        if bad is None:
            why = "no parameters are known that the schema rejects"
            self.skip(
                why if self.target.create.has_schema else "the plan has no schema for parameters",
                Situation.PROVISION_AGAINST_SCHEMA,
            )
        else:
            self._send_changed(Situation.PROVISION_AGAINST_SCHEMA, {"parameters": bad})


class InvalidRequest(NamedTuple):
    """A request that the broker must reject.

    Args:
        situation: The situation to record.
        what: A description.
        request: The request.
        headers: Additional headers.
    """

    situation: Situation
    what: str
    request: APIRequest
    headers: Headers = {}


def invalid_deletes(valid: APIRequest, without_ids: Situation) -> list[InvalidRequest]:
    """Build DELETE requests with one fault each.

    Args:
        valid: The valid DELETE request.
        without_ids: The situation of requests without a required query parameter.
    """
    missing = [
        InvalidRequest(without_ids, f"a DELETE request without {field}", valid.without_field(field))
        for field in ("service_id", "plan_id")
    ]
    return [
        *missing,
        InvalidRequest(
            Situation.IDENTITY_MALFORMED,
            "a DELETE request with an identity that is not base64",
            valid,
            NOT_BASE64,
        ),
    ]


def fields_of_wrong_types(*texts: str) -> dict[str, dict[str, Any]]:
    """Build fields of wrong types, by description."""
    return {
        **{f"a number as {name}": {name: 7} for name in texts},
        "an array as parameters": {"parameters": [1]},
        "a string as parameters": {"parameters": "size=3"},
        "a string as context": {"context": "here"},
    }
