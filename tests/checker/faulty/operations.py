"""Brokers with faults in deletions and polls."""

from __future__ import annotations

from .. import stateful_faults as stateful_faults
from ..faults import (
    body,
    changes_catalog,
    changes_requests,
    combine,
    headers,
    overrides,
    replaces,
    responds_with,
    responses_to,
    with_fields,
)
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
    FaultyBroker,
    polls_for,
)

DELETES = [
    faulty_broker
    for operation, what, rules, now, later in (
        (UNBIND, "an unbind", "R-UNB", NOW, LATER),
        (DEPROVISION, "a deprovision", "R-DEL", PLAIN, SLOW),
    )
    for faulty_broker in (
        FaultyBroker(
            f"returns 201 to {what}",
            f"{rules}-1.deleted",
            responds_with(201, responses_to(operation, status=200)),
            now,
        ),
        FaultyBroker(
            f"returns a number as operation of {what}",
            f"{rules}-1.operation",
            with_fields(responses_to(operation, status=202), operation=7),
            later,
        ),
        FaultyBroker(
            f"returns no operation to {what}",
            f"{rules}-4.operation-present",
            with_fields(responses_to(operation, status=202), operation=None),
            later,
        ),
        FaultyBroker(
            f"returns 410 to a repetition of {what}",
            f"{rules}-1.same-operation",
            responds_with(410, stateful_faults.repeats(operation)),
            later,
        ),
        FaultyBroker(
            f"returns another operation to a repetition of {what}",
            f"{rules}-1.same-operation",
            with_fields(stateful_faults.repeats(operation), operation="another"),
            later,
        ),
        FaultyBroker(
            f"accepts {what} without an offering",
            f"{rules}-2.required",
            replaces(operation, service_id="db-id"),
        ),
        FaultyBroker(
            f"accepts {what} without a plan", f"{rules}-2.required", replaces(operation, plan_id="now-id")
        ),
        FaultyBroker(
            f"returns 202 to {what} without polling", f"{rules}-2.async-required", polls_for(operation), later
        ),
        FaultyBroker(
            f"rejects {what} during the creation",
            f"{rules}-3.while-created",
            stateful_faults.refuses_to_halt(operation, 409, "NotYet"),
            later,
        ),
        FaultyBroker(
            f"does not cancel the creation on {what}",
            f"{rules}-3.cancelled",
            stateful_faults.halts_nothing(operation),
            later,
        ),
    )
]

OTHER_DELETES = [
    FaultyBroker(
        "returns 404 for a deleted binding",
        "R-UNB-1.gone R-UNB-1.unknown R-UNB-1.instance-gone",
        combine(
            responds_with(404, responses_to(UNBIND, word="Gone")),
            with_fields(responses_to(UNBIND, word="Gone"), description="gone"),
        ),
    ),
    FaultyBroker(
        "unbinds under any instance",
        "R-UNB-1.unknown",
        overrides("unbind", stateful_faults.finds_it_anywhere),
    ),
    FaultyBroker(
        "deletes all bindings on an unbind",
        "R-UNB-1.others-unaffected",
        overrides("remove", stateful_faults.drops_all),
        LATER,
    ),
    FaultyBroker(
        "deletes successors on an unbind", "R-UNB-1.others-unaffected", stateful_faults.drops_successors
    ),
    FaultyBroker(
        "returns 200 for a deleted instance",
        "R-DEL-1.gone R-DEL-1.unknown",
        responds_with(200, responses_to(DEPROVISION, word="Gone")),
    ),
    FaultyBroker(
        "returns 404 for a deleted instance of an asynchronous plan",
        "R-DEL-1.gone R-DEL-1.unknown",
        responds_with(404, responses_to(DEPROVISION, word="Gone")),
        LATER,
    ),
    FaultyBroker(
        "deletes nothing",
        "R-DEL-1.gone R-UNB-1.gone R-UNB-1.instance-gone R-GETI.gone R-GETB.gone",
        overrides("remove", lambda *_: None),
    ),
    FaultyBroker(
        "does not respond to an unbind",
        "R-UNB-1.deleted",
        stateful_faults.never_answers(responses_to(UNBIND, status=200), 2.5),
        options={"timeout": 2.0},
    ),
    FaultyBroker(
        "does not delete an instance whose provision failed",
        "R-DEL-5.after-failure",
        overrides("deprovision", stateful_faults.leaves_failures),
        DOOMED,
    ),
    FaultyBroker(
        "loses all resources between requests",
        "R-PROV-3.again R-PROV-3.concurrent R-PROV-5.other-parameters R-PROV-5.other-plan R-GETI.available"
        " R-UPD-1.no-change R-UPD-4.context R-UPD-5.schema R-UPD-5.conflict R-DEL-1.deleted"
        " R-REQ.special-ids",
        overrides("serve", stateful_faults.forgets_everything),
    ),
]

