"""Handlers: the functions that a broker's author registers, and for what."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, overload

from ..requests import (
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
from ..results import (
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
_Steps: TypeAlias = Callable[[_RequestT], Generator[str | None, None, _ResultT]]

ProvisionHandler: TypeAlias = _Handler[ProvisionRequest, Provisioned | Accepted | None]
UpdateHandler: TypeAlias = _Handler[UpdateRequest, Updated | Accepted | None]
DeprovisionHandler: TypeAlias = _Handler[DeprovisionRequest, Deprovisioned | Accepted | None]
BindHandler: TypeAlias = _Handler[BindRequest, Binding | Accepted]
UnbindHandler: TypeAlias = _Handler[UnbindRequest, Unbound | Accepted | None]
GetInstanceHandler: TypeAlias = _Handler[GetInstanceRequest, InstanceDetails]
GetBindingHandler: TypeAlias = _Handler[GetBindingRequest, Binding]
LastOperationHandler: TypeAlias = _Handler[LastOperationRequest, LastOperation]
LastBindingOperationHandler: TypeAlias = _Handler[LastBindingOperationRequest, LastOperation]

ProvisionSteps: TypeAlias = _Steps[ProvisionRequest, Provisioned | None]
UpdateSteps: TypeAlias = _Steps[UpdateRequest, Updated | None]
DeprovisionSteps: TypeAlias = _Steps[DeprovisionRequest, Deprovisioned | None]
BindSteps: TypeAlias = _Steps[BindRequest, Binding]
UnbindSteps: TypeAlias = _Steps[UnbindRequest, Unbound | None]

_Provision = TypeVar("_Provision", bound=ProvisionHandler)
_Update = TypeVar("_Update", bound=UpdateHandler)
_Deprovision = TypeVar("_Deprovision", bound=DeprovisionHandler)
_Bind = TypeVar("_Bind", bound=BindHandler)
_Unbind = TypeVar("_Unbind", bound=UnbindHandler)
_ProvisionLater = TypeVar("_ProvisionLater", bound=ProvisionHandler | ProvisionSteps)
_UpdateLater = TypeVar("_UpdateLater", bound=UpdateHandler | UpdateSteps)
_DeprovisionLater = TypeVar("_DeprovisionLater", bound=DeprovisionHandler | DeprovisionSteps)
_BindLater = TypeVar("_BindLater", bound=BindHandler | BindSteps)
_UnbindLater = TypeVar("_UnbindLater", bound=UnbindHandler | UnbindSteps)
_GetInstance = TypeVar("_GetInstance", bound=GetInstanceHandler)
_GetBinding = TypeVar("_GetBinding", bound=GetBindingHandler)
_LastOperation = TypeVar("_LastOperation", bound=LastOperationHandler)
_LastBindingOperation = TypeVar("_LastBindingOperation", bound=LastBindingOperationHandler)


class Handler(NamedTuple):
    """A function that serves an operation, for all offerings and plans or for some.

    `offering` and `plan` are names or ids, as the author wrote them.
    """

    operation: Operation
    function: Callable[[Any], Any]
    offering: str | None = None
    plan: str | None = None
    background: bool = False
    max_attempts: int | None = None

    def __str__(self) -> str:
        return f"the {self.operation} handler {describe_function(self.function)}"


class HandlerGroup:
    """Handlers that belong together, for a broker to include: those of one offering, or of one module.

    Each decorator works bare and with arguments, and returns the function as it was::

        group = HandlerGroup(service="postgres")

        @group.provision
        def provision(request): ...

        @group.provision(plan="cluster")
        def provision_cluster(request): ...

    `service` and `plan` are a name or an id of the catalog's; the handler serves that offering or plan only.
    The most specific handler wins: that of the plan, then of the offering, then of all. A handler takes
    the request alone, and may be ``async def`` (extra `async`). None is plain success, where it is allowed.

    The five that change something also take `background` and `max_attempts`, in a broker with a store. With
    ``background=True`` the platform gets a 202 at once, and the handler is run by the broker's executor: a
    plain function, or a generator whose yields tell the user how far it is::

        @broker.provision(plan="cluster", background=True, max_attempts=20)
        def provision(request):
            yield "Making the volume"
            ...
            return Provisioned(data={"volume": volume.id})

    It may raise :class:`Retry`. It is run again if its attempt was interrupted, so each of its steps must do
    no harm when it is repeated; after `max_attempts` of them, if told, the operation fails.

    Args:
        service: The offering of the handlers that name none themselves.
    """

    def __init__(self, *, service: str | None = None) -> None:
        _check_name("HandlerGroup", "service", service)
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
    @overload
    def provision(
        self,
        /,
        *,
        service: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_ProvisionLater], _ProvisionLater]: ...
    def provision(
        self,
        handler: Any = None,
        /,
        *,
        service: str | None = None,
        plan: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Make an instance: `ProvisionRequest` to `Provisioned`, `Accepted` or None (R-PROV)."""
        return self._register(Operation.PROVISION, handler, service, plan, background, max_attempts)

    @overload
    def update(self, handler: _Update, /) -> _Update: ...
    @overload
    def update(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Update], _Update]: ...
    @overload
    def update(
        self,
        /,
        *,
        service: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_UpdateLater], _UpdateLater]: ...
    def update(
        self,
        handler: Any = None,
        /,
        *,
        service: str | None = None,
        plan: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Change an instance: `UpdateRequest` to `Updated`, `Accepted` or None (R-UPD).

        With `plan`, it serves the updates *to* that plan.
        """
        return self._register(Operation.UPDATE, handler, service, plan, background, max_attempts)

    @overload
    def deprovision(self, handler: _Deprovision, /) -> _Deprovision: ...
    @overload
    def deprovision(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Deprovision], _Deprovision]: ...
    @overload
    def deprovision(
        self,
        /,
        *,
        service: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_DeprovisionLater], _DeprovisionLater]: ...
    def deprovision(
        self,
        handler: Any = None,
        /,
        *,
        service: str | None = None,
        plan: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Delete an instance: `DeprovisionRequest` to `Deprovisioned`, `Accepted` or None (R-DEL)."""
        return self._register(Operation.DEPROVISION, handler, service, plan, background, max_attempts)

    @overload
    def bind(self, handler: _Bind, /) -> _Bind: ...
    @overload
    def bind(self, /, *, service: str | None = ..., plan: str | None = ...) -> Callable[[_Bind], _Bind]: ...
    @overload
    def bind(
        self,
        /,
        *,
        service: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_BindLater], _BindLater]: ...
    def bind(
        self,
        handler: Any = None,
        /,
        *,
        service: str | None = None,
        plan: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Make a binding: `BindRequest` to `Binding` or `Accepted` (R-BIND)."""
        return self._register(Operation.BIND, handler, service, plan, background, max_attempts)

    @overload
    def unbind(self, handler: _Unbind, /) -> _Unbind: ...
    @overload
    def unbind(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Unbind], _Unbind]: ...
    @overload
    def unbind(
        self,
        /,
        *,
        service: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_UnbindLater], _UnbindLater]: ...
    def unbind(
        self,
        handler: Any = None,
        /,
        *,
        service: str | None = None,
        plan: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Delete a binding: `UnbindRequest` to `Unbound`, `Accepted` or None (R-UNB)."""
        return self._register(Operation.UNBIND, handler, service, plan, background, max_attempts)

    @overload
    def get_instance(self, handler: _GetInstance, /) -> _GetInstance: ...
    @overload
    def get_instance(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_GetInstance], _GetInstance]: ...
    def get_instance(
        self, handler: Any = None, /, *, service: str | None = None, plan: str | None = None
    ) -> Any:
        """Tell of an instance: `GetInstanceRequest` to `InstanceDetails` (R-GETI)."""
        return self._register(Operation.GET_INSTANCE, handler, service, plan)

    @overload
    def get_binding(self, handler: _GetBinding, /) -> _GetBinding: ...
    @overload
    def get_binding(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_GetBinding], _GetBinding]: ...
    def get_binding(
        self, handler: Any = None, /, *, service: str | None = None, plan: str | None = None
    ) -> Any:
        """Tell of a binding: `GetBindingRequest` to `Binding` (R-GETB)."""
        return self._register(Operation.GET_BINDING, handler, service, plan)

    @overload
    def last_operation(self, handler: _LastOperation, /) -> _LastOperation: ...
    @overload
    def last_operation(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_LastOperation], _LastOperation]: ...
    def last_operation(
        self, handler: Any = None, /, *, service: str | None = None, plan: str | None = None
    ) -> Any:
        """Tell how the work on an instance goes: `LastOperationRequest` to `LastOperation` (R-LAST)."""
        return self._register(Operation.LAST_OPERATION, handler, service, plan)

    @overload
    def last_binding_operation(self, handler: _LastBindingOperation, /) -> _LastBindingOperation: ...
    @overload
    def last_binding_operation(
        self, /, *, service: str | None = ..., plan: str | None = ...
    ) -> Callable[[_LastBindingOperation], _LastBindingOperation]: ...
    def last_binding_operation(
        self, handler: Any = None, /, *, service: str | None = None, plan: str | None = None
    ) -> Any:
        """Tell how the work on a binding goes: `LastBindingOperationRequest` to `LastOperation` (R-LAST)."""
        return self._register(Operation.LAST_BINDING_OPERATION, handler, service, plan)

    def _register(
        self,
        operation: Operation,
        handler: Any,
        service: str | None,
        plan: str | None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        _check_name(f"@{operation}", "service", service)
        _check_name(f"@{operation}", "plan", plan)
        _check_attempts(f"@{operation}", background, max_attempts)

        def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
            new = Handler(operation, function, service or self._service, plan, background, max_attempts)
            if self._attached:
                raise RuntimeError(
                    f"{new} comes too late: the blueprint is attached to an app already; register every"
                    " handler before"
                )
            self._handlers.append(new)
            return function

        if handler is None:
            return register
        if not callable(handler):
            raise TypeError(
                f"@{operation}({handler!r}): give the plan or the offering by its keyword, plan= or service="
            )
        return register(handler)


def _check_name(where: str, keyword: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise TypeError(
            f"{where}({keyword}=…) takes a name or an id, not a {type(value).__name__}; for several,"
            " register the function once for each"
        )


def _check_attempts(where: str, background: bool, max_attempts: int | None) -> None:
    if max_attempts is None:
        return
    if not background:
        raise TypeError(f"{where}(max_attempts=…) is for a handler with background=True; others run once")
    if not isinstance(max_attempts, int) or max_attempts < 1:
        raise ValueError(f"{where}(max_attempts={max_attempts!r}): give a whole number, at least 1")


class SetupError(ValueError):
    """Handlers and catalog do not fit; :attr:`faults` has every fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n  ".join(["the broker cannot serve its catalog:", *faults]))


def describe_function(function: object) -> str:
    """The name of a function and where it stands."""
    while isinstance(function, functools.partial):
        function = function.func
    if callable(function):
        function = inspect.unwrap(function)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(function, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{name!r}{where}"
