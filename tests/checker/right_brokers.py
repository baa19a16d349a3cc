"""Service brokers that do things in another way, which the rules allow: the checker finds nothing wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

from brokerkit.requests import Operation

from . import misdeeds, other_ways
from .faults import Fault, answers, body, does, headers, offers, refuses, several, tells, to
from .right_broker import RightBroker

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
        trouble: What the check says that it could not do, if anything.
    """

    name: str
    way: Fault
    plans: tuple[str, ...] = ALL
    options: dict[str, Any] = {}
    trouble: str | None = None

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
        "has more to offer than is read",
        offers(lambda offering, _: offering.update(metadata={"longDescription": "x" * 4_200_000})),
        trouble="the catalog has more than 4,194,304 bytes",
    ),
    Other(
        "takes longer than the check",
        several(does("end", misdeeds.never_ends), headers(to(POLL), Retry_After=None)),
        ("db/later",),
        {"operation_timeout": 0.2},
        "could be made",
    ),
    Other(
        "a provision fails",
        lambda broker: None,
        ("log/doomed",),
        trouble="could be made: failed: It is failed",
    ),
]
