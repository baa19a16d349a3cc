"""Brokers with faults in creating and fetching service bindings."""

from __future__ import annotations

from .. import stateful_faults as stateful_faults
from ..faults import (
    changes_catalog,
    ignores,
    overrides,
    rejects,
    replaces,
    responds_with,
    responses_to,
    with_fields,
)
from .faulty import (
    APP,
    BIND,
    DEPROVISION,
    GET_BINDING,
    LATER,
    PLAIN,
    PROVISION,
    UPDATE,
    FaultyBroker,
    has_field,
    polls_for,
    while_deleted,
)

BINDS = [
    FaultyBroker(
        "returns 200 to every bind",
        "R-BIND-1.created R-BIND-6.rotation",
        responds_with(200, responses_to(BIND, status=201)),
    ),
    FaultyBroker(
        "returns a string as credentials",
        "R-BIND-1.body",
        with_fields(responses_to(BIND, GET_BINDING), credentials="secret"),
    ),
    FaultyBroker(
        "returns credentials in a 202",
        "R-BIND-1.empty-202",
        with_fields(responses_to(BIND, status=202), credentials={"uri": "db://"}),
        LATER,
    ),
    FaultyBroker(
        "returns an endpoint in a 202",
        "R-BIND-1.empty-202",
        with_fields(responses_to(BIND, status=202), endpoints=[]),
        LATER,
    ),
    FaultyBroker(
        "returns a number as operation of a bind",
        "R-BIND-1.operation",
        with_fields(responses_to(BIND, status=202), operation=7),
        LATER,
    ),
    FaultyBroker(
        "completes a repeated bind early",
        "R-BIND-1.same-operation",
        responds_with(200, stateful_faults.repeats(BIND)),
        LATER,
    ),
    FaultyBroker(
        "returns another operation to a repeated bind",
        "R-BIND-1.same-operation R-BIND-1.concurrent",
        with_fields(stateful_faults.repeats(BIND), operation="another"),
        LATER,
    ),
    FaultyBroker(
        "returns 409 to a repeated bind", "R-BIND-1.again", responds_with(409, responses_to(BIND, status=200))
    ),
    FaultyBroker(
        "creates a second binding on a repeated bind",
        "R-BIND-1.again R-BIND-1.concurrent",
        responds_with(201, responses_to(BIND, status=200)),
    ),
    FaultyBroker(
        "returns other credentials to a repeated bind",
        "R-BIND-1.same-binding",
        with_fields(responses_to(BIND, status=200), credentials={"uri": "new"}),
    ),
    FaultyBroker("creates bindings with a race", "R-BIND-1.concurrent", stateful_faults.races(BIND)),
    FaultyBroker(
        "treats different binds as identical",
        "R-BIND-1.other-attributes",
        overrides("repeat", stateful_faults.takes_for_the_same("parameters", of=BIND)),
    ),
    FaultyBroker(
        "returns a log drain without permission",
        "R-BIND-2.requires",
        with_fields(responses_to(BIND, status=201), syslog_drain_url="syslog://log.example.org"),
    ),
    FaultyBroker(
        "returns an endpoint without ports",
        "R-BIND-3.networks",
        with_fields(responses_to(BIND, status=201), endpoints=[{"host": "db.example.org"}]),
    ),
    FaultyBroker(
        "returns a date as expiry",
        "R-BIND-4.times",
        with_fields(responses_to(BIND, status=201), metadata={"expires_at": "2999-01-01"}),
    ),
    FaultyBroker(
        "returns an expiry before the renewal",
        "R-BIND-4.times",
        with_fields(
            responses_to(BIND, status=201),
            metadata={"expires_at": "2999-01-01T00:00:00.0Z", "renew_before": "2999-01-02T00:00:00.0Z"},
        ),
    ),
    FaultyBroker("returns 202 to a bind without polling", "R-BIND-5.refusals", polls_for(BIND), LATER),
    FaultyBroker(
        "binds a plan that is not bindable",
        "R-BIND-5.not-bindable",
        responds_with(201, responses_to(BIND, word="NotBindable")),
        PLAIN,
    ),
    FaultyBroker(
        "returns 400 to a bind of an unknown instance",
        "R-BIND-5.unknown-instance",
        responds_with(400, responses_to(BIND, word="NotFound")),
    ),
    FaultyBroker(
        "binds an instance during its creation",
        "R-BIND-5.while-created",
        overrides("bind", stateful_faults.binds_what_is_busy(PROVISION)),
        LATER,
    ),
    FaultyBroker(
        "binds an instance during its update",
        "R-BIND-5.while-updated",
        overrides("bind", stateful_faults.binds_what_is_busy(UPDATE)),
        LATER,
    ),
    FaultyBroker("accepts a bind without a plan", "R-BIND.required", replaces(BIND, plan_id="now-id")),
    FaultyBroker(
        "accepts a bind with an unknown plan",
        "R-BIND.unknown-plan",
        replaces(BIND, lambda value: value == stateful_faults.UNKNOWN_ID, plan_id="now-id"),
    ),
    FaultyBroker(
        "accepts a bind with a plan of another offering",
        "R-BIND.unknown-plan",
        replaces(BIND, lambda value: value == "app-id", plan_id="now-id"),
    ),
    FaultyBroker(
        "binds an instance during its deletion",
        "R-BIND-5.while-deleted",
        while_deleted(overrides("bind", stateful_faults.binds_what_is_busy(DEPROVISION))),
        LATER,
    ),
    FaultyBroker(
        "ignores the schema for binds",
        "R-BIND.schema",
        ignores("parameters", of=BIND, unless=stateful_faults.fits_or_is_none),
    ),
    FaultyBroker(
        "rejects successors", "R-BIND-6.rotation", rejects(400, has_field("predecessor_binding_id"))
    ),
    FaultyBroker(
        "ignores predecessors",
        "R-BIND-6.unknown-predecessor R-BIND-6.parameters",
        ignores("predecessor_binding_id", of=BIND),
    ),
    FaultyBroker(
        "deletes a predecessor on rotation",
        "R-BIND-6.both-valid",
        overrides("inherit", stateful_faults.hides_the_predecessor),
    ),
    FaultyBroker(
        "does not inherit the parameters of a predecessor",
        "R-BIND-6.parameters",
        overrides("inherit", lambda *_: None),
    ),
    FaultyBroker(
        "returns RequiresApp with 400",
        "R-ERR-3.error-codes",
        responds_with(400, responses_to(BIND, word="RequiresApp")),
        APP,
    ),
]

