"""What a broken broker is, and what the lists of them have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from brokerkit.requests import Operation

from ..faults import Fault, offers, reads, refuses, several
from ..messages import Asked
from ..reference_broker import RightBroker

PROVISION, UPDATE, DEPROVISION = Operation.PROVISION, Operation.UPDATE, Operation.DEPROVISION
BIND, UNBIND = Operation.BIND, Operation.UNBIND
GET_INSTANCE, GET_BINDING = Operation.GET_INSTANCE, Operation.GET_BINDING
POLL, POLL_BINDING = Operation.LAST_OPERATION, Operation.LAST_BINDING_OPERATION
CATALOG = Operation.CATALOG

NOW, LATER, PLAIN = "db/now", "db/later", "db/plain"
APP, DOOMED, SLOW = "log/app", "log/doomed", "log/slow"


class Broken(NamedTuple):
    """A broker that is wrong.

    Args:
        name: What is wrong with it.
        breaks: The rules that it breaks, and no others.
        fault: Makes a right broker wrong.
        plan: The plan to check of it.
        options: How to check it.
    """

    name: str
    breaks: str
    fault: Fault
    plan: str = NOW
    options: dict[str, Any] = {}

    @property
    def keys(self) -> set[str]:
        """The rules that it breaks."""
        return set(self.breaks.split())

    def make(self) -> RightBroker:
        """One of it."""
        broker = RightBroker()
        self.fault(broker)
        return broker


def has(name: str) -> Callable[[Asked], bool]:
    return lambda asked: name in asked.body


def sets(**fields: Any) -> Callable[[Any, dict[str, Any]], None]:
    return lambda _, plan: plan.update(fields)


def lacks_header(name: str) -> Callable[[Asked], bool]:
    return lambda asked: name not in asked.headers


LOGIN = "Basic cGxhdGZvcm06czNjcmV0"
VERSION, IDENTITY = "x-broker-api-version", "x-broker-api-originating-identity"


def needs_no_login(*operations: Operation) -> Fault:
    return reads(lambda asked: asked.operation in operations and asked.headers.update(authorization=LOGIN))


def ignores_identities(operation: Operation) -> Fault:
    return reads(lambda asked: asked.operation is operation and asked.headers.pop(IDENTITY, None))


def refuses_nulls(operation: Operation) -> Fault:
    return refuses(400, lambda asked: asked.operation is operation and b'"parameters":null' in asked.raw)


def while_deleted(fault: Fault) -> Fault:
    """Of a plan whose instances stay of it, so that they take a while to be deleted."""
    return several(offers(lambda _, plan: plan.update(plan_updateable=False), plan=1), fault)


def is_in_vain(asked: Asked) -> bool:
    return asked.operation is UPDATE and asked.body.get("plan_id") == "now-id"


def without_polling(asked: Asked) -> bool:
    return "accepts_incomplete" not in asked.query


def polls_for(*operations: Operation) -> Fault:
    """Takes every platform for one that can poll."""
    return reads(
        lambda asked: asked.operation in operations and asked.query.update(accepts_incomplete="true")
    )
