"""Brokers with faults in creating, fetching and updating service instances."""

from __future__ import annotations

from .. import stateful_faults as stateful_faults
from ..faults import (
    body,
    hangs_up,
    ignores,
    overrides,
    rejects,
    replaces,
    responds_with,
    responses_to,
    with_fields,
)
from .faulty import (
    DEPROVISION,
    GET_INSTANCE,
    LATER,
    PLAIN,
    PROVISION,
    UPDATE,
    FaultyBroker,
    is_without_effect,
    polls_for,
    while_deleted,
)

PROVISIONS = [
    FaultyBroker(
        "returns 200 to every provision",
        "R-PROV-1.created",
        responds_with(200, responses_to(PROVISION, status=201)),
    ),
    FaultyBroker(
        "returns 500 to provisions",
        "R-PROV-1.created R-PROV-3.concurrent",
        responds_with(500, responses_to(PROVISION, status=201)),
    ),
    FaultyBroker(
        "closes the connection on provisions",
        "R-PROV-1.created R-PROV-3.concurrent",
        hangs_up(responses_to(PROVISION, status=201)),
    ),
    FaultyBroker(
        "returns a provision body that is not JSON",
        "R-REQ-6.json-responses",
        body(responses_to(PROVISION, status=201), b"Created"),
    ),
    FaultyBroker(
        "returns a number as dashboard_url",
        "R-PROV-1.body",
        with_fields(responses_to(PROVISION), dashboard_url=7),
    ),
    FaultyBroker(
        "returns labels that are not strings",
        "R-PROV-1.body",
        with_fields(responses_to(PROVISION, status=201), metadata={"labels": ["size"]}),
    ),
    FaultyBroker(
        "returns a number as operation",
        "R-PROV-1.operation",
        with_fields(responses_to(PROVISION, UPDATE, status=202), operation=7),
        LATER,
    ),
    FaultyBroker(
        "returns dashboard_url only to a fetch",
        "R-PROV-2.dashboard-url",
        with_fields(responses_to(PROVISION), dashboard_url=None),
    ),
    FaultyBroker(
        "returns 409 to a repeated provision",
        "R-PROV-3.again",
        responds_with(409, responses_to(PROVISION, status=200)),
    ),
    FaultyBroker(
        "creates a second instance on a repeated provision",
        "R-PROV-3.again R-PROV-3.concurrent",
        responds_with(201, responses_to(PROVISION, status=200)),
    ),
    FaultyBroker("creates instances with a race", "R-PROV-3.concurrent", stateful_faults.races(PROVISION)),
    FaultyBroker(
        "completes a repeated provision early",
        "R-PROV-4.same-operation",
        responds_with(200, stateful_faults.repeats(PROVISION)),
        LATER,
    ),
    FaultyBroker(
        "returns another operation to a repeated provision",
        "R-PROV-4.same-operation R-PROV-3.concurrent",
        with_fields(stateful_faults.repeats(PROVISION), operation="another"),
        LATER,
    ),
    FaultyBroker(
        "returns no operation to a repeated provision",
        "R-PROV-4.same-operation R-PROV-3.concurrent",
        with_fields(stateful_faults.repeats(PROVISION), operation=None),
        LATER,
    ),
    FaultyBroker(
        "treats other parameters as identical",
        "R-PROV-5.other-parameters",
        overrides("repeat", stateful_faults.takes_for_the_same("parameters")),
    ),
    FaultyBroker(
        "treats another plan as identical",
        "R-PROV-5.other-plan",
        overrides("repeat", stateful_faults.takes_for_the_same("plan_id")),
    ),
    FaultyBroker(
        "treats other attributes as identical during the operation",
        "R-PROV-5.in-progress",
        overrides("repeat", stateful_faults.takes_for_the_same("parameters", busy=True)),
        LATER,
    ),
    FaultyBroker(
        "returns 422 for a conflict",
        "R-PROV-5.other-parameters R-PROV-5.other-plan R-ERR-4.known-422",
        responds_with(422, responses_to(PROVISION, word="Conflict")),
    ),
    FaultyBroker(
        "accepts a provision without a plan", "R-PROV-6.required", replaces(PROVISION, plan_id="now-id")
    ),
    FaultyBroker(
        "accepts a provision without an offering",
        "R-PROV-6.required",
        replaces(PROVISION, service_id="db-id"),
    ),
    FaultyBroker(
        "accepts a provision without an organization",
        "R-PROV-6.organization",
        replaces(PROVISION, organization_guid="o", space_guid="s"),
    ),
    FaultyBroker(
        "returns 404 for an unknown offering",
        "R-PROV-6.unknown-offering",
        responds_with(404, responses_to(PROVISION, word="UnknownService")),
    ),
    FaultyBroker(
        "accepts an unknown plan",
        "R-PROV-6.unknown-plan",
        replaces(PROVISION, lambda value: value == stateful_faults.UNKNOWN_ID, plan_id="now-id"),
    ),
    FaultyBroker(
        "accepts a plan of another offering",
        "R-PROV-6.other-offering",
        replaces(PROVISION, lambda value: value == "app-id", plan_id="now-id"),
    ),
    FaultyBroker(
        "ignores the schema for provisions",
        "R-PROV-6.schema",
        ignores("parameters", of=PROVISION, unless=stateful_faults.fits_or_is_none),
    ),
    FaultyBroker("returns 202 without polling", "R-PROV-7.async-required", polls_for(PROVISION), LATER),
    FaultyBroker(
        "returns AsyncRequired with 400",
        "R-PROV-7.async-required R-ERR-3.error-codes",
        responds_with(400, responses_to(PROVISION, word="AsyncRequired")),
        LATER,
    ),
    FaultyBroker(
        "returns 422 without AsyncRequired",
        "R-PROV-7.async-required R-ERR-4.known-422",
        with_fields(responses_to(PROVISION, word="AsyncRequired"), error="Async"),
        LATER,
    ),
    FaultyBroker(
        "ignores maintenance versions", "R-PROV-8.conflict", ignores("maintenance_info", of=PROVISION)
    ),
    FaultyBroker(
        "returns 400 for a conflict of versions",
        "R-PROV-8.conflict R-ERR-3.error-codes",
        responds_with(400, responses_to(PROVISION, word="MaintenanceInfoConflict")),
    ),
    FaultyBroker(
        "rejects the version of the catalog",
        "R-PROV-8.accepted",
        rejects(
            422,
            lambda request: (
                request.operation is PROVISION
                and request.body.get("maintenance_info") == {"version": "1.0.0"}
            ),
            "MaintenanceInfoConflict",
        ),
    ),
]

