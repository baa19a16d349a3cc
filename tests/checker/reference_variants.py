"""Correct service brokers with other behaviour that the specification allows."""

from __future__ import annotations

from typing import Any, NamedTuple

from brokerkit.requests import Operation

from . import stateful_faults as stateful_faults
from . import variant_behaviour as variant_behaviour
from .faults import (
    Fault,
    body,
    changes_catalog,
    combine,
    headers,
    overrides,
    rejects,
    responds_with,
    responses_to,
    with_fields,
)
from .reference_broker import ReferenceBroker

PROVISION, UPDATE, DEPROVISION = Operation.PROVISION, Operation.UPDATE, Operation.DEPROVISION
BIND, UNBIND = Operation.BIND, Operation.UNBIND
GET_INSTANCE, POLL = Operation.GET_INSTANCE, Operation.LAST_OPERATION

ALL = ("db", "log/app", "log/slow")


class Variant(NamedTuple):
    """A correct variant of the reference broker.

    Args:
        name: A description of the difference.
        way: Changes the reference broker.
        plans: The plans to check.
        options: Options for the check.
        problem: A part of the problem that the check reports, if any.
    """

    name: str
    way: Fault
    plans: tuple[str, ...] = ALL
    options: dict[str, Any] = {}
    problem: str | None = None

    def build(self) -> ReferenceBroker:
        """Build the broker."""
        broker = ReferenceBroker()
        self.way(broker)
        return broker


