"""What right brokers do with what they remember, in other ways than ours."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from threading import Condition
from typing import Any

from brokerkit.requests import Operation

from .faults import Fault, does, reads
from .faulty.faulty import LOGIN
from .messages import Answer, Asked, Refused, Thing, Work
from .reference_broker import RightBroker
from .stateful_faults import FOR_COMPANY, Serve


def refuses_with_bindings(broker: RightBroker, deprovision: Serve, asked: Asked) -> Answer:
    if any(key[0] == asked.instance_id and key[1] is not None for key in broker.things):
        raise Refused(400, "BindingsLeft")
    return deprovision(asked)


def dislikes_parameters(
    broker: RightBroker,
    check: Callable[..., None],
    plan_id: str,
    asked: dict[str, Any],
    resource: str,
    action: str,
) -> None:
    """Whatever the schema says."""
    if asked.get("parameters") and action == "create":
        raise Refused(400, "BadParameters")
    check(plan_id, asked, resource, action)


def dislikes_parameters_while_busy(broker: RightBroker, update: Serve, asked: Asked) -> Answer:
    thing = broker.things.get(asked.key)
    is_other = thing is not None and thing.busy is not None and thing.busy.body != asked.body
    if is_other and asked.body.get("parameters"):
        raise Refused(400, "BadParameters")
    return update(asked)


def hides_what_is_made(broker: RightBroker) -> None:
    """An instance is none until it is there."""

    def hide(broker: RightBroker, right: Serve, asked: Asked) -> Answer:
        instance = broker.things.get((asked.instance_id, None))
        if instance is not None and not instance.ready:
            raise Refused(404, "NotFound")
        return right(asked)

    does("bind", hide)(broker)
    does("update", hide)(broker)


def is_through_at_once(broker: RightBroker, which: Callable[[Work], bool] = lambda _: True) -> None:
    """What is in progress is over as soon as anything is asked of its instance, but for its first poll."""
    polls = (Operation.LAST_OPERATION, Operation.LAST_BINDING_OPERATION)

    def end(asked: Asked) -> None:
        for key, works in broker.works.items():
            if key[0] == asked.instance_id and asked.operation not in polls:
                for work in works.values():
                    if work.goes_on and which(work):
                        broker.end(work)

    broker.before.append(end)


def makes_at_once(broker: RightBroker) -> None:
    """Only what provisions began is through at once."""
    is_through_at_once(broker, lambda work: work.asked is Operation.PROVISION)


def updates_anew(broker: RightBroker) -> None:
    """Each update is an operation of its own; the first of a kind is through at once."""
    known: list[Any] = []

    def is_quick(work: Work) -> bool:
        return work.asked is Operation.UPDATE and work.quick

    def update(broker: RightBroker, right: Serve, asked: Asked) -> Answer:
        thing = broker.things.get(asked.key)
        answer = right(asked)
        if answer.status == 200 and thing is not None and broker.takes_a_while(_plan_of(thing), asked):
            answer = broker.begin(asked, thing, lambda: None)
        if answer.status == 202 and thing is not None and thing.busy is not None:
            thing.busy.quick = asked.body not in known
            known.append(asked.body)
        return answer

    does("update", update)(broker)
    is_through_at_once(broker, is_quick)


def _plan_of(thing: Thing) -> str:
    return str(thing.attributes["plan_id"])


def has_room_for_one(of: Callable[[Thing], object]) -> Fault:
    """One instance of a kind."""

    def provision(broker: RightBroker, right: Serve, asked: Asked) -> Answer:
        broker.check_plan(asked.body)
        there = [each for key, each in broker.things.items() if key[1] is None and key != asked.key]
        if asked.key not in broker.things and of(Thing(asked.body, {})) in {of(each) for each in there}:
            raise Refused(400, "QuotaExceeded")
        return right(asked)

    return does("provision", provision)


def wants_to_be_asked_slowly(broker: RightBroker) -> None:
    """Refuses every third request, until it comes again."""
    count = iter(range(10**9))
    known: set[str] = set()

    def before(asked: Asked) -> None:
        name = asked.headers["x-broker-api-request-identity"]
        if name not in known:
            known.add(name)
            if next(count) % 3 == 2:
                raise Refused(429, "TooManyRequests", Retry_After="0")

    broker.before.append(before)


def knows_applications(broker: RightBroker) -> None:
    """By their ids, which are UUIDs."""

    def before(asked: Asked) -> None:
        app_guid = asked.body.get("app_guid")
        if isinstance(app_guid, str) and not re.fullmatch(r"[0-9a-f-]{36}", app_guid):
            raise Refused(400, "NoSuchApplication")

    broker.before.append(before)


def changes_other_parameters(offering: dict[str, Any], plan: dict[str, Any]) -> None:
    """Than it is ordered with."""
    of_instances = plan["schemas"]["service_instance"]
    parameters = of_instances["update"]["parameters"]
    levels = {**parameters, "properties": {"level": parameters["properties"]["size"]}}
    told = {**of_instances, "update": {"parameters": levels}}
    plan["schemas"] = {**plan["schemas"], "service_instance": told}


def lets_wait(operation: Operation) -> Fault:
    """Serves one request for an id at a time, and refuses the others."""

    def fault(broker: RightBroker) -> None:
        came = Condition()
        busy: set[Any] = set()
        again: set[Any] = set()

        def before(asked: Asked) -> None:
            if asked.operation is not operation:
                return
            with came:
                if asked.key in busy:
                    again.add(asked.key)
                    came.notify_all()
                    raise Refused(422, "ConcurrencyError")
                busy.add(asked.key)
                if "maintenance_info" in asked.body:
                    came.wait_for(lambda: asked.key in again, FOR_COMPANY)

        def after(asked: Asked, answer: Answer) -> None:
            if asked.operation is operation and answer.word != "ConcurrencyError":
                with came:
                    busy.discard(asked.key)

        broker.before.append(before)
        broker.after.append(after)

    return fault


def is_never_updated(offering: dict[str, Any], plan: dict[str, Any]) -> None:
    offering.pop("allow_context_updates")
    for each in offering["plans"]:
        each["plan_updateable"] = False
        each.pop("schemas", None)


def has_login(username: str, password: str) -> Fault:
    """Another one than it has otherwise."""
    told = f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"

    def read(asked: Asked) -> None:
        if "authorization" in asked.headers:
            asked.headers["authorization"] = LOGIN if asked.headers["authorization"] == told else "Basic x"

    return reads(read)
