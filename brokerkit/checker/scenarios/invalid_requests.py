"""What a provision must be refused for; each time nothing may be made."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...client.endpoints import APIRequest
from ..scenario import Scenario
from ..session import Headers, new_instance
from ..situations import Situation
from .headers import NOT_BASE64

UNREADABLE = {
    "a body that is cut off": b'{"service_id": ',
    "a body that is an array": b"[]",
    "a body that is a string": b'"provision"',
    "an empty body": b"",
    "a body that is not UTF-8": b'{"service_id": "\xff\xfe"}',
}
"""Bodies that are no JSON object."""

NO_VERSION = "999.0.0-brokerkit"
NOBODY = "brokerkit-check-nobody-has-this-id"
ORGANIZATION = ("organization_guid", "space_guid")


INVALID_REQUEST_SITUATIONS = frozenset(
    {
        Situation.PROVISION_UNREADABLE,
        Situation.PROVISION_OF_WRONG_TYPES,
        Situation.PROVISION_WITHOUT_FIELD,
        Situation.PROVISION_WITHOUT_ORGANIZATION,
        Situation.PROVISION_OF_UNKNOWN_SERVICE,
        Situation.PROVISION_OF_UNKNOWN_PLAN,
        Situation.PROVISION_OF_PLAN_OF_ANOTHER,
        Situation.PROVISION_AGAINST_SCHEMA,
        Situation.PROVISION_OF_OTHER_VERSION,
        Situation.REFUSED_PROVISION_DELETED,
    }
)
"""What they come to."""


class InvalidRequests(Scenario):
    """Sends provisions that are wrong in one thing each.

    What is the same for all plans is sent for one plan of an offering alone.
    """

    def run(self, *, all_of_it: bool) -> None:
        """Send them.

        Args:
            all_of_it: Also what is the same for all plans of an offering?
        """
        nobody = new_instance()
        self._tells_gone = self.send(self.delete(nobody), nobody).status == 410
        if not self._tells_gone:
            self.skip(
                "a delete of what never was is not answered with 410", Situation.REFUSED_PROVISION_DELETED
            )
        if all_of_it:
            self._bodies()
        self._ids()
        self._parameters()

    def _refused(self, situation: Situation, change: dict[str, Any], *, what: str | None = None) -> None:
        self._send(situation, lambda ask: ask.with_body(**change), what)

    def _send(self, situation: Situation, change: Any, what: str | None) -> None:
        resource = new_instance()
        ask: APIRequest = change(self.provision(resource, self.target.create.least))
        refused = self.request(situation, ask, resource=resource, what=what)
        self.undo(resource, refused)
        if self._tells_gone and refused.status is not None and 400 <= refused.status < 500:
            delete = self.delete(resource)
            deleted = self.request(Situation.REFUSED_PROVISION_DELETED, delete, refused, resource=resource)
            self.is_deleted(resource, deleted)

    def _bodies(self) -> None:
        for what, body in UNREADABLE.items():
            self._send(Situation.PROVISION_UNREADABLE, lambda ask, body=body: ask._replace(body=body), what)
        for what, wrong in wrong_types("service_id", "plan_id", "organization_guid", "space_guid").items():
            self._refused(Situation.PROVISION_OF_WRONG_TYPES, wrong, what=what)
        for field in ("service_id", "plan_id"):
            what = f"a provision without {field}"
            self._send(
                Situation.PROVISION_WITHOUT_FIELD, lambda ask, field=field: ask.without_field(field), what
            )
            self._refused(Situation.PROVISION_WITHOUT_FIELD, {field: ""}, what=f"an empty {field}")
        self._send(
            Situation.PROVISION_WITHOUT_ORGANIZATION,
            lambda ask: ask.without_field(*ORGANIZATION, "context"),
            None,
        )

    def _ids(self) -> None:
        self._refused(Situation.PROVISION_OF_UNKNOWN_SERVICE, {"service_id": NOBODY})
        self._refused(Situation.PROVISION_OF_UNKNOWN_PLAN, {"plan_id": NOBODY})
        if self.target.strangers:
            stranger = self.target.strangers[0]["id"]
            self._refused(Situation.PROVISION_OF_PLAN_OF_ANOTHER, {"plan_id": stranger})
        else:
            self.skip("there is one offering only", Situation.PROVISION_OF_PLAN_OF_ANOTHER)
        self._refused(
            Situation.PROVISION_OF_OTHER_VERSION,
            {"maintenance_info": {"version": NO_VERSION}},
            what="the version of a plan that has another"
            if self.target.version
            else "the version of a plan that has none",
        )

    def _parameters(self) -> None:
        bad = self.target.create.bad
        if bad is None:
            why = "no parameters are known that its schema refuses"
            self.skip(
                why if self.target.create.has_schema else "the plan has no schema for them",
                Situation.PROVISION_AGAINST_SCHEMA,
            )
        else:
            self._refused(Situation.PROVISION_AGAINST_SCHEMA, {"parameters": bad})


class Wrong(NamedTuple):
    """A request that is to be refused.

    Args:
        situation: Why it is sent.
        what: What it is, in words.
        ask: What is asked.
        headers: More headers.
    """

    situation: Situation
    what: str
    ask: APIRequest
    headers: Headers = {}


def wrong_deletes(right: APIRequest, without_ids: Situation) -> list[Wrong]:
    """A delete that is wrong in one thing each time.

    Args:
        right: The delete.
        without_ids: What those are noted as that lack a field.
    """
    missing = [
        Wrong(without_ids, f"a delete without {field}", right.without_field(field))
        for field in ("service_id", "plan_id")
    ]
    return [
        *missing,
        Wrong(
            Situation.IDENTITY_MALFORMED, "a delete with an identity that is not base64", right, NOT_BASE64
        ),
    ]


def wrong_types(*texts: str) -> dict[str, dict[str, Any]]:
    """Fields of wrong types, by what that is."""
    return {
        **{f"a number for {name}": {name: 7} for name in texts},
        "parameters that are an array": {"parameters": [1]},
        "parameters that are a text": {"parameters": "size=3"},
        "a context that is a text": {"context": "here"},
    }