POLLS = [
    FaultyBroker(
        "returns 201 to a poll",
        "R-LAST-1.polled",
        responds_with(201, stateful_faults.polls_of(PROVISION)),
        LATER,
    ),
    FaultyBroker(
        "returns a number as description of a poll",
        "R-LAST-1.body",
        with_fields(responses_to(POLL, status=200), description=7),
        LATER,
    ),
    *(
        FaultyBroker(
            f"returns {name} in polls of {what}",
            "R-LAST-1.usable",
            with_fields(which, **{name: True}),
            LATER,
        )
        for name, what, which in (
            ("instance_usable", "bindings", responses_to(POLL_BINDING, status=200)),
            ("update_repeatable", "provisions", stateful_faults.polls_of(PROVISION)),
        )
    ),
    FaultyBroker(
        "returns an unknown state",
        "R-LAST-1.body",
        with_fields(stateful_faults.polls_of(PROVISION), state="done"),
        LATER,
    ),
    FaultyBroker(
        "exceeds maximum_polling_duration",
        "R-LAST-1.ends",
        combine(
            changes_catalog(lambda _, plan: plan.update(maximum_polling_duration=1), plan=1),
            overrides("end", stateful_faults.never_ends),
            headers(responses_to(POLL), Retry_After=None),
        ),
        LATER,
    ),
    FaultyBroker(
        "returns a date as Retry-After",
        "R-LAST-2.retry-after",
        headers(responses_to(POLL), Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
        LATER,
    ),
    FaultyBroker(
        "returns succeeded for an unknown instance",
        "R-LAST-3.unknown",
        combine(
            responds_with(200, responses_to(POLL, word="NotFound")),
            body(responses_to(POLL, word="NotFound"), {"state": "succeeded"}),
        ),
    ),
    FaultyBroker(
        "returns 410 to polls of an unknown binding",
        "R-LAST-3.unknown",
        responds_with(410, responses_to(POLL_BINDING, word="NotFound")),
    ),
    FaultyBroker(
        "returns 404 to polls of a deletion",
        "R-LAST-3.deletion",
        responds_with(404, stateful_faults.polls_of(DEPROVISION, state="succeeded")),
        LATER,
    ),
    *(
        faulty_broker
        for of, what in ((POLL, "an instance"), (POLL_BINDING, "a binding"))
        for faulty_broker in (
            FaultyBroker(
                f"accepts any operation in polls of {what}",
                "R-LAST-4.unknown-operation",
                changes_requests(stateful_faults.takes_any_operation(of)),
                LATER,
            ),
            FaultyBroker(
                f"forgets the outcome of operations on {what}",
                "R-LAST-5.repeated",
                responds_with(404, stateful_faults.forgets_outcomes(of)),
                LATER,
            ),
        )
    ),
    FaultyBroker(
        "accepts operations of other resources in polls",
        "R-LAST-4.own-operation",
        overrides("last_operation", stateful_faults.polls_anything),
        LATER,
    ),
    FaultyBroker(
        "returns credentials in polls of bindings",
        "R-LAST-1.no-credentials",
        with_fields(responses_to(POLL_BINDING, status=200), credentials={"uri": "db://"}),
        LATER,
    ),
]
