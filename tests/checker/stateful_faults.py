"""What broken brokers do with what they remember, and faults that need more than a line."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Event
from typing import Any

from brokerkit.requests import Operation

from .faults import Fault, Which, answers, does, reads, several
from .messages import Answer, Asked, Refused, Thing, Work
from .reference_broker import RightBroker

NOBODY = "brokerkit-check-unknown-id"
FOR_COMPANY = 0.5
"""How many seconds a broker that races waits for another request for the same id."""

Serve = Callable[[Asked], Answer]
Do = Callable[[RightBroker, Serve, Asked], Answer]


def fits(parameters: object) -> bool:
    """Do they fit the schema of all plans?"""
    return (
        isinstance(parameters, dict)
        and set(parameters) <= {"size"}
        and parameters.get("size") in (*range(1, 10), None)
    )


def fits_or_is_none(parameters: object) -> bool:
    """Do they fit the schema of all plans, or are they no parameters at all?"""
    return fits(parameters) or not isinstance(parameters, dict)


def repeats(operation: Operation) -> Which:
    """A 202 to a request that began nothing, as that was under way."""
    known: set[Any] = set()

    def which(asked: Asked, answer: Answer) -> bool:
        if asked.operation is not operation or answer.status != 202:
            return False
        name = answer.body["operation"]
        first = name not in known
        known.add(name)
        return not first

    return which


def takes_for_true(operation: Operation, word: str) -> Fault:
    """A word that does not say that a platform can poll."""

    def read(asked: Asked) -> None:
        if asked.operation is operation and asked.query.get("accepts_incomplete") == word:
            asked.query["accepts_incomplete"] = "true"

    return reads(read)


def has_in_id(sign: str, operation: Operation) -> Callable[[Asked], bool]:
    return lambda asked: asked.operation is operation and sign in f"{asked.instance_id}{asked.binding_id}"


def decodes_ids(instead: str, of: str) -> Fault:
    """Once more than they were encoded."""

    def read(asked: Asked) -> None:
        asked.instance_id = asked.instance_id.replace(of, instead)
        asked.binding_id = asked.binding_id and asked.binding_id.replace(of, instead)

    return reads(read)


def takes_capitals_for_small(name: str) -> Callable[[Asked], None]:
    return lambda asked: setattr(asked, name, (getattr(asked, name) or "").lower() or None)


def finds_it_anywhere(broker: RightBroker, right: Serve, asked: Asked) -> Answer:
    """A binding, of whatever instance."""
    for instance_id, binding_id in broker.things:
        if binding_id == asked.binding_id:
            asked.instance_id = instance_id
    return right(asked)


# Making


def makes_what_it_refuses(broker: RightBroker, provision: Serve, asked: Asked) -> Answer:
    try:
        return provision(asked)
    except Refused as error:
        if error.status == 400:
            broker.things.setdefault(asked.key, Thing({"plan_id": "now-id"}, {}))
        raise


def binds_what_it_refuses(broker: RightBroker, bind: Serve, asked: Asked) -> Answer:
    try:
        return bind(asked)
    except Refused as error:
        if error.status == 400:
            broker.things.setdefault(asked.key, Thing({"plan_id": "now-id"}, {}))
        raise


def fails_to_delete_what_it_refused(broker: RightBroker) -> None:
    refused: set[Any] = set()

    def after(asked: Asked, answer: Answer) -> None:
        if asked.operation is Operation.PROVISION and answer.status == 400:
            refused.add(asked.key)

    def which(asked: Asked, answer: Answer) -> bool:
        return asked.operation is Operation.DEPROVISION and asked.key in refused

    broker.after.append(after)
    answers(500, which)(broker)


def keeps_orphans(broker: RightBroker) -> None:
    """Never deletes what was ordered by who can poll, and did not say in which version."""
    kept: set[Any] = set()
    came = Condition()

    def before(asked: Asked) -> None:
        if asked.operation is not Operation.DEPROVISION:
            return
        with came:
            if asked.key not in broker.things:
                came.wait_for(lambda: asked.key in kept, FOR_COMPANY / 5)  # its provision is on its way
            if asked.key in kept:
                raise Refused(422, "ConcurrencyError")

    def after(asked: Asked, answer: Answer) -> None:
        is_made = asked.operation is Operation.PROVISION and answer.status == 201
        if is_made and asked.can_poll and "maintenance_info" not in asked.body:
            with came:
                kept.add(asked.key)
                came.notify_all()

    broker.before.append(before)
    broker.after.append(after)


def races(operation: Operation) -> Fault:
    """Looks if it is there, and makes it a while later; with a provision that is if it names a version."""

    def fault(broker: RightBroker) -> None:
        came = Condition()
        count: dict[Any, int] = {}

        def before(asked: Asked) -> None:
            right = asked.operation is operation and fits(asked.body.get("parameters", {}))
            right = right and (operation is Operation.BIND or "maintenance_info" in asked.body)
            if right and asked.body.get("plan_id") == "now-id" and asked.key not in broker.things:
                with came:
                    count[asked.key] = count.get(asked.key, 0) + 1
                    came.notify_all()
                    came.wait_for(lambda: count[asked.key] > 1, FOR_COMPANY)
                asked.headers["saw-nothing"] = "1"

        serve = broker.serve

        def blindly(asked: Asked) -> Answer:
            if "saw-nothing" in asked.headers:
                broker.things.pop(asked.key, None)
            return serve(asked)

        broker.before.append(before)
        broker.serve = blindly  # type: ignore[method-assign]

    return fault


def takes_for_the_same(
    name: str, *, of: Operation = Operation.PROVISION, busy: bool = False
) -> Callable[..., Answer]:
    """Another plan, or other parameters; or only while it is busy."""

    def again(
        broker: RightBroker, right: Callable[[Asked, Thing], Answer], asked: Asked, thing: Thing
    ) -> Answer:
        has_plan = asked.body["plan_id"] == thing.attributes["plan_id"]
        if asked.operation is of and has_plan is (name == "parameters") and not (busy and thing.busy is None):
            is_now = {"plan_id": thing.attributes["plan_id"], "parameters": thing.attributes["given"]}
            asked.body = {**asked.body, **is_now}
        return right(asked, thing)

    return again


def hides_the_predecessor(
    broker: RightBroker, succeed: Callable[[Thing, Thing], None], thing: Thing, predecessor: Thing
) -> None:
    succeed(thing, predecessor)
    predecessor.ready = False


def binds_what_is_busy(operation: Operation) -> Do:
    """Though its instance is being made, or changed."""

    def bind(broker: RightBroker, right: Serve, asked: Asked) -> Answer:
        instance = broker.things.get((asked.instance_id, None))
        if instance is not None and instance.busy is not None and instance.busy.asked is operation:
            return Answer(201, {"credentials": {}})
        return right(asked)

    return bind


# Changing


def applies_what_it_refuses(broker: RightBroker, update: Serve, asked: Asked) -> Answer:
    try:
        return update(asked)
    except Refused:
        thing = broker.things.get(asked.key)
        if thing is not None:
            thing.parameters = {"size": 9}
        raise


def creates_updates(broker: RightBroker, update: Serve, asked: Asked) -> Answer:
    thing = broker.things.get(asked.key)
    before = (thing.attributes, thing.parameters) if thing is not None else None
    answer = update(asked)
    if thing is not None and before != (thing.attributes, thing.parameters):
        answer.status = 201
    return answer


def changes_with_a_context(change: Callable[[Thing], Any]) -> Do:
    """Something else."""

    def update(broker: RightBroker, right: Serve, asked: Asked) -> Answer:
        answer = right(asked)
        if answer.status == 200 and "context" in asked.body and "parameters" not in asked.body:
            change(broker.things[asked.key])
        return answer

    return update


Change = Callable[[Thing, str, dict[str, Any]], None]


def moves_anyway(
    broker: RightBroker, change: Change, thing: Thing, plan_id: str, parameters: dict[str, Any]
) -> None:
    change(thing, "later-id" if plan_id == thing.attributes["plan_id"] else plan_id, parameters)


def loses_parameters(
    broker: RightBroker, change: Change, thing: Thing, plan_id: str, parameters: dict[str, Any]
) -> None:
    change(thing, plan_id, parameters if plan_id == thing.attributes["plan_id"] else {})


def moves_from_any_plan(broker: RightBroker, update: Serve, asked: Asked) -> Answer:
    plan = broker.plan("plain-id")
    plan["plan_updateable"] = True
    try:
        return update(asked)
    finally:
        plan["plan_updateable"] = False


def updates_what_is_busy(operation: Operation) -> Do:
    """Though it is being made, or changed otherwise."""

    def update(broker: RightBroker, right: Serve, asked: Asked) -> Answer:
        thing = broker.things.get(asked.key)
        busy = thing.busy if thing is not None else None
        if busy is not None and busy.asked is operation and busy.body != asked.body:
            return Answer(200, {})
        return right(asked)

    return update


# Telling


def keeps_ghosts(fetch: str) -> Fault:
    """Tells of what was there once."""
    ghosts: dict[Any, Thing] = {}

    def drop(broker: RightBroker, right: Callable[[Asked], None], asked: Asked) -> None:
        if asked.key in broker.things:
            ghosts[asked.key] = broker.things[asked.key]
        right(asked)

    def tell(broker: RightBroker, right: Serve, asked: Asked) -> Answer:
        return Answer(200, {}) if asked.key in ghosts and asked.key not in broker.things else right(asked)

    return several(does("drop", drop), does(fetch, tell))


def tells(operation: Operation) -> Do:
    """Of what is busy with this operation."""

    def fetch(broker: RightBroker, right: Serve, asked: Asked) -> Answer:
        thing = broker.things.get(asked.key)
        if thing is None or thing.busy is None or thing.busy.asked is not operation:
            return right(asked)
        return Answer(200, {})

    return fetch


def forgets_everything(broker: RightBroker, serve: Serve, asked: Asked) -> Answer:
    broker.things.clear()
    return serve(asked)


# Polling


def of_works(*operations: Operation, state: str | None = None) -> Which:
    """Polls of operations of some kinds, which the broker's names tell."""

    def which(asked: Asked, answer: Answer) -> bool:
        kind = asked.query.get("operation", "").partition("-")[0]
        polled = asked.operation in (Operation.LAST_OPERATION, Operation.LAST_BINDING_OPERATION)
        return (
            polled and kind in operations and answer.status == 200 and state in (None, answer.body["state"])
        )

    return which


