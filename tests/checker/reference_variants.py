"""Service brokers that do things in another way, which the rules allow: the checker finds nothing wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

from brokerkit.requests import Operation

from . import stateful_faults as misdeeds
from . import variant_behaviour as other_ways
from .faults import Fault, answers, body, does, headers, offers, refuses, several, tells, to
from .reference_broker import RightBroker

PROVISION, UPDATE, DEPROVISION = Operation.PROVISION, Operation.UPDATE, Operation.DEPROVISION
BIND, UNBIND = Operation.BIND, Operation.UNBIND
GET_INSTANCE, POLL = Operation.GET_INSTANCE, Operation.LAST_OPERATION

ALL = ("db", "log/app", "log/slow")


class Other(NamedTuple):
    """A broker that is right in its own way.

    Args:
        name: What is other.
        way: Makes the right broker so.
        plans: What to check of it.
        options: How to check it.
        problem: What the check says that it could not do, if anything.
    """

    name: str
    way: Fault
    plans: tuple[str, ...] = ALL
    options: dict[str, Any] = {}
    problem: str | None = None

    def make(self) -> RightBroker:
        """One of it."""
        broker = RightBroker()
        self.way(broker)
        return broker


OTHERS = [
    Other("needs its bindings deleted first", does("deprovision", other_ways.refuses_with_bindings)),
    Other(
        "deletes of what is being made have to wait",
        misdeeds.refuses_to_halt(DEPROVISION, 422, "ConcurrencyError"),
    ),
    Other(
        "unbinds of what is being made have to wait",
        misdeeds.refuses_to_halt(UNBIND, 422, "ConcurrencyError"),
    ),
    Other("names no operations", tells(to(PROVISION, UPDATE, BIND, status=202), operation=None)),
    Other(
        "forgets deleted instances, polls too",
        answers(410, misdeeds.of_works(DEPROVISION, UNBIND, state="succeeded")),
    ),
    Other("knows no instance that is being made", other_ways.hides_what_is_made),
    Other("provisions that come at once have to wait", other_ways.lets_wait(PROVISION)),
    Other("tells nothing when fetched", body(to(GET_INSTANCE, status=200), {})),
    Other("adds parameters of its own", tells(to(GET_INSTANCE, status=200), parameters={"shards": 7})),
    Other(
        "supports no other plan",
        refuses(
            422,
            lambda asked: (
                asked.operation is UPDATE
                and asked.body.get("plan_id") in ("now-id", "later-id")
                and asked.body["plan_id"] != asked.body["previous_values"]["plan_id"]
            ),
        ),
    ),
    Other("tells a charset", headers(to(), Content_Type="application/json; charset=utf-8")),
    Other(
        "tells more than is asked",
        tells(to(PROVISION, UPDATE, BIND, POLL, status=200), metadata={}, extra=[]),
    ),
    Other("has no ETag", headers(to(Operation.CATALOG), ETag=None)),
    Other("has no dashboards", tells(to(PROVISION, UPDATE, GET_INSTANCE), dashboard_url=None)),
    Other(
        "has nothing to say of polls",
        several(tells(to(POLL, status=200), description=None), headers(to(POLL), Retry_After=None)),
        ("db/later",),
    ),
    Other(
        "is never fetched",
        offers(lambda offering, _: offering.update(instances_retrievable=False, bindings_retrievable=False)),
        ("db/now", "db/plain"),
    ),
    Other("is never updated", several(offers(other_ways.is_never_updated), answers(422, to(UPDATE)))),
    Other(
        "takes parameters that nobody can make up", does("check_parameters", other_ways.dislikes_parameters)
    ),
    Other(
        "looks at parameters before it sees that it is busy",
        does("update", other_ways.dislikes_parameters_while_busy),
        ("db/later",),
    ),
    Other("is through before it can be asked about", other_ways.is_through_at_once, ("db/later", "log/slow")),
    Other(
        "makes at once, and names no operations",
        several(
            other_ways.makes_at_once,
            tells(to(PROVISION, UPDATE, BIND, status=202), operation=None),
            offers(other_ways.changes_other_parameters, plan=1),
        ),
        ("db/later",),
    ),
    Other(
        "makes at once, and does not halt binds",
        several(
            other_ways.makes_at_once,
            misdeeds.refuses_to_halt(UNBIND, 422, "ConcurrencyError"),
            does("deprovision", other_ways.refuses_with_bindings),
        ),
        ("db/later",),
    ),
    Other("each update is one of its own, the first is over soon", other_ways.updates_anew, ("db/later",)),
    Other(
        "is through at once, and takes other parameters for updates",
        several(other_ways.is_through_at_once, offers(other_ways.changes_other_parameters, plan=1)),
        ("db/later",),
    ),
    Other(
        "has room for one instance of a plan",
        other_ways.has_room_for_one(lambda thing: thing.attributes["plan_id"]),
        ("db/now", "db/later"),
    ),
    Other(
        "has room for one instance",
        other_ways.has_room_for_one(lambda _: "one"),
        ("db/later", "log/slow"),
        {"jobs": 1},
    ),
    Other("wants to be asked slowly", other_ways.wants_to_be_asked_slowly, ("db/now", "db/later")),
    Other("knows applications by UUIDs", other_ways.knows_applications, ("db/now", "db/later", "log/app")),
    Other(
        "binds for no application",
        refuses(400, lambda asked: asked.operation is BIND and bool(asked.body.get("app_guid")), "KeysOnly"),
        ("db/now", "db/later"),
    ),
    Other(
        "has no ids with spaces",
        refuses(400, lambda asked: " " in f"{asked.instance_id}{asked.binding_id}"),
        ("db/now",),
    ),
    Other(
        "knows true and false, and nothing else",
        refuses(400, lambda asked: asked.query.get("accepts_incomplete") not in (None, "true", "false")),
        ("db/later", "log/slow"),
    ),
    Other(
        "says much, every time",
        several(
            offers(lambda offering, _: offering.update(metadata={"longDescription": "x" * 3_500_000})),
            headers(to(Operation.CATALOG), ETag=None),
            tells(to(status=400), description="It is described. " * 10_000),
        ),
        ("db/now",),
    ),
    Other(
        "has the login that was thought wrong",
        other_ways.has_login("brokerkit", "wrong"),
        ("db/plain",),
        {"username": "brokerkit", "password": "wrong"},
    ),
    Other(
        "has more to offer than is read",
        offers(lambda offering, _: offering.update(metadata={"longDescription": "x" * 4_200_000})),
        problem="the catalog has more than 4,194,304 bytes",
    ),
    Other(
        "takes longer than the check",
        several(does("end", misdeeds.never_ends), headers(to(POLL), Retry_After=None)),
        ("db/later",),
        {"operation_timeout": 0.2},
        "could be created",
    ),
    Other(
        "a provision fails",
        lambda broker: None,
        ("log/doomed",),
        problem="could be created: failed: It is failed",
    ),
]
