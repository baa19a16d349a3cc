"""Which function serves which operation, offering and plan: handlers, resolved against a catalog."""

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
    """The handlers of a broker, resolved against a catalog once, so that a request costs one look-up.

    Args:
        handlers: All of them.
        catalog: What they serve.
        has_store: Has the broker a store? It then needs no handler to tell what is there, and knows
            whose operation a poll is about.

    :attr:`faults` has a line for each thing that would make the broker fail a platform.
    """

    def __init__(self, handlers: Sequence[Handler], catalog: Catalog, *, has_store: bool = False) -> None:
        self.catalog = catalog
        self._remembers = has_store
        self._of_plan: dict[tuple[Operation, str], tuple[Handler, ...]] = {}
        self._of_service: dict[tuple[Operation, str], tuple[Handler, ...]] = {}
        self._of_all: dict[Operation, tuple[Handler, ...]] = {}
        resolved = [_resolve(handler, catalog) for handler in handlers]
        scopes = [scope for scope in resolved if not scope.faults]
        for operation in Operation:
            self._fill(operation, [scope for scope in scopes if scope.handler.operation is operation])
        self.faults: list[str] = [
            *(fault for scope in resolved for fault in scope.faults),
            *_registered_twice(scopes),
            *self._missing(),
            *self._unfetchable(),
        ]

    def handlers_for(
        self, operation: Operation, offering: ServiceOffering | None, plan: ServicePlan | None
    ) -> tuple[Handler, ...]:
        """The handler for a plan; or, where the platform did not name one, each that it can be.

        Where one serves all plans, that is the one for a plan that was not named, but for an update. A
        poll of an instance names the plan before an update (R-UPD-6), so where one can lead away from
        that plan, the handlers of the other plans follow.
        """
        if plan is not None:
            return self._of_plan.get((operation, plan.id), ())
        if offering is not None:
            return self._of_service.get((operation, offering.id), ())
        return self._of_all.get(operation, ())

    def _fill(self, operation: Operation, scopes: Sequence[_Scope]) -> None:
        for_all = [scope.handler for scope in scopes if scope.rank() == 0]
        everywhere: list[Handler] = []
        for offering in self.catalog.services:
            if not _offers(offering, operation):
                continue
            here: list[Handler] = []
            for plan in offering.plans:
                fitting = [scope for scope in scopes if scope.fits(offering, plan)]
                if fitting:
                    best = max(fitting, key=_Scope.rank).handler
                    self._of_plan[operation, plan.id] = (best,)
                    here.append(best)
            if operation is Operation.LAST_OPERATION and not self._remembers:
                # During an update, it is asked of the plan before.
                for plan in filter(lambda plan: plan.plan_updateable, offering.plans):
                    own = self._of_plan.get((operation, plan.id), ())
                    self._of_plan[operation, plan.id] = _distinct((*own, *here))
            if operation is Operation.UPDATE:  # which plan it is must not be guessed before a change
                unnamed = here
            else:
                for_offering = [s.handler for s in scopes if s.plan is None and s.offering is offering]
                unnamed = for_offering or for_all or here
            self._of_service[operation, offering.id] = _distinct(unnamed)
            everywhere += here
        if everywhere:
            self._of_all[operation] = _distinct(for_all or everywhere)

    def _missing(self) -> Iterator[str]:
        for number, offering in enumerate(self.catalog.services):
            for index, plan in enumerate(offering.plans):
                for operation, reason in _needed(offering, plan):
                    if self._remembers and operation in _REMEMBERED:
                        continue
                    if not self.handlers_for(operation, offering, plan):
                        yield (
                            f"services[{number}].plans[{index}] ({offering.name!r}, {plan.name!r}) {reason},"
                            f" but no @{operation} handler serves it"
                        )

    def _unfetchable(self) -> Iterator[str]:
        for number, offering in enumerate(self.catalog.services):
            for index, plan in enumerate(offering.plans):
                for handler in self.handlers_for(Operation.BIND, offering, plan):
                    if handler.background and plan.bindable and not offering.bindings_retrievable:
                        yield (
                            f"services[{number}].plans[{index}] ({offering.name!r}, {plan.name!r}) is bound"
                            f" in the background by {handler}, but no platform could fetch the credentials; "
                            "set bindings_retrievable in its offering"
                        )


_REMEMBERED = frozenset({Operation.GET_INSTANCE, Operation.GET_BINDING})
"""What a store answers where no handler does."""


class _Scope(NamedTuple):
    """A handler, and the offering and plan that it names, found in the catalog."""

    handler: Handler
    offering: ServiceOffering | None = None
    plan: ServicePlan | None = None
    faults: tuple[str, ...] = ()

    def fits(self, offering: ServiceOffering, plan: ServicePlan) -> bool:
        return self.offering in (None, offering) and self.plan in (None, plan)

    def rank(self) -> int:
        """How specific it is."""
        return 2 if self.plan else 1 if self.offering else 0