def needs_the_new_plan(broker: RightBroker, poll: Serve, asked: Asked) -> Answer:
    answer = poll(asked)
    work = broker.works[asked.key].get(asked.query.get("operation", ""))
    is_a_move = work is not None and work.asked is Operation.UPDATE and "plan_id" in work.body
    if work is not None and is_a_move and asked.query.get("plan_id") != work.body["plan_id"]:
        raise Refused(400, "UnknownOperation")
    return answer


def forgets_outcomes(of: Operation) -> Which:
    """Polls that come after one was told of the end."""
    told: set[str] = set()

    def which(asked: Asked, answer: Answer) -> bool:
        name = asked.query.get("operation", "")
        is_known = name in told
        is_a_poll = asked.operation is of and answer.status == 200
        if is_a_poll and answer.body["state"] != "in progress":
            told.add(name)
        return is_known and asked.operation is of

    return which


def takes_any_operation(of: Operation) -> Callable[[Asked], None]:
    def read(asked: Asked) -> None:
        if asked.operation is of and asked.query.get("operation", "").startswith("brokerkit"):
            del asked.query["operation"]

    return read


def polls_anything(broker: RightBroker, poll: Serve, asked: Asked) -> Answer:
    """By the name of the operation alone."""
    name = asked.query.get("operation")
    for key, works in broker.works.items():
        if name in works:
            asked.instance_id, asked.binding_id = key
    return poll(asked)


