"""Brokers that are wrong with service instances: how they are made, fetched and updated."""

from __future__ import annotations

from .. import stateful_faults as misdeeds
from ..faults import answers, body, does, hangs_up, ignores, refuses, takes, tells, to
from .faulty import (
    DEPROVISION,
    GET_INSTANCE,
    LATER,
    PLAIN,
    PROVISION,
    UPDATE,
    Broken,
    is_in_vain,
    polls_for,
    while_deleted,
)

PROVISIONS = [
    Broken("answers every provision with 200", "R-PROV-1.created", answers(200, to(PROVISION, status=201))),
    Broken(
        "provisions fail",
        "R-PROV-1.created R-PROV-3.concurrent",
        answers(500, to(PROVISION, status=201)),
    ),
    Broken(
        "hangs up on provisions",
        "R-PROV-1.created R-PROV-3.concurrent",
        hangs_up(to(PROVISION, status=201)),
    ),
    Broken("does not answer in JSON", "R-REQ-6.json-responses", body(to(PROVISION, status=201), b"Created")),
    Broken("has a number for a dashboard", "R-PROV-1.body", tells(to(PROVISION), dashboard_url=7)),
    Broken(
        "has labels without text",
        "R-PROV-1.body",
        tells(to(PROVISION, status=201), metadata={"labels": ["size"]}),
    ),
    Broken(
        "names operations with numbers",
        "R-PROV-1.operation",
        tells(to(PROVISION, UPDATE, status=202), operation=7),
        LATER,
    ),
    Broken("tells the dashboard later", "R-PROV-2.dashboard-url", tells(to(PROVISION), dashboard_url=None)),
    Broken("a repeated PUT is 409", "R-PROV-3.again", answers(409, to(PROVISION, status=200))),
    Broken(
        "a repeated PUT makes a second instance",
        "R-PROV-3.again R-PROV-3.concurrent",
        answers(201, to(PROVISION, status=200)),
    ),
    Broken("looks before it leaps", "R-PROV-3.concurrent", misdeeds.races(PROVISION)),
    Broken(
        "a repeated PUT is done", "R-PROV-4.same-operation", answers(200, misdeeds.repeats(PROVISION)), LATER
    ),
    Broken(
        "a repeated PUT has another operation",
        "R-PROV-4.same-operation R-PROV-3.concurrent",
        tells(misdeeds.repeats(PROVISION), operation="another"),
        LATER,
    ),
    Broken(
        "a repeated PUT has no operation",
        "R-PROV-4.same-operation R-PROV-3.concurrent",
        tells(misdeeds.repeats(PROVISION), operation=None),
        LATER,
    ),
    Broken(
        "takes other parameters for the same",
        "R-PROV-5.other-parameters",
        does("again", misdeeds.takes_for_the_same("parameters")),
    ),
    Broken(
        "takes another plan for the same",
        "R-PROV-5.other-plan",
        does("again", misdeeds.takes_for_the_same("plan_id")),
    ),
    Broken(
        "takes nothing for different while it is busy",
        "R-PROV-5.in-progress",
        does("again", misdeeds.takes_for_the_same("parameters", busy=True)),
        LATER,
    ),
    Broken(
        "a conflict is 422",
        "R-PROV-5.other-parameters R-PROV-5.other-plan R-ERR-4.known-422",
        answers(422, to(PROVISION, word="Conflict")),
    ),
    Broken("needs no plan", "R-PROV-6.required", takes(PROVISION, plan_id="now-id")),
    Broken("needs no offering", "R-PROV-6.required", takes(PROVISION, service_id="db-id")),
    Broken(
        "needs no organization",
        "R-PROV-6.organization",
        takes(PROVISION, organization_guid="o", space_guid="s"),
    ),
    Broken(
        "an unknown offering is 404",
        "R-PROV-6.unknown-offering",
        answers(404, to(PROVISION, word="UnknownService")),
    ),
    Broken(
        "ignores unknown plans",
        "R-PROV-6.unknown-plan",
        takes(PROVISION, lambda told: told == misdeeds.NOBODY, plan_id="now-id"),
    ),
    Broken(
        "takes plans of other offerings",
        "R-PROV-6.other-offering",
        takes(PROVISION, lambda told: told == "app-id", plan_id="now-id"),
    ),
    Broken(
        "ignores its schema",
        "R-PROV-6.schema",
        ignores("parameters", of=PROVISION, unless=misdeeds.fits_or_is_none),
    ),
    Broken("answers 202 to who cannot poll", "R-PROV-7.async-required", polls_for(PROVISION), LATER),
    Broken(
        "asks for polling with 400",
        "R-PROV-7.async-required R-ERR-3.error-codes",
        answers(400, to(PROVISION, word="AsyncRequired")),
        LATER,
    ),
    Broken(
        "asks for polling without the word",
        "R-PROV-7.async-required R-ERR-4.known-422",
        tells(to(PROVISION, word="AsyncRequired"), error="Async"),
        LATER,
    ),
    Broken("ignores versions", "R-PROV-8.conflict", ignores("maintenance_info", of=PROVISION)),
    Broken(
        "a conflict of versions is 400",
        "R-PROV-8.conflict R-ERR-3.error-codes",
        answers(400, to(PROVISION, word="MaintenanceInfoConflict")),
    ),
    Broken(
        "refuses its own version",
        "R-PROV-8.accepted",
        refuses(
            422,
            lambda asked: (
                asked.operation is PROVISION and asked.body.get("maintenance_info") == {"version": "1.0.0"}
            ),
            "MaintenanceInfoConflict",
        ),
    ),
]

