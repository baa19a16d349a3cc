"""Brokers that are wrong with service bindings: how they are made and fetched."""

from __future__ import annotations

from .. import stateful_faults as misdeeds
from ..faults import answers, does, ignores, offers, refuses, takes, tells, to
from .faulty import (
    APP,
    BIND,
    DEPROVISION,
    GET_BINDING,
    LATER,
    PLAIN,
    PROVISION,
    UPDATE,
    Broken,
    has,
    polls_for,
    while_deleted,
)

BINDS = [
    Broken(
        "answers every bind with 200",
        "R-BIND-1.created R-BIND-6.rotation",
        answers(200, to(BIND, status=201)),
    ),
    Broken("has a text for credentials", "R-BIND-1.body", tells(to(BIND, GET_BINDING), credentials="secret")),
    Broken(
        "has credentials in a 202",
        "R-BIND-1.empty-202",
        tells(to(BIND, status=202), credentials={"uri": "db://"}),
        LATER,
    ),
    Broken(
        "has an endpoint in a 202",
        "R-BIND-1.empty-202",
        tells(to(BIND, status=202), endpoints=[]),
        LATER,
    ),
    Broken(
        "names operations of binds with numbers",
        "R-BIND-1.operation",
        tells(to(BIND, status=202), operation=7),
        LATER,
    ),
    Broken("a repeated bind is done", "R-BIND-1.same-operation", answers(200, misdeeds.repeats(BIND)), LATER),
    Broken(
        "a repeated bind has another operation",
        "R-BIND-1.same-operation R-BIND-1.concurrent",
        tells(misdeeds.repeats(BIND), operation="another"),
        LATER,
    ),
    Broken("a repeated bind is 409", "R-BIND-1.again", answers(409, to(BIND, status=200))),
    Broken(
        "a repeated bind makes a second one",
        "R-BIND-1.again R-BIND-1.concurrent",
        answers(201, to(BIND, status=200)),
    ),
    Broken(
        "a repeated bind has other credentials",
        "R-BIND-1.same-binding",
        tells(to(BIND, status=200), credentials={"uri": "new"}),
    ),
    Broken("looks before it binds", "R-BIND-1.concurrent", misdeeds.races(BIND)),
    Broken(
        "takes other binds for the same",
        "R-BIND-1.other-attributes",
        does("again", misdeeds.takes_for_the_same("parameters", of=BIND)),
    ),
    Broken(
        "has drains without permission",
        "R-BIND-2.requires",
        tells(to(BIND, status=201), syslog_drain_url="syslog://log.example.org"),
    ),
    Broken(
        "has an endpoint without ports",
        "R-BIND-3.networks",
        tells(to(BIND, status=201), endpoints=[{"host": "db.example.org"}]),
    ),
    Broken(
        "expires on a day",
        "R-BIND-4.times",
        tells(to(BIND, status=201), metadata={"expires_at": "2999-01-01"}),
    ),
    Broken(
        "expires before it is to be renewed",
        "R-BIND-4.times",
        tells(
            to(BIND, status=201),
            metadata={"expires_at": "2999-01-01T00:00:00.0Z", "renew_before": "2999-01-02T00:00:00.0Z"},
        ),
    ),
    Broken("a bind is 202 to who cannot poll", "R-BIND-5.refusals", polls_for(BIND), LATER),
    Broken(
        "binds what is not bindable",
        "R-BIND-5.not-bindable",
        answers(201, to(BIND, word="NotBindable")),
        PLAIN,
    ),
    Broken(
        "a bind of no instance is 400", "R-BIND-5.unknown-instance", answers(400, to(BIND, word="NotFound"))
    ),
    Broken(
        "binds what is not yet there",
        "R-BIND-5.while-created",
        does("bind", misdeeds.binds_what_is_busy(PROVISION)),
        LATER,
    ),
    Broken(
        "binds what is being updated",
        "R-BIND-5.while-updated",
        does("bind", misdeeds.binds_what_is_busy(UPDATE)),
        LATER,
    ),
    Broken("a bind needs no plan", "R-BIND.required", takes(BIND, plan_id="now-id")),
    Broken(
        "a bind ignores unknown plans",
        "R-BIND.unknown-plan",
        takes(BIND, lambda told: told == misdeeds.NOBODY, plan_id="now-id"),
    ),
    Broken(
        "binds plans of other offerings",
        "R-BIND.unknown-plan",
        takes(BIND, lambda told: told == "app-id", plan_id="now-id"),
    ),
    Broken(
        "binds what is being deleted",
        "R-BIND-5.while-deleted",
        while_deleted(does("bind", misdeeds.binds_what_is_busy(DEPROVISION))),
        LATER,
    ),
    Broken(
        "a bind ignores its schema",
        "R-BIND.schema",
        ignores("parameters", of=BIND, unless=misdeeds.fits_or_is_none),
    ),
    Broken("refuses successors", "R-BIND-6.rotation", refuses(400, has("predecessor_binding_id"))),
    Broken(
        "ignores predecessors",
        "R-BIND-6.unknown-predecessor R-BIND-6.parameters",
        ignores("predecessor_binding_id", of=BIND),
    ),
    Broken(
        "a successor ends its predecessor",
        "R-BIND-6.both-valid",
        does("succeed", misdeeds.hides_the_predecessor),
    ),
    Broken("a successor has no parameters", "R-BIND-6.parameters", does("succeed", lambda *_: None)),
    Broken(
        "needs an application, and says so with 400",
        "R-ERR-3.error-codes",
        answers(400, to(BIND, word="RequiresApp")),
        APP,
    ),
]

BINDINGS = [
    Broken(
        "bindings cannot be fetched", "R-GETB.available", answers(404, to(GET_BINDING, status=200)), LATER
    ),
    Broken(
        "fetches other credentials",
        "R-GETB.same",
        tells(to(GET_BINDING, status=200), credentials={"uri": "new"}),
    ),
    Broken(
        "fetches other parameters of a binding",
        "R-GETB.parameters",
        tells(to(GET_BINDING, status=200), parameters={"size": 9}),
        LATER,
    ),
    Broken(
        "a binding that is none is 410",
        "R-GETB.unknown R-GETB.gone",
        answers(410, to(GET_BINDING, status=404)),
    ),
    Broken(
        "fetches bindings of any instance",
        "R-GETB.unknown",
        does("get_binding", misdeeds.finds_it_anywhere),
    ),
    Broken("fetches bindings that were deleted", "R-GETB.gone", misdeeds.keeps_ghosts("get_binding")),
    Broken(
        "fetches bindings that were halted",
        "R-GETB.gone R-UNB-3.not-found",
        misdeeds.keeps_ghosts("get_binding"),
        LATER,
    ),
    Broken(
        "fetches bindings that are not yet there",
        "R-GETB.in-progress",
        does("get_binding", misdeeds.tells(BIND)),
        LATER,
    ),
    Broken(
        "binds in a while, and cannot be asked for it",
        "R-GETB.retrievable",
        offers(lambda offering, _: offering.update(bindings_retrievable=False)),
        LATER,
    ),
]