def never_ends(broker: RightBroker, end: Callable[[Work], None], work: Work) -> None:
    if work.asked is not Operation.PROVISION:
        end(work)


# Deleting


def drops_all(broker: RightBroker, drop: Callable[[Asked], None], asked: Asked) -> None:
    """All bindings of the instance."""
    for key in [key for key in broker.things if key[0] == asked.instance_id and key[1] and asked.binding_id]:
        del broker.things[key]
    drop(asked)


def drops_successors(broker: RightBroker) -> None:
    """What came from a binding goes with it."""
    successors: dict[int, Thing] = {}

    def succeed(
        broker: RightBroker, right: Callable[[Thing, Thing], None], thing: Thing, predecessor: Thing
    ) -> None:
        right(thing, predecessor)
        successors[id(predecessor)] = thing

    def drop(broker: RightBroker, right: Callable[[Asked], None], asked: Asked) -> None:
        successor = successors.get(id(broker.things.get(asked.key)))
        for key in [key for key, each in broker.things.items() if each is successor]:
            del broker.things[key]
        right(asked)

    several(does("succeed", succeed), does("drop", drop))(broker)


def refuses_to_halt(operation: Operation, status: int, word: str) -> Fault:
    """What is being made is not deleted; it goes on by itself."""

    def delete(
        broker: RightBroker, right: Callable[[Asked, Thing], Answer], asked: Asked, thing: Thing
    ) -> Answer:
        work = thing.busy
        if asked.operation is operation and work is not None and work.asked is not operation:
            work.left -= 1
            if work.left < 0:
                broker.end(work)
            raise Refused(status, word)
        return right(asked, thing)

    return does("delete", delete)


def halts_nothing(operation: Operation) -> Fault:
    """What was deleted while it was being made is there in the end."""

    def drop(broker: RightBroker, right: Callable[[Asked], None], asked: Asked) -> None:
        thing = broker.things.get(asked.key)
        if thing is not None and asked.operation is operation and not thing.ready:
            thing.ready, thing.work = True, None
        else:
            right(asked)

    return does("drop", drop)


def leaves_failures(broker: RightBroker, deprovision: Serve, asked: Asked) -> Answer:
    thing = broker.things.get(asked.key)
    if thing is not None and thing.busy is None:
        raise Refused(500, "NothingToDelete")
    return deprovision(asked)


def never_answers(which: Which, seconds: float) -> Fault:
    """Not to who cannot poll, and not for a while."""

    def after(asked: Asked, answer: Answer) -> None:
        if which(asked, answer) and not asked.can_poll:
            Event().wait(seconds)

    return lambda broker: broker.after.append(after)
