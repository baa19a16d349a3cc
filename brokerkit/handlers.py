"""Which function serves which operation, offering and plan."""

from __future__ import annotations

import importlib.util
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

from .catalog import Catalog, ServiceOffering, ServicePlan
from .requests import (
    BindRequest,
    DeprovisionRequest,
    GetBindingRequest,
    GetInstanceRequest,
    LastBindingOperationRequest,
    LastOperationRequest,
    Operation,
    ProvisionRequest,
    UnbindRequest,
    UpdateRequest,
)
from .results import (
    Accepted,
    Binding,
    Deprovisioned,
    InstanceDetails,
    LastOperation,
    Provisioned,
    Unbound,
    Updated,
)

_RequestT = TypeVar("_RequestT")
_ResultT = TypeVar("_ResultT")
_Handler: TypeAlias = Callable[[_RequestT], _ResultT | Awaitable[_ResultT]]

ProvisionHandler: TypeAlias = _Handler[ProvisionRequest, Provisioned | Accepted | None]
UpdateHandler: TypeAlias = _Handler[UpdateRequest, Updated | Accepted | None]
DeprovisionHandler: TypeAlias = _Handler[DeprovisionRequest, Deprovisioned | Accepted | None]
BindHandler: TypeAlias = _Handler[BindRequest, Binding | Accepted]
UnbindHandler: TypeAlias = _Handler[UnbindRequest, Unbound | Accepted | None]
GetInstanceHandler: TypeAlias = _Handler[GetInstanceRequest, InstanceDetails]
GetBindingHandler: TypeAlias = _Handler[GetBindingRequest, Binding]
LastOperationHandler: TypeAlias = _Handler[LastOperationRequest, LastOperation]
LastBindingOperationHandler: TypeAlias = _Handler[LastBindingOperationRequest, LastOperation]

_Provision = TypeVar("_Provision", bound=ProvisionHandler)
_Update = TypeVar("_Update", bound=UpdateHandler)
_Deprovision = TypeVar("_Deprovision", bound=DeprovisionHandler)
_Bind = TypeVar("_Bind", bound=BindHandler)
_Unbind = TypeVar("_Unbind", bound=UnbindHandler)
_GetInstance = TypeVar("_GetInstance", bound=GetInstanceHandler)
_GetBinding = TypeVar("_GetBinding", bound=GetBindingHandler)
_LastOperation = TypeVar("_LastOperation", bound=LastOperationHandler)
_LastBindingOperation = TypeVar("_LastBindingOperation", bound=LastBindingOperationHandler)


class Handler(NamedTuple):
    """A function that serves an operation, for all offerings and plans or for some.

    `service` and `plan` are names or ids, as the author wrote them.
    """

    operation: Operation
    function: Callable[[Any], Any]
    service: str | None = None
    plan: str | None = None
    is_async: bool = False

    def __str__(self) -> str:
        function = inspect.unwrap(self.function)
        name = getattr(function, "__qualname__", repr(function))
        code = getattr(function, "__code__", None)
        where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
        return f"the {self.operation} handler {name!r}{where}"