FETCHES = [
    FaultyBroker(
        "instances cannot be fetched",
        "R-GETI.available",
        responds_with(404, responses_to(GET_INSTANCE, status=200)),
    ),
    FaultyBroker(
        "closes the connection on a fetch",
        "R-GETI.available",
        hangs_up(responses_to(GET_INSTANCE, status=200)),
    ),
    FaultyBroker(
        "requires query parameters of a fetch",
        "R-GETI.hints",
        rejects(400, lambda request: request.operation is GET_INSTANCE and not request.query),
    ),
    FaultyBroker(
        "returns a list as parameters",
        "R-GETI.body",
        with_fields(responses_to(GET_INSTANCE, status=200), parameters=[]),
    ),
    FaultyBroker(
        "returns another offering",
        "R-GETI.plan",
        with_fields(responses_to(GET_INSTANCE, status=200), service_id="log-id"),
    ),
    FaultyBroker(
        "returns other parameters",
        "R-GETI.parameters R-UPD-1.stored",
        with_fields(responses_to(GET_INSTANCE, status=200), parameters={"size": 9}),
    ),
    FaultyBroker(
        "returns 410 for an unknown instance",
        "R-GETI.unknown R-GETI.gone",
        responds_with(410, responses_to(GET_INSTANCE, status=404)),
    ),
    FaultyBroker("returns deleted instances", "R-GETI.gone", stateful_faults.keeps_ghosts("get_instance")),
    FaultyBroker(
        "returns cancelled instances",
        "R-GETI.gone R-DEL-3.not-found",
        stateful_faults.keeps_ghosts("get_instance"),
        LATER,
    ),
    FaultyBroker(
        "returns instances during their creation",
        "R-GETI.in-progress",
        overrides("get_instance", stateful_faults.fetches_while(PROVISION)),
        LATER,
    ),
    FaultyBroker(
        "returns instances during an update",
        "R-GETI.updating",
        overrides("get_instance", stateful_faults.fetches_while(UPDATE)),
        LATER,
    ),
]

