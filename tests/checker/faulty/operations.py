"""Brokers that are wrong with deletes and polls."""

from __future__ import annotations

from .. import stateful_faults as misdeeds
from ..faults import answers, body, does, headers, offers, reads, several, takes, tells, to
from .faulty import (
    DEPROVISION,
    DOOMED,
    LATER,
    NOW,
    PLAIN,
    POLL,
    POLL_BINDING,
    PROVISION,
    SLOW,
    UNBIND,
    Broken,
    polls_for,
)

DELETES = [
    each
    for operation, what, rules, now, later in (
        (UNBIND, "an unbind", "R-UNB", NOW, LATER),
        (DEPROVISION, "a deprovision", "R-DEL", PLAIN, SLOW),
    )
    for each in (
        Broken(f"{what} is 201", f"{rules}-1.deleted", answers(201, to(operation, status=200)), now),
        Broken(
            f"operations of {what} are numbers",
            f"{rules}-1.operation",
            tells(to(operation, status=202), operation=7),
            later,
        ),
        Broken(
            f"{what} has no operation",
            f"{rules}-4.operation-present",
            tells(to(operation, status=202), operation=None),
            later,
        ),
        Broken(
            f"repeating {what} is 410",
            f"{rules}-1.same-operation",
            answers(410, misdeeds.repeats(operation)),
            later,
        ),
        Broken(
            f"repeating {what} has another operation",
            f"{rules}-1.same-operation",
            tells(misdeeds.repeats(operation), operation="another"),
            later,
        ),
        Broken(f"{what} needs no offering", f"{rules}-2.required", takes(operation, service_id="db-id")),
        Broken(f"{what} needs no plan", f"{rules}-2.required", takes(operation, plan_id="now-id")),
        Broken(f"{what} is 202 to who cannot poll", f"{rules}-2.async-required", polls_for(operation), later),
        Broken(
            f"{what} is refused while it is made",
            f"{rules}-3.while-created",
            misdeeds.refuses_to_halt(operation, 409, "NotYet"),
            later,
        ),
        Broken(
            f"{what} does not halt what is made",
            f"{rules}-3.cancelled",
            misdeeds.halts_nothing(operation),
            later,
        ),
    )
]

OTHER_DELETES = [
    Broken(
        "unbinding what is gone is 404",
        "R-UNB-1.gone R-UNB-1.unknown R-UNB-1.instance-gone",
        several(answers(404, to(UNBIND, word="Gone")), tells(to(UNBIND, word="Gone"), description="gone")),
    ),
    Broken("unbinds at any instance", "R-UNB-1.unknown", does("unbind", misdeeds.finds_it_anywhere)),
    Broken("unbinds all at once", "R-UNB-1.others-unaffected", does("drop", misdeeds.drops_all), LATER),
    Broken("unbinds successors", "R-UNB-1.others-unaffected", misdeeds.drops_successors),
    Broken(
        "deleting what is gone is 200",
        "R-DEL-1.gone R-DEL-1.unknown",
        answers(200, to(DEPROVISION, word="Gone")),
    ),
    Broken(
        "deleting what is gone is 404, while it takes a while",
        "R-DEL-1.gone R-DEL-1.unknown",
        answers(404, to(DEPROVISION, word="Gone")),
        LATER,
    ),
    Broken(
        "deletes nothing",
        "R-DEL-1.gone R-UNB-1.gone R-UNB-1.instance-gone R-GETI.gone R-GETB.gone",
        does("drop", lambda *_: None),
    ),
    Broken(
        "does not answer an unbind",
        "R-UNB-1.deleted",
        misdeeds.never_answers(to(UNBIND, status=200), 2.5),
        options={"timeout": 2.0},
    ),
    Broken(
        "leaves what failed", "R-DEL-5.after-failure", does("deprovision", misdeeds.leaves_failures), DOOMED
    ),
    Broken(
        "forgets everything between requests",
        "R-PROV-3.again R-PROV-3.concurrent R-PROV-5.other-parameters R-PROV-5.other-plan R-GETI.available"
        " R-UPD-1.no-change R-UPD-4.context R-UPD-5.schema R-UPD-5.conflict R-DEL-1.deleted"
        " R-REQ.special-ids",
        does("serve", misdeeds.forgets_everything),
    ),
]

POLLS = [
    Broken("a poll is 201", "R-LAST-1.polled", answers(201, misdeeds.of_works(PROVISION)), LATER),
    Broken(
        "polls are described with numbers", "R-LAST-1.body", tells(to(POLL, status=200), description=7), LATER
    ),
    *(
        Broken(
            f"tells {name} in polls of {what}",
            "R-LAST-1.usable",
            tells(which, **{name: True}),
            LATER,
        )
        for name, what, which in (
            ("instance_usable", "bindings", to(POLL_BINDING, status=200)),
            ("update_repeatable", "provisions", misdeeds.of_works(PROVISION)),
        )
    ),
    Broken(
        "has a state of its own", "R-LAST-1.body", tells(misdeeds.of_works(PROVISION), state="done"), LATER
    ),
    Broken(
        "takes longer than it may",
        "R-LAST-1.ends",
        several(
            offers(lambda _, plan: plan.update(maximum_polling_duration=1), plan=1),
            does("end", misdeeds.never_ends),
            headers(to(POLL), Retry_After=None),
        ),
        LATER,
    ),
    Broken(
        "names a day to poll again",
        "R-LAST-2.retry-after",
        headers(to(POLL), Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
        LATER,
    ),
    Broken(
        "what is nowhere succeeded",
        "R-LAST-3.unknown",
        several(
            answers(200, to(POLL, word="NotFound")), body(to(POLL, word="NotFound"), {"state": "succeeded"})
        ),
    ),
    Broken(
        "polls of no binding are 410", "R-LAST-3.unknown", answers(410, to(POLL_BINDING, word="NotFound"))
    ),
    Broken(
        "polls of a deletion are 404",
        "R-LAST-3.deletion",
        answers(404, misdeeds.of_works(DEPROVISION, state="succeeded")),
        LATER,
    ),
    *(
        each
        for of, what in ((POLL, "an instance"), (POLL_BINDING, "a binding"))
        for each in (
            Broken(
                f"polls {what} for any operation",
                "R-LAST-4.unknown-operation",
                reads(misdeeds.takes_any_operation(of)),
                LATER,
            ),
            Broken(
                f"forgets how it ended with {what}",
                "R-LAST-5.repeated",
                answers(404, misdeeds.forgets_outcomes(of)),
                LATER,
            ),
        )
    ),
    Broken(
        "polls of operations on anything",
        "R-LAST-4.own-operation",
        does("last_operation", misdeeds.polls_anything),
        LATER,
    ),
    Broken(
        "tells credentials in polls of bindings",
        "R-LAST-1.no-credentials",
        tells(to(POLL_BINDING, status=200), credentials={"uri": "db://"}),
        LATER,
    ),
]