class HandlerGroup:
    """Handlers that belong together, for a broker to include: those of one offering, or of one module.

    Each decorator works bare and with arguments, and returns the function as it was::

        group = HandlerGroup(service="postgres")

        @group.provision
        def provision(request): ...

        @group.provision(plan="cluster")
        def provision_cluster(request): ...

    `service` and `plan` are a name or an id of the catalog's; the handler serves that offering or plan only.
    The most specific handler wins: offering and plan, then plan, then offering, then all. A handler takes
    the request alone, and may be ``async def`` (extra `async`). None is plain success, where it is allowed.

    Args:
        service: The offering of the handlers that name none themselves.
    """

    def __init__(self, *, service: str | None = None) -> None:
        self._service = service
        self._handlers: list[Handler] = []
        self._attached = False

    @property
    def handlers(self) -> Sequence[Handler]:
        """All that was registered, in order."""
        return tuple(self._handlers)

    @overload
    def provision(self, handler: _Provision, /) -> _Provision: ...
    @overload
    def provision(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Provision], _Provision]: ...
    def provision(self, handler: Any = None, /, **only: str | None) -> Any:
        """Make an instance: `ProvisionRequest` to `Provisioned`, `Accepted` or None (R-PROV)."""
        return self._register(Operation.PROVISION, handler, **only)

    @overload
    def update(self, handler: _Update, /) -> _Update: ...
    @overload
    def update(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Update], _Update]: ...
    def update(self, handler: Any = None, /, **only: str | None) -> Any:
        """Change an instance: `UpdateRequest` to `Updated`, `Accepted` or None (R-UPD).

        With `plan`, it serves the updates *to* that plan.
        """
        return self._register(Operation.UPDATE, handler, **only)

    @overload
    def deprovision(self, handler: _Deprovision, /) -> _Deprovision: ...
    @overload
    def deprovision(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Deprovision], _Deprovision]: ...
    def deprovision(self, handler: Any = None, /, **only: str | None) -> Any:
        """Delete an instance: `DeprovisionRequest` to `Deprovisioned`, `Accepted` or None (R-DEL)."""
        return self._register(Operation.DEPROVISION, handler, **only)

    @overload
    def bind(self, handler: _Bind, /) -> _Bind: ...
    @overload
    def bind(self, /, *, service: str | None = ..., plan: str | None = ...) -> Callable[[_Bind], _Bind]: ...
    def bind(self, handler: Any = None, /, **only: str | None) -> Any:
        """Make a binding: `BindRequest` to `Binding` or `Accepted` (R-BIND)."""
        return self._register(Operation.BIND, handler, **only)

    @overload
    def unbind(self, handler: _Unbind, /) -> _Unbind: ...
    @overload
    def unbind(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Unbind], _Unbind]: ...
    def unbind(self, handler: Any = None, /, **only: str | None) -> Any:
        """Delete a binding: `UnbindRequest` to `Unbound`, `Accepted` or None (R-UNB)."""
        return self._register(Operation.UNBIND, handler, **only)

    @overload
    def get_instance(self, handler: _GetInstance, /) -> _GetInstance: ...
    @overload
    def get_instance(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_GetInstance], _GetInstance]: ...
    def get_instance(self, handler: Any = None, /, **only: str | None) -> Any:
        """Tell of an instance: `GetInstanceRequest` to `InstanceDetails` (R-GETI)."""
        return self._register(Operation.GET_INSTANCE, handler, **only)

    @overload
    def get_binding(self, handler: _GetBinding, /) -> _GetBinding: ...
    @overload
    def get_binding(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_GetBinding], _GetBinding]: ...
    def get_binding(self, handler: Any = None, /, **only: str | None) -> Any:
        """Tell of a binding: `GetBindingRequest` to `Binding` (R-GETB)."""
        return self._register(Operation.GET_BINDING, handler, **only)

    @overload
    def last_operation(self, handler: _LastOperation, /) -> _LastOperation: ...
    @overload
    def last_operation(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_LastOperation], _LastOperation]: ...
    def last_operation(self, handler: Any = None, /, **only: str | None) -> Any:
        """Tell how the work on an instance goes: `LastOperationRequest` to `LastOperation` (R-LAST)."""
        return self._register(Operation.LAST_OPERATION, handler, **only)

    @overload
    def last_binding_operation(self, handler: _LastBindingOperation, /) -> _LastBindingOperation: ...
    @overload
    def last_binding_operation(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_LastBindingOperation], _LastBindingOperation]: ...
    def last_binding_operation(self, handler: Any = None, /, **only: str | None) -> Any:
        """Tell how the work on a binding goes: `LastBindingOperationRequest` to `LastOperation` (R-LAST)."""
        return self._register(Operation.LAST_BINDING_OPERATION, handler, **only)

    def _register(
        self,
        operation: Operation,
        handler: Any,
        *,
        service: str | None = None,
        plan: str | None = None,
    ) -> Any:
        def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
            if self._attached:
                raise RuntimeError(
                    f"{Handler(operation, function)} comes too late: the broker's blueprint is attached to an app"
                    " already; register every handler before"
                )
            self._handlers.append(
                Handler(
                    operation,
                    function,
                    service or self._service,
                    plan,
                    inspect.iscoroutinefunction(function),
                )
            )
            return function

        if handler is None:
            return register
        if not callable(handler):
            raise TypeError(
                f"@{operation}({handler!r}): give the plan or the offering by its keyword, plan= or service="
            )
        return register(handler)