BINDINGS = [
    FaultyBroker(
        "bindings cannot be fetched",
        "R-GETB.available",
        responds_with(404, responses_to(GET_BINDING, status=200)),
        LATER,
    ),
    FaultyBroker(
        "returns other credentials to a fetch",
        "R-GETB.same",
        with_fields(responses_to(GET_BINDING, status=200), credentials={"uri": "new"}),
    ),
    FaultyBroker(
        "returns other parameters to a binding fetch",
        "R-GETB.parameters",
        with_fields(responses_to(GET_BINDING, status=200), parameters={"size": 9}),
        LATER,
    ),
    FaultyBroker(
        "returns 410 for an unknown binding",
        "R-GETB.unknown R-GETB.gone",
        responds_with(410, responses_to(GET_BINDING, status=404)),
    ),
    FaultyBroker(
        "returns bindings of other instances",
        "R-GETB.unknown",
        overrides("get_binding", stateful_faults.finds_it_anywhere),
    ),
    FaultyBroker("returns deleted bindings", "R-GETB.gone", stateful_faults.keeps_ghosts("get_binding")),
    FaultyBroker(
        "returns cancelled bindings",
        "R-GETB.gone R-UNB-3.not-found",
        stateful_faults.keeps_ghosts("get_binding"),
        LATER,
    ),
    FaultyBroker(
        "returns bindings during their creation",
        "R-GETB.in-progress",
        overrides("get_binding", stateful_faults.fetches_while(BIND)),
        LATER,
    ),
    FaultyBroker(
        "binds asynchronously without retrievable bindings",
        "R-GETB.retrievable",
        changes_catalog(lambda offering, _: offering.update(bindings_retrievable=False)),
        LATER,
    ),
]
