"""What can be wrong with a service broker: each fault turns a right one into one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from brokerkit.requests import Operation

from .messages import Answer, Asked, Refused
from .reference_broker import RightBroker

Fault = Callable[[RightBroker], None]
Which = Callable[[Asked, Answer], bool]

# Faults in answers


def to(*operations: Operation, status: int | None = None, word: str | None = None) -> Which:
    """Answers to some operations, or to all; with a status or a word, or with any."""

    def which(asked: Asked, answer: Answer) -> bool:
        if operations and asked.operation not in operations:
            return False
        return status in (None, answer.status) and word in (None, answer.word)

    return which


def _after(which: Which, change: Callable[[Asked, Answer], None]) -> Fault:
    def after(asked: Asked, answer: Answer) -> None:
        if which(asked, answer):
            change(asked, answer)

    return lambda broker: broker.after.append(after)


def answers(status: int, which: Which) -> Fault:
    """Another status; if that is an error's, with a body that fits."""

    def change(asked: Asked, answer: Answer) -> None:
        answer.status = status
        if status >= 400 and not (answer.body or {}).get("description"):
            answer.body = {"error": "Broken", "description": "It is broken"}

    return _after(which, change)


def tells(which: Which, **fields: Any) -> Fault:
    """More in the body; what is None is left out."""

    def change(asked: Asked, answer: Answer) -> None:
        told = {**(answer.body or {}), **fields}
        answer.body = {name: value for name, value in told.items() if value is not None}

    return _after(which, change)


def body(which: Which, whole: Any) -> Fault:
    """Another body."""
    return _after(which, lambda _, answer: setattr(answer, "body", whole))


def headers(which: Which, **told: str | None) -> Fault:
    """Other headers; what is None is left out."""

    def change(asked: Asked, answer: Answer) -> None:
        named = {name.replace("_", "-"): value for name, value in told.items()}
        all_of_them = {**answer.headers, **named}
        answer.headers = {name: value for name, value in all_of_them.items() if value is not None}

    return _after(which, change)


def hangs_up(which: Which) -> Fault:
    """No answer at all."""
    return _after(which, lambda _, answer: setattr(answer, "hangs_up", True))


# Faults in what it makes of requests


def reads(change: Callable[[Asked], Any]) -> Fault:
    """Something else than what was sent."""
    return lambda broker: broker.before.append(change)


def refuses(status: int, which: Callable[[Asked], bool], word: str = "Odd") -> Fault:
    """What is right."""

    def check(asked: Asked) -> None:
        if which(asked):
            raise Refused(status, word)

    return reads(check)


def ignores(*names: str, of: Operation, unless: Callable[[Any], bool] = lambda _: False) -> Fault:
    """Fields of a body."""

    def change(asked: Asked) -> None:
        if asked.operation is of:
            for name in names:
                if not unless(asked.body.get(name)):
                    asked.body.pop(name, None)
            asked.rewrite()

    return reads(change)


def takes(of: Operation, wrong: Callable[[Any], bool] = lambda told: not told, **instead: str) -> Fault:
    """A field of a body or a query that is wrong or absent for another one."""

    def change(asked: Asked) -> None:
        told = asked.query if of in (Operation.DEPROVISION, Operation.UNBIND) else asked.body
        if asked.operation is not of or not told:
            return
        for name, value in instead.items():
            if wrong(told.get(name)):
                told[name] = value
        asked.rewrite()

    return reads(change)


def offers(change: Callable[[dict[str, Any], dict[str, Any]], Any], plan: int = 2) -> Fault:
    """Something else: `change` gets the first offering, and a plan of it."""

    def fault(broker: RightBroker) -> None:
        offering = broker.catalog["services"][0]
        change(offering, offering["plans"][plan])

    return fault


# Faults in what it does


def does(method: str, instead: Callable[..., Any]) -> Fault:
    """Something else: `instead` gets the broker, what is right, and its arguments."""

    def fault(broker: RightBroker) -> None:
        right = getattr(broker, method)
        setattr(broker, method, lambda *arguments: instead(broker, right, *arguments))

    return fault


def several(*faults: Fault) -> Fault:
    """Faults that are only one when they come together."""

    def fault(broker: RightBroker) -> None:
        for each in faults:
            each(broker)

    return fault