class SetupError(ValueError):
    """Handlers and catalog do not fit; :attr:`faults` has every fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n  ".join(["the broker cannot serve its catalog:", *faults]))


class HandlerTable:
    """The handlers of a broker, resolved against a catalog once, so that a request costs one look-up.

    Args:
        handlers: All of them.
        catalog: What they serve.

    :attr:`faults` has a line for each thing that would make the broker fail a platform.
    """

    def __init__(self, handlers: Sequence[Handler], catalog: Catalog) -> None:
        self.catalog = catalog
        self._by_plan: dict[tuple[Operation, str], Handler] = {}
        self._general: dict[Operation, Handler] = {}
        resolved = [_resolve(handler, catalog) for handler in handlers]
        self.faults: list[str] = [fault for scope in resolved for fault in scope.faults]
        scopes = [scope for scope in resolved if not scope.faults]
        self.faults += _registered_twice(scopes)
        for operation in Operation:
            self._fill(
                operation,
                [scope for scope in scopes if scope.handler.operation is operation],
                catalog,
            )
        self.faults += self._missing(catalog)

    def find(
        self, operation: Operation, service: ServiceOffering | None, plan: ServicePlan | None
    ) -> Handler | None:
        """The handler for a plan, or, where the platform did not name the plan, for any that it can be."""
        if plan is not None:
            return self._by_plan.get((operation, plan.id))
        if service is not None:
            candidates = {self._by_plan.get((operation, each.id)) for each in service.plans}
            if len(candidates) == 1:
                return candidates.pop()
        return self._general.get(operation)

    def _fill(self, operation: Operation, scopes: Sequence[_Scope], catalog: Catalog) -> None:
        for offering in catalog.services:
            if not _offers(offering, operation):
                continue
            for plan in offering.plans:
                fitting = [scope for scope in scopes if scope.fits(offering, plan)]
                if fitting:
                    self._by_plan[operation, plan.id] = max(fitting, key=_Scope.rank).handler
        general = [scope.handler for scope in scopes if scope.rank() == 0]
        if general or len(scopes) == 1:
            self._general[operation] = general[0] if general else scopes[0].handler

    def _missing(self, catalog: Catalog) -> Iterator[str]:
        for number, offering in enumerate(catalog.services):
            for index, plan in enumerate(offering.plans):
                for operation, reason in _needed(offering, plan):
                    if (operation, plan.id) not in self._by_plan:
                        yield (
                            f"services[{number}].plans[{index}] ({offering.name!r}, {plan.name!r}) {reason},"
                            f" but no @{operation} handler serves it"
                        )


class _Scope(NamedTuple):
    """A handler, and the offering and plan that it names, found in the catalog."""

    handler: Handler
    service: ServiceOffering | None = None
    plan: ServicePlan | None = None
    faults: tuple[str, ...] = ()

    def fits(self, offering: ServiceOffering, plan: ServicePlan) -> bool:
        return self.service in (None, offering) and self.plan in (None, plan)

    def rank(self) -> int:
        return 2 * (self.plan is not None) + (self.handler.service is not None)


def _resolve(handler: Handler, catalog: Catalog) -> _Scope:
    services = [each for each in catalog.services if handler.service in (None, each.id, each.name)]
    if not services and handler.service is not None:
        return _Scope(
            handler,
            faults=(f"{handler} is for the offering {handler.service!r}, which is not in the catalog",),
        )
    service = services[0] if handler.service is not None else None
    if handler.plan is None:
        return _Scope(handler, service)
    plans = [(each, plan) for each in services for plan in each.plans if handler.plan in (plan.id, plan.name)]
    if not plans:
        of = f"of the offering {service.name!r}" if service else "in the catalog"
        return _Scope(handler, faults=(f"{handler} is for the plan {handler.plan!r}, which is not {of}",))
    if len(plans) > 1:
        names = " and ".join(repr(each.name) for each, _ in plans)
        return _Scope(
            handler,
            faults=(
                f"{handler} is for the plan {handler.plan!r}, of which there is one in {names}; add service=",
            ),
        )
    return _Scope(handler, *plans[0])


def _registered_twice(scopes: Sequence[_Scope]) -> Iterator[str]:
    keys = [
        (
            scope.handler.operation,
            scope.service and scope.service.id if not scope.plan else None,
            scope.plan and scope.plan.id,
        )
        for scope in scopes
    ]
    for key, count in Counter(keys).items():
        if count > 1:
            same = [str(scope.handler) for scope, other in zip(scopes, keys, strict=True) if other == key]
            yield f"{' and '.join(same)} serve the same; keep one of them"


def signature_faults(handlers: Sequence[Handler]) -> Iterator[str]:
    """A line for each handler that could not be called, whatever the catalog."""
    for handler in handlers:
        try:
            inspect.signature(handler.function).bind(object())
        except TypeError:
            yield f"{handler} must take one argument, the request"
        except ValueError:  # a builtin that does not tell its signature
            pass
        if handler.is_async and importlib.util.find_spec("asgiref") is None:
            yield f"{handler} is async, which needs asgiref: pip install 'brokerkit[async]'"


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