UPDATES = [
    FaultyBroker(
        "returns 201 to updates", "R-UPD-1.applied", overrides("update", stateful_faults.creates_updates)
    ),
    FaultyBroker(
        "returns a number as dashboard_url of an update",
        "R-UPD-1.body",
        with_fields(responses_to(UPDATE, status=200), dashboard_url={}),
    ),
    FaultyBroker("rejects an update without effect", "R-UPD-1.no-change", rejects(400, is_without_effect)),
    FaultyBroker(
        "completes a repeated update early",
        "R-UPD-1.same-operation",
        responds_with(200, stateful_faults.repeats(UPDATE)),
        LATER,
    ),
    FaultyBroker(
        "returns another operation to a repeated update",
        "R-UPD-1.same-operation",
        with_fields(stateful_faults.repeats(UPDATE), operation="another"),
        LATER,
    ),
    FaultyBroker("applies no updates", "R-UPD-1.stored", overrides("change", lambda *_: None)),
    FaultyBroker(
        "changes the plan on every update",
        "R-UPD-2.plan-unchanged",
        overrides("change", stateful_faults.moves_anyway),
    ),
    FaultyBroker(
        "loses the parameters on a plan change",
        "R-UPD-2.parameters-unchanged",
        overrides("change", stateful_faults.loses_parameters),
    ),
    FaultyBroker(
        "allows forbidden plan changes",
        "R-UPD-3.not-updateable",
        overrides("update", stateful_faults.moves_from_any_plan),
        PLAIN,
    ),
    FaultyBroker(
        "returns 400 to a forbidden plan change",
        "R-UPD-3.not-updateable",
        responds_with(400, responses_to(UPDATE, word="PlanNotUpdateable")),
        PLAIN,
    ),
    FaultyBroker(
        "accepts an update to an unknown plan",
        "R-UPD-3.unknown-plan",
        replaces(UPDATE, lambda value: value == stateful_faults.UNKNOWN_ID, plan_id="now-id"),
    ),
    FaultyBroker(
        "accepts an update to a plan of another offering",
        "R-UPD-3.unknown-plan",
        replaces(UPDATE, lambda value: value == "app-id", plan_id="now-id"),
    ),
    FaultyBroker(
        "loses the parameters on a context update",
        "R-UPD-2.parameters-unchanged",
        overrides(
            "update", stateful_faults.changes_with_a_context(lambda resource: resource.parameters.clear())
        ),
    ),
    FaultyBroker(
        "changes the plan on a context update",
        "R-UPD-2.plan-unchanged",
        overrides(
            "update",
            stateful_faults.changes_with_a_context(
                lambda resource: resource.attributes.update(plan_id="later-id")
            ),
        ),
    ),
    FaultyBroker(
        "rejects context updates",
        "R-UPD-4.context",
        rejects(
            400,
            lambda request: (
                request.operation is UPDATE
                and set(request.body) <= {"service_id", "context", "previous_values"}
                and "context" in request.body
            ),
        ),
    ),
    FaultyBroker(
        "returns 202 to an update without polling", "R-UPD-5.async-required", polls_for(UPDATE), LATER
    ),
    FaultyBroker(
        "ignores maintenance versions of updates", "R-UPD-5.conflict", ignores("maintenance_info", of=UPDATE)
    ),
    FaultyBroker(
        "ignores the schema for updates",
        "R-UPD-5.schema",
        ignores("parameters", of=UPDATE, unless=stateful_faults.fits_or_is_none),
    ),
    FaultyBroker(
        "accepts an update without an offering", "R-UPD-5.required", replaces(UPDATE, service_id="db-id")
    ),
    FaultyBroker(
        "accepts concurrent updates",
        "R-UPD-5.concurrency",
        overrides("update", stateful_faults.updates_what_is_busy(UPDATE)),
        LATER,
    ),
    FaultyBroker(
        "updates an instance during its creation",
        "R-UPD-5.while-created",
        overrides("update", stateful_faults.updates_what_is_busy(PROVISION)),
        LATER,
    ),
    FaultyBroker(
        "updates an instance during its deletion",
        "R-UPD-5.while-deleted",
        while_deleted(overrides("update", stateful_faults.updates_what_is_busy(DEPROVISION))),
        LATER,
    ),
    FaultyBroker(
        "updates an unknown instance",
        "R-UPD-5.unknown",
        responds_with(200, responses_to(UPDATE, word="NotFound")),
    ),
    FaultyBroker(
        "requires the new plan to poll an update",
        "R-UPD-6.previous-plan",
        overrides("last_operation", stateful_faults.needs_the_new_plan),
        LATER,
    ),
]