FETCHES = [
    Broken("cannot be fetched", "R-GETI.available", answers(404, to(GET_INSTANCE, status=200))),
    Broken("hangs up when fetched", "R-GETI.available", hangs_up(to(GET_INSTANCE, status=200))),
    Broken(
        "needs hints",
        "R-GETI.hints",
        refuses(400, lambda asked: asked.operation is GET_INSTANCE and not asked.query),
    ),
    Broken("fetches parameters in a list", "R-GETI.body", tells(to(GET_INSTANCE, status=200), parameters=[])),
    Broken(
        "fetches another offering", "R-GETI.plan", tells(to(GET_INSTANCE, status=200), service_id="log-id")
    ),
    Broken(
        "fetches other parameters",
        "R-GETI.parameters R-UPD-1.stored",
        tells(to(GET_INSTANCE, status=200), parameters={"size": 9}),
    ),
    Broken(
        "an instance that is none is 410",
        "R-GETI.unknown R-GETI.gone",
        answers(410, to(GET_INSTANCE, status=404)),
    ),
    Broken("fetches what was deleted", "R-GETI.gone", misdeeds.keeps_ghosts("get_instance")),
    Broken(
        "fetches what was halted",
        "R-GETI.gone R-DEL-3.not-found",
        misdeeds.keeps_ghosts("get_instance"),
        LATER,
    ),
    Broken(
        "fetches what is not yet there",
        "R-GETI.in-progress",
        does("get_instance", misdeeds.tells(PROVISION)),
        LATER,
    ),
    Broken(
        "fetches what is being updated",
        "R-GETI.updating",
        does("get_instance", misdeeds.tells(UPDATE)),
        LATER,
    ),
]

UPDATES = [
    Broken("updates are created", "R-UPD-1.applied", does("update", misdeeds.creates_updates)),
    Broken(
        "an update tells a dashboard of its own kind",
        "R-UPD-1.body",
        tells(to(UPDATE, status=200), dashboard_url={}),
    ),
    Broken("refuses an update in vain", "R-UPD-1.no-change", refuses(400, is_in_vain)),
    Broken(
        "a repeated update is done", "R-UPD-1.same-operation", answers(200, misdeeds.repeats(UPDATE)), LATER
    ),
    Broken(
        "a repeated update has another operation",
        "R-UPD-1.same-operation",
        tells(misdeeds.repeats(UPDATE), operation="another"),
        LATER,
    ),
    Broken("updates nothing", "R-UPD-1.stored", does("change", lambda *_: None)),
    Broken(
        "moves to another plan by itself", "R-UPD-2.plan-unchanged", does("change", misdeeds.moves_anyway)
    ),
    Broken(
        "loses parameters with a plan",
        "R-UPD-2.parameters-unchanged",
        does("change", misdeeds.loses_parameters),
    ),
    Broken(
        "moves from any plan", "R-UPD-3.not-updateable", does("update", misdeeds.moves_from_any_plan), PLAIN
    ),
    Broken(
        "moving from a plan is 400",
        "R-UPD-3.not-updateable",
        answers(400, to(UPDATE, word="PlanNotUpdateable")),
        PLAIN,
    ),
    Broken(
        "moves to no plan",
        "R-UPD-3.unknown-plan",
        takes(UPDATE, lambda told: told == misdeeds.NOBODY, plan_id="now-id"),
    ),
    Broken(
        "moves to plans of other offerings",
        "R-UPD-3.unknown-plan",
        takes(UPDATE, lambda told: told == "app-id", plan_id="now-id"),
    ),
    Broken(
        "loses parameters with a context",
        "R-UPD-2.parameters-unchanged",
        does("update", misdeeds.changes_with_a_context(lambda thing: thing.parameters.clear())),
    ),
    Broken(
        "moves to another plan with a context",
        "R-UPD-2.plan-unchanged",
        does(
            "update",
            misdeeds.changes_with_a_context(lambda thing: thing.attributes.update(plan_id="later-id")),
        ),
    ),
    Broken(
        "refuses contexts",
        "R-UPD-4.context",
        refuses(
            400,
            lambda asked: (
                asked.operation is UPDATE
                and set(asked.body) <= {"service_id", "context", "previous_values"}
                and "context" in asked.body
            ),
        ),
    ),
    Broken("an update is 202 to who cannot poll", "R-UPD-5.async-required", polls_for(UPDATE), LATER),
    Broken("an update ignores versions", "R-UPD-5.conflict", ignores("maintenance_info", of=UPDATE)),
    Broken(
        "an update ignores its schema",
        "R-UPD-5.schema",
        ignores("parameters", of=UPDATE, unless=misdeeds.fits_or_is_none),
    ),
    Broken("an update needs no offering", "R-UPD-5.required", takes(UPDATE, service_id="db-id")),
    Broken(
        "updates twice at a time",
        "R-UPD-5.concurrency",
        does("update", misdeeds.updates_what_is_busy(UPDATE)),
        LATER,
    ),
    Broken(
        "updates what is not yet there",
        "R-UPD-5.while-created",
        does("update", misdeeds.updates_what_is_busy(PROVISION)),
        LATER,
    ),
    Broken(
        "updates what is being deleted",
        "R-UPD-5.while-deleted",
        while_deleted(does("update", misdeeds.updates_what_is_busy(DEPROVISION))),
        LATER,
    ),
    Broken("updates what is nowhere", "R-UPD-5.unknown", answers(200, to(UPDATE, word="NotFound"))),
    Broken(
        "polls of an update need the new plan",
        "R-UPD-6.previous-plan",
        does("last_operation", misdeeds.needs_the_new_plan),
        LATER,
    ),
]
