"""The class of faulty brokers, and helpers for their lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from brokerkit.requests import Operation

from ..faults import Fault, changes_catalog, changes_requests, combine, rejects
from ..messages import BrokerRequest
from ..reference_broker import ReferenceBroker

PROVISION, UPDATE, DEPROVISION = Operation.PROVISION, Operation.UPDATE, Operation.DEPROVISION
BIND, UNBIND = Operation.BIND, Operation.UNBIND
GET_INSTANCE, GET_BINDING = Operation.GET_INSTANCE, Operation.GET_BINDING
POLL, POLL_BINDING = Operation.LAST_OPERATION, Operation.LAST_BINDING_OPERATION
CATALOG = Operation.CATALOG

NOW, LATER, PLAIN = "db/now", "db/later", "db/plain"
APP, DOOMED, SLOW = "log/app", "log/doomed", "log/slow"


class FaultyBroker(NamedTuple):
    """A broker with one fault.

    Args:
        name: A description of the fault.
        breaks: The keys of exactly the rules that it breaks, separated by spaces.
        fault: Adds the fault to a reference broker.
        plan: The plan to check.
        options: Options for the check.
    """

    name: str
    breaks: str
    fault: Fault
    plan: str = NOW
    options: dict[str, Any] = {}

    @property
    def keys(self) -> set[str]:
        """The keys of the rules that it breaks."""
        return set(self.breaks.split())

    def build(self) -> ReferenceBroker:
        """Build the broker."""
        broker = ReferenceBroker()
        self.fault(broker)
        return broker


def has_field(name: str) -> Callable[[BrokerRequest], bool]:
    return lambda request: name in request.body


def sets_plan_fields(**fields: Any) -> Callable[[Any, dict[str, Any]], None]:
    return lambda _, plan: plan.update(fields)


def lacks_header(name: str) -> Callable[[BrokerRequest], bool]:
    return lambda request: name not in request.headers


LOGIN = "Basic cGxhdGZvcm06czNjcmV0"
VERSION, IDENTITY = "x-broker-api-version", "x-broker-api-originating-identity"


def needs_no_login(*operations: Operation) -> Fault:
    return changes_requests(
        lambda request: request.operation in operations and request.headers.update(authorization=LOGIN)
    )


def ignores_identities(operation: Operation) -> Fault:
    return changes_requests(
        lambda request: request.operation is operation and request.headers.pop(IDENTITY, None)
    )


def refuses_nulls(operation: Operation) -> Fault:
    return rejects(
        400, lambda request: request.operation is operation and b'"parameters":null' in request.raw
    )


def while_deleted(fault: Fault) -> Fault:
    """Add a fault to a plan that is not updateable, so that its instances are deleted asynchronously."""
    return combine(changes_catalog(lambda _, plan: plan.update(plan_updateable=False), plan=1), fault)


def is_without_effect(request: BrokerRequest) -> bool:
    return request.operation is UPDATE and request.body.get("plan_id") == "now-id"


def without_polling(request: BrokerRequest) -> bool:
    return "accepts_incomplete" not in request.query


def polls_for(*operations: Operation) -> Fault:
    """Treat every platform as able to poll."""
    return changes_requests(
        lambda request: request.operation in operations and request.query.update(accepts_incomplete="true")
    )
