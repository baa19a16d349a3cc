"""Faults: functions that change a reference broker so that it breaks a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from brokerkit.requests import Operation

from .messages import BrokerRequest, BrokerResponse, Rejection
from .reference_broker import ReferenceBroker

Fault = Callable[[ReferenceBroker], None]
Predicate = Callable[[BrokerRequest, BrokerResponse], bool]

# Faults in responses


def responses_to(*operations: Operation, status: int | None = None, word: str | None = None) -> Predicate:
    """Select responses by operation, status code and error code; each defaults to any."""

    def which(request: BrokerRequest, response: BrokerResponse) -> bool:
        if operations and request.operation not in operations:
            return False
        return status in (None, response.status) and word in (None, response.word)

    return which


def _after(which: Predicate, change: Callable[[BrokerRequest, BrokerResponse], None]) -> Fault:
    def after(request: BrokerRequest, response: BrokerResponse) -> None:
        if which(request, response):
            change(request, response)

    return lambda broker: broker.after.append(after)


def responds_with(status: int, which: Predicate) -> Fault:
    """Replace the status code; an error gets a matching body."""

    def change(request: BrokerRequest, response: BrokerResponse) -> None:
        response.status = status
        if status >= 400 and not (response.body or {}).get("description"):
            response.body = {"error": "Broken", "description": "It is broken"}

    return _after(which, change)


def with_fields(which: Predicate, **fields: Any) -> Fault:
    """Set fields of the body; None removes a field."""

    def change(request: BrokerRequest, response: BrokerResponse) -> None:
        merged = {**(response.body or {}), **fields}
        response.body = {name: value for name, value in merged.items() if value is not None}

    return _after(which, change)


def body(which: Predicate, whole: Any) -> Fault:
    """Replace the body."""
    return _after(which, lambda _, response: setattr(response, "body", whole))


def headers(which: Predicate, **values: str | None) -> Fault:
    """Set headers; None removes a header."""

    def change(request: BrokerRequest, response: BrokerResponse) -> None:
        changes = {name.replace("_", "-"): value for name, value in values.items()}
        merged = {**response.headers, **changes}
        response.headers = {name: value for name, value in merged.items() if value is not None}

    return _after(which, change)


def hangs_up(which: Predicate) -> Fault:
    """Close the connection without a response."""
    return _after(which, lambda _, response: setattr(response, "hangs_up", True))


# Faults in the interpretation of requests


def changes_requests(change: Callable[[BrokerRequest], Any]) -> Fault:
    """Change the request before it is processed."""
    return lambda broker: broker.before.append(change)


def rejects(status: int, which: Callable[[BrokerRequest], bool], word: str = "Odd") -> Fault:
    """Reject valid requests."""

    def check(request: BrokerRequest) -> None:
        if which(request):
            raise Rejection(status, word)

    return changes_requests(check)


def ignores(*names: str, of: Operation, unless: Callable[[Any], bool] = lambda _: False) -> Fault:
    """Ignore fields of the body."""

    def change(request: BrokerRequest) -> None:
        if request.operation is of:
            for name in names:
                if not unless(request.body.get(name)):
                    request.body.pop(name, None)
            request.rewrite()

    return changes_requests(change)


def replaces(of: Operation, wrong: Callable[[Any], bool] = lambda value: not value, **instead: str) -> Fault:
    """Replace invalid or missing fields of the body or query by valid values."""

    def change(request: BrokerRequest) -> None:
        values = request.query if of in (Operation.DEPROVISION, Operation.UNBIND) else request.body
        if request.operation is not of or not values:
            return
        for name, value in instead.items():
            if wrong(values.get(name)):
                values[name] = value
        request.rewrite()

    return changes_requests(change)


def changes_catalog(change: Callable[[dict[str, Any], dict[str, Any]], Any], plan: int = 2) -> Fault:
    """Change the catalog: `change` receives the first offering and one of its plans."""

    def fault(broker: ReferenceBroker) -> None:
        offering = broker.catalog["services"][0]
        change(offering, offering["plans"][plan])

    return fault


# Faults in the processing


def overrides(method: str, instead: Callable[..., Any]) -> Fault:
    """Override a method: `instead` receives the broker, the original method and its arguments."""

    def fault(broker: ReferenceBroker) -> None:
        right = getattr(broker, method)
        setattr(broker, method, lambda *arguments: instead(broker, right, *arguments))

    return fault


def combine(*faults: Fault) -> Fault:
    """Combine several changes into one fault."""

    def fault(broker: ReferenceBroker) -> None:
        for fault in faults:
            fault(broker)

    return fault
