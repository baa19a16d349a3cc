"""The table of handlers by operation, offering and plan, resolved against a catalog."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..catalog.models import Catalog, ServiceOffering, ServicePlan
from ..requests import Operation
from .group import Handler


class HandlerTable:
    """The handlers of a broker, resolved against a catalog once, so that a request needs one lookup.

    Args:
        handlers: The handlers of the broker.
        catalog: The catalog of the broker.
        has_store: Whether the broker has a store. With a store, the broker needs no handlers for fetches, and
            knows the plan of a polled operation. Defaults to False.

    Attributes:
        catalog: The catalog of the broker.
        faults: A message for each mismatch between the handlers and the catalog.
    """

    def __init__(self, handlers: Sequence[Handler], catalog: Catalog, *, has_store: bool = False) -> None:
        self.catalog = catalog
        self._has_store = has_store
        self._by_plan: dict[tuple[Operation, str], tuple[Handler, ...]] = {}
        self._by_offering: dict[tuple[Operation, str], tuple[Handler, ...]] = {}
        self._by_operation: dict[Operation, tuple[Handler, ...]] = {}
        resolved = [_resolve(handler, catalog) for handler in handlers]
        scopes = [scope for scope in resolved if not scope.faults]
        for operation in Operation:
            self._fill(operation, [scope for scope in scopes if scope.handler.operation is operation])
        self.faults: list[str] = [
            *(fault for scope in resolved for fault in scope.faults),
            *_duplicate_faults(scopes),
            *self._missing_handler_faults(),
            *self._unfetchable_binding_faults(),
        ]

    def handlers_for(
        self, operation: Operation, offering: ServiceOffering | None, plan: ServicePlan | None
    ) -> tuple[Handler, ...]:
        """Return the handler for a plan, or all candidates if the platform named no plan.

        Without a plan, a handler that serves all plans is the only candidate, except for an update.

        In a broker without a store, a poll of an instance may belong to an update, but names the old plan
        (R-UPD-6). If the plan is updateable, the handlers of the other plans are candidates too.
        """
        if plan is not None:
            return self._by_plan.get((operation, plan.id), ())
        if offering is not None:
            return self._by_offering.get((operation, offering.id), ())
        return self._by_operation.get(operation, ())

    def _fill(self, operation: Operation, scopes: Sequence[_Scope]) -> None:
        general = [scope.handler for scope in scopes if scope.rank() == 0]
        all_handlers: list[Handler] = []
        for offering in self.catalog.services:
            if not _supports(offering, operation):
                continue
            plan_handlers: list[Handler] = []
            for plan in offering.plans:
                matching = [scope for scope in scopes if scope.matches(offering, plan)]
                if matching:
                    handler = max(matching, key=_Scope.rank).handler
                    self._by_plan[operation, plan.id] = (handler,)
                    plan_handlers.append(handler)
            if operation is Operation.LAST_OPERATION and not self._has_store:
                # A poll during an update names the old plan.
                for plan in filter(lambda plan: plan.plan_updateable, offering.plans):
                    own = self._by_plan.get((operation, plan.id), ())
                    self._by_plan[operation, plan.id] = _distinct((*own, *plan_handlers))
            if operation is Operation.UPDATE:  # an update must not run in the handler of a guessed plan
                candidates = plan_handlers
            else:
                for_offering = [s.handler for s in scopes if s.plan is None and s.offering is offering]
                candidates = for_offering or general or plan_handlers
            self._by_offering[operation, offering.id] = _distinct(candidates)
            all_handlers += plan_handlers
        if all_handlers:
            self._by_operation[operation] = _distinct(general or all_handlers)

    def _missing_handler_faults(self) -> Iterator[str]:
        for number, offering in enumerate(self.catalog.services):
            for index, plan in enumerate(offering.plans):
                for operation, reason in _required_operations(offering, plan):
                    if self._has_store and operation in _SERVED_BY_STORE:
                        continue
                    if not self.handlers_for(operation, offering, plan):
                        yield (
                            f"services[{number}].plans[{index}] ({offering.name!r}, {plan.name!r}) {reason},"
                            f" but no @{operation} handler serves it"
                        )

    def _unfetchable_binding_faults(self) -> Iterator[str]:
        for number, offering in enumerate(self.catalog.services):
            for index, plan in enumerate(offering.plans):
                for handler in self.handlers_for(Operation.BIND, offering, plan):
                    if handler.background and plan.bindable and not offering.bindings_retrievable:
                        yield (
                            f"services[{number}].plans[{index}] ({offering.name!r}, {plan.name!r}) is bound"
                            f" in the background by {handler}, but no platform could fetch the credentials;"
                            " set bindings_retrievable in the offering"
                        )


_SERVED_BY_STORE = frozenset({Operation.GET_INSTANCE, Operation.GET_BINDING})
"""The operations that a broker with a store serves without a handler."""


class _Scope(NamedTuple):
    """A handler with its offering and plan from the catalog, or with the faults of their names."""

    handler: Handler
    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None
    faults: tuple[str, ...] = ()

    def matches(self, offering: ServiceOffering, plan: ServicePlan) -> bool:
        return self.offering in (None, offering) and self.plan in (None, plan)

    def rank(self) -> int:
        """Return how specific the scope is: 2 for a plan, 1 for an offering, 0 for all plans."""
        return 2 if self.plan else 1 if self.offering else 0


def _resolve(handler: Handler, catalog: Catalog) -> _Scope:
    offerings = [
        offering for offering in catalog.services if handler.offering in (None, offering.id, offering.name)
    ]
    offering = None
    if handler.offering is not None:
        prefix = f"{handler} is for the offering {handler.offering!r}"
        if len(offerings) > 1:
            return _Scope(handler, faults=(f"{prefix}, the id or name of two offerings; rename one",))
        if not offerings:
            hint = _hint(handler.offering, catalog.services)
            return _Scope(handler, faults=(f"{prefix}, which is not in the catalog{hint}",))
        offering = offerings[0]
    if handler.plan is None:
        return _Scope(handler, offering)
    prefix = f"{handler} is for the plan {handler.plan!r}"
    plans = [
        (owner, plan) for owner in offerings for plan in owner.plans if handler.plan in (plan.id, plan.name)
    ]
    if not plans:
        place = f"part of the offering {offering.name!r}" if offering else "in the catalog"
        hint = _hint(handler.plan, [plan for owner in offerings for plan in owner.plans])
        return _Scope(handler, faults=(f"{prefix}, which is not {place}{hint}",))
    if len(plans) > 1:
        names = " and ".join(repr(owner.name) for owner, _ in plans)
        return _Scope(handler, faults=(f"{prefix}, which exists in {names}; add offering=",))
    return _Scope(handler, *plans[0])


def _hint(name: str, items: Sequence[ServiceOffering | ServicePlan]) -> str:
    """Return a question that suggests the closest name or id, or an empty string if none is close."""
    candidates = [candidate for item in items for candidate in (item.name, item.id)]
    close = difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _duplicate_faults(scopes: Sequence[_Scope]) -> Iterator[str]:
    by_scope: dict[object, list[str]] = defaultdict(list)
    for scope in scopes:
        offering_id = scope.offering.id if scope.offering else None
        plan_id = scope.plan.id if scope.plan else None
        by_scope[scope.handler.operation, offering_id, plan_id].append(str(scope.handler))
    for handlers in by_scope.values():
        if len(handlers) > 1:
            yield f"{' and '.join(handlers)} serve the same requests; keep one of them"


def _distinct(handlers: Sequence[Handler]) -> tuple[Handler, ...]:
    return tuple(dict.fromkeys(handlers))


def signature_faults(handlers: Sequence[Handler], *, has_store: bool = False) -> Iterator[str]:
    """Yield a message for each handler that cannot be called, independent of the catalog.

    Args:
        handlers: The handlers of the broker.
        has_store: Whether the broker has a store. Defaults to False.
    """
    for handler in handlers:
        if handler.background and not has_store:
            yield f"{handler} has background=True, which needs a store; pass store= to the Broker"
        function = inspect.unwrap(handler.function) if callable(handler.function) else handler.function
        if inspect.isasyncgenfunction(function):
            yield f"{handler} is an async generator; use a plain generator or an async function"
        elif inspect.isgeneratorfunction(function) and not handler.background:
            yield f"{handler} is a generator, which can only run in the background; add background=True"
        if inspect.isclass(handler.function):
            yield f"{handler} is a class; register a function"
            continue
        try:
            inspect.signature(handler.function).bind(object())
        except TypeError:
            yield f"{handler} must take one argument, the request"
        except ValueError:  # a builtin function without a signature
            pass
        if inspect.iscoroutinefunction(handler.function) and importlib.util.find_spec("asgiref") is None:
            yield f"{handler} is async, which needs the extra 'async': pip install 'osb-brokerkit[async]'"


def _supports(offering: ServiceOffering, operation: Operation) -> bool:
    """Whether an offering supports an operation. Only fetches are optional (R-GETI, R-GETB)."""
    match operation:
        case Operation.GET_INSTANCE:
            return offering.instances_retrievable
        case Operation.GET_BINDING:
            return offering.bindings_retrievable
        case _:
            return True


def _required_operations(offering: ServiceOffering, plan: ServicePlan) -> Iterator[tuple[Operation, str]]:
    """Yield each operation that the catalog promises for a plan, with the reason."""
    yield Operation.PROVISION, "can be provisioned"
    yield Operation.DEPROVISION, "can be provisioned"
    if plan.bindable:
        yield Operation.BIND, "is bindable"
        yield Operation.UNBIND, "is bindable"
        if offering.bindings_retrievable:
            yield Operation.GET_BINDING, "belongs to an offering with bindings_retrievable"
    if offering.instances_retrievable:
        yield Operation.GET_INSTANCE, "belongs to an offering with instances_retrievable"
    if plan.plan_updateable:
        yield Operation.UPDATE, "is plan_updateable"
    elif offering.allow_context_updates:
        yield Operation.UPDATE, "belongs to an offering with allow_context_updates"
    elif plan.schemas and plan.schemas.service_instance and plan.schemas.service_instance.update:
        yield Operation.UPDATE, "has a schema for updates"