VARIANTS = [
    Variant(
        "rejects the deletion of an instance with bindings",
        overrides("deprovision", variant_behaviour.refuses_with_bindings),
    ),
    Variant(
        "returns ConcurrencyError to a deprovision during the creation",
        stateful_faults.refuses_to_halt(DEPROVISION, 422, "ConcurrencyError"),
    ),
    Variant(
        "returns ConcurrencyError to an unbind during the creation",
        stateful_faults.refuses_to_halt(UNBIND, 422, "ConcurrencyError"),
    ),
    Variant(
        "returns no operation names",
        with_fields(responses_to(PROVISION, UPDATE, BIND, status=202), operation=None),
    ),
    Variant(
        "forgets deleted instances and their operations",
        responds_with(410, stateful_faults.polls_of(DEPROVISION, UNBIND, state="succeeded")),
    ),
    Variant("returns 404 for an instance during its creation", variant_behaviour.hides_what_is_made),
    Variant("returns ConcurrencyError to concurrent provisions", variant_behaviour.lets_wait(PROVISION)),
    Variant("returns empty objects to fetches", body(responses_to(GET_INSTANCE, status=200), {})),
    Variant("adds parameters", with_fields(responses_to(GET_INSTANCE, status=200), parameters={"shards": 7})),
    Variant(
        "supports no plan changes",
        rejects(
            422,
            lambda request: (
                request.operation is UPDATE
                and request.body.get("plan_id") in ("now-id", "later-id")
                and request.body["plan_id"] != request.body["previous_values"]["plan_id"]
            ),
        ),
    ),
    Variant("returns a charset", headers(responses_to(), Content_Type="application/json; charset=utf-8")),
    Variant(
        "returns additional fields",
        with_fields(responses_to(PROVISION, UPDATE, BIND, POLL, status=200), metadata={}, extra=[]),
    ),
    Variant("has no ETag", headers(responses_to(Operation.CATALOG), ETag=None)),
    Variant(
        "has no dashboards", with_fields(responses_to(PROVISION, UPDATE, GET_INSTANCE), dashboard_url=None)
    ),
    Variant(
        "returns polls without a description",
        combine(
            with_fields(responses_to(POLL, status=200), description=None),
            headers(responses_to(POLL), Retry_After=None),
        ),
        ("db/later",),
    ),
    Variant(
        "supports no fetches",
        changes_catalog(
            lambda offering, _: offering.update(instances_retrievable=False, bindings_retrievable=False)
        ),
        ("db/now", "db/plain"),
    ),
    Variant(
        "supports no updates",
        combine(
            changes_catalog(variant_behaviour.is_never_updated), responds_with(422, responses_to(UPDATE))
        ),
    ),
    Variant(
        "requires parameters that cannot be generated",
        overrides("check_parameters", variant_behaviour.dislikes_parameters),
    ),
    Variant(
        "checks parameters before concurrency",
        overrides("update", variant_behaviour.dislikes_parameters_while_busy),
        ("db/later",),
    ),
    Variant(
        "completes operations before another request",
        variant_behaviour.completes_early,
        ("db/later", "log/slow"),
    ),
    Variant(
        "creates synchronously, without operation names",
        combine(
            variant_behaviour.provisions_early,
            with_fields(responses_to(PROVISION, UPDATE, BIND, status=202), operation=None),
            changes_catalog(variant_behaviour.changes_other_parameters, plan=1),
        ),
        ("db/later",),
    ),
    Variant(
        "creates synchronously, and does not cancel binds",
        combine(
            variant_behaviour.provisions_early,
            stateful_faults.refuses_to_halt(UNBIND, 422, "ConcurrencyError"),
            overrides("deprovision", variant_behaviour.refuses_with_bindings),
        ),
        ("db/later",),
    ),
    Variant(
        "starts an operation for each update, and completes the first early",
        variant_behaviour.starts_operation_per_update,
        ("db/later",),
    ),
    Variant(
        "completes early, and accepts other parameters for updates",
        combine(
            variant_behaviour.completes_early,
            changes_catalog(variant_behaviour.changes_other_parameters, plan=1),
        ),
        ("db/later",),
    ),
    Variant(
        "has a quota of one instance per plan",
        variant_behaviour.has_room_for_one(lambda resource: resource.attributes["plan_id"]),
        ("db/now", "db/later"),
    ),
    Variant(
        "has a quota of one instance",
        variant_behaviour.has_room_for_one(lambda _: "one"),
        ("db/later", "log/slow"),
        {"jobs": 1},
    ),
    Variant("has a rate limit", variant_behaviour.limits_rate, ("db/now", "db/later")),
    Variant(
        "requires UUIDs as ids of applications",
        variant_behaviour.knows_applications,
        ("db/now", "db/later", "log/app"),
    ),
    Variant(
        "creates bindings without an application",
        rejects(
            400, lambda request: request.operation is BIND and bool(request.body.get("app_guid")), "KeysOnly"
        ),
        ("db/now", "db/later"),
    ),
    Variant(
        "rejects ids with spaces",
        rejects(400, lambda request: " " in f"{request.instance_id}{request.binding_id}"),
        ("db/now",),
    ),
    Variant(
        "accepts only true and false",
        rejects(400, lambda request: request.query.get("accepts_incomplete") not in (None, "true", "false")),
        ("db/later", "log/slow"),
    ),
    Variant(
        "returns long responses",
        combine(
            changes_catalog(
                lambda offering, _: offering.update(metadata={"longDescription": "x" * 3_500_000})
            ),
            headers(responses_to(Operation.CATALOG), ETag=None),
            with_fields(responses_to(status=400), description="It is described. " * 10_000),
        ),
        ("db/now",),
    ),
    Variant(
        "has the credentials that the check assumes to be wrong",
        variant_behaviour.has_login("brokerkit", "wrong"),
        ("db/plain",),
        {"username": "brokerkit", "password": "wrong"},
    ),
    Variant(
        "has a catalog beyond the size limit",
        changes_catalog(lambda offering, _: offering.update(metadata={"longDescription": "x" * 4_200_000})),
        problem="the catalog has more than 4,194,304 bytes",
    ),
    Variant(
        "exceeds the operation timeout",
        combine(overrides("end", stateful_faults.never_ends), headers(responses_to(POLL), Retry_After=None)),
        ("db/later",),
        {"operation_timeout": 0.2},
        "could be created",
    ),
    Variant(
        "fails to provision",
        lambda broker: None,
        ("log/doomed",),
        problem="could be created: failed: It is failed",
    ),
]