def _resolve(handler: Handler, catalog: Catalog) -> _Scope:
    services = [each for each in catalog.services if handler.offering in (None, each.id, each.name)]
    service = None
    if handler.offering is not None:
        wanted = f"{handler} is for the offering {handler.offering!r}"
        if len(services) != 1:
            if services:
                return _Scope(handler, faults=(f"{wanted}, the id or name of two; rename one of them",))
            hint = _hint(handler.offering, catalog.services)
            return _Scope(handler, faults=(f"{wanted}, which is not in the catalog{hint}",))
        service = services[0]
    if handler.plan is None:
        return _Scope(handler, service)
    wanted = f"{handler} is for the plan {handler.plan!r}"
    plans = [(each, plan) for each in services for plan in each.plans if handler.plan in (plan.id, plan.name)]
    if not plans:
        of = f"of the offering {service.name!r}" if service else "in the catalog"
        hint = _hint(handler.plan, [plan for each in services for plan in each.plans])
        return _Scope(handler, faults=(f"{wanted}, which is not {of}{hint}",))
    if len(plans) > 1:
        names = " and ".join(repr(each.name) for each, _ in plans)
        return _Scope(handler, faults=(f"{wanted}, of which there is one in {names}; add service=",))
    return _Scope(handler, *plans[0])


def _hint(wanted: str, offered: Sequence[ServiceOffering | ServicePlan]) -> str:
    words = [word for each in offered for word in (each.name, each.id)]
    close = difflib.get_close_matches(wanted, words, n=1)
    return f"; is {close[0]!r} meant?" if close else ""


def _registered_twice(scopes: Sequence[_Scope]) -> Iterator[str]:
    same: dict[object, list[str]] = defaultdict(list)
    for scope in scopes:
        what = scope.plan.id if scope.plan else None
        whose = scope.offering.id if scope.offering else None
        same[scope.handler.operation, whose, what].append(str(scope.handler))
    for handlers in same.values():
        if len(handlers) > 1:
            yield f"{' and '.join(handlers)} serve the same; keep one of them"


def _distinct(handlers: Sequence[Handler]) -> tuple[Handler, ...]:
    return tuple(dict.fromkeys(handlers))


def signature_faults(handlers: Sequence[Handler], *, has_store: bool = False) -> Iterator[str]:
    """A line for each handler that could not be called, whatever the catalog.

    Args:
        handlers: All of them.
        has_store: Has the broker a store?
    """
    for handler in handlers:
        if handler.background and not has_store:
            yield f"{handler} has background=True, which needs a store; give the Broker a store="
        function = inspect.unwrap(handler.function) if callable(handler.function) else handler.function
        if inspect.isasyncgenfunction(function):
            yield f"{handler} is an async generator; write a plain one, or an async function that returns"
        elif inspect.isgeneratorfunction(function) and not handler.background:
            yield f"{handler} is a generator, which can only run in the background; add background=True"
        if inspect.isclass(handler.function):
            yield f"{handler} is a class; register a function"
            continue
        try:
            inspect.signature(handler.function).bind(object())
        except TypeError:
            yield f"{handler} must take one argument, the request"
        except ValueError:  # a builtin that does not tell its signature
            pass
        if inspect.iscoroutinefunction(handler.function) and importlib.util.find_spec("asgiref") is None:
            yield f"{handler} is async, which needs asgiref: pip install asgiref"


def _offers(offering: ServiceOffering, operation: Operation) -> bool:
    """Fetches are for the offerings that say so (R-GETI, R-GETB); all else depends on the plan."""
    match operation:
        case Operation.GET_INSTANCE:
            return offering.instances_retrievable
        case Operation.GET_BINDING:
            return offering.bindings_retrievable
        case _:
            return True


def _needed(offering: ServiceOffering, plan: ServicePlan) -> Iterator[tuple[Operation, str]]:
    """What the catalog promises of a plan, and why."""
    yield Operation.PROVISION, "can be ordered"
    yield Operation.DEPROVISION, "can be ordered"
    if plan.bindable:
        yield Operation.BIND, "is bindable"
        yield Operation.UNBIND, "is bindable"
        if offering.bindings_retrievable:
            yield Operation.GET_BINDING, "is of an offering with bindings_retrievable"
    if offering.instances_retrievable:
        yield Operation.GET_INSTANCE, "is of an offering with instances_retrievable"
    if plan.plan_updateable:
        yield Operation.UPDATE, "is plan_updateable"
    elif offering.allow_context_updates:
        yield Operation.UPDATE, "is of an offering with allow_context_updates"
    elif plan.schemas and plan.schemas.service_instance and plan.schemas.service_instance.update:
        yield Operation.UPDATE, "has a schema for updates"
