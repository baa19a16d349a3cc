"""What right brokers do with what they remember, in other ways than ours."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition
from typing import Any

from brokerkit.requests import Operation

from .asked_and_answered import Answer, Asked, Refused
from .faults import Fault, does
from .misdeeds import FOR_COMPANY, Serve
from .right_broker import RightBroker


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


def is_through_at_once(broker: RightBroker) -> None:
    """What is in progress is over as soon as anything is asked of its instance, but for its first poll."""
    polls = (Operation.LAST_OPERATION, Operation.LAST_BINDING_OPERATION)

    def end(asked: Asked) -> None:
        for key, works in broker.works.items():
            if key[0] == asked.instance_id and asked.operation not in polls:
                for work in works.values():
                    if work.goes_on:
                        broker.end(work)

    broker.before.append(end)


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
