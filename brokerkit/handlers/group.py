"""Handlers and groups of handlers, with the decorators that register them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, overload

from ..requests import Operation
from .types import (
    BindHandler,
    BindSteps,
    DeprovisionHandler,
    DeprovisionSteps,
    GetBindingHandler,
    GetInstanceHandler,
    LastBindingOperationHandler,
    LastOperationHandler,
    ProvisionHandler,
    ProvisionSteps,
    UnbindHandler,
    UnbindSteps,
    UpdateHandler,
    UpdateSteps,
)

_Provision = TypeVar("_Provision", bound=ProvisionHandler)
_Update = TypeVar("_Update", bound=UpdateHandler)
_Deprovision = TypeVar("_Deprovision", bound=DeprovisionHandler)
_Bind = TypeVar("_Bind", bound=BindHandler)
_Unbind = TypeVar("_Unbind", bound=UnbindHandler)
_ProvisionBackground = TypeVar("_ProvisionBackground", bound=ProvisionHandler | ProvisionSteps)
_UpdateBackground = TypeVar("_UpdateBackground", bound=UpdateHandler | UpdateSteps)
_DeprovisionBackground = TypeVar("_DeprovisionBackground", bound=DeprovisionHandler | DeprovisionSteps)
_BindBackground = TypeVar("_BindBackground", bound=BindHandler | BindSteps)
_UnbindBackground = TypeVar("_UnbindBackground", bound=UnbindHandler | UnbindSteps)
_GetInstance = TypeVar("_GetInstance", bound=GetInstanceHandler)
_GetBinding = TypeVar("_GetBinding", bound=GetBindingHandler)
_LastOperation = TypeVar("_LastOperation", bound=LastOperationHandler)
_LastBindingOperation = TypeVar("_LastBindingOperation", bound=LastBindingOperationHandler)


class Handler(NamedTuple):
    """A function that serves an operation for some or all offerings and plans.

    `offering` and `plan` are the names or ids that the decorator received. None means all.
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
    """A group of handlers that a broker can include, such as those of one offering or one module.

    Each decorator works with and without arguments, and returns the function unchanged::

        group = HandlerGroup(offering="postgres")

        @group.provision
        def provision(request): ...

        @group.provision(plan="cluster")
        def provision_cluster(request): ...

    `offering` and `plan` are names or ids from the catalog. They limit a handler to that offering or plan.
    The most specific handler serves a request: first a handler for the plan, then one for the offering, then
    one for all plans. `service=`, the word of the API, is an alias of `offering=`. Passing both raises a
    TypeError.

    A handler takes the request as its only argument, and may be ``async def`` (extra `async`). Returning None
    means success, if the decorator allows it.

    The five decorators for changes also take `background` and `max_attempts`, in a broker with a store. With
    ``background=True``, the platform gets a 202 immediately, and the broker's executor runs the handler. That
    is a function, or a generator whose yields report the progress to the user::

        @broker.provision(plan="cluster", background=True, max_attempts=20)
        def provision(request):
            yield "Creating the volume"
            ...
            return Provisioned(data={"volume": volume.id})

    A background handler may raise :class:`Retry`. An interrupted handler runs again from the beginning,
    so each step must be idempotent. The operation fails after `max_attempts` attempts, which defaults to no
    limit. An attempt that was handed over to another process at a `yield`, or that ended before the handler
    was called, does not count. `request.attempt` counts all attempts.

    Args:
        offering: The offering of handlers that are registered without one. Defaults to all offerings.
    """

    @overload
    def __init__(self, *, offering: str | None = ...) -> None: ...
    @overload
    def __init__(self, *, service: str | None) -> None: ...
    def __init__(self, *, offering: str | None = None, service: str | None = None) -> None:
        self._offering = _check_offering("HandlerGroup", offering, service)
        self._handlers: list[Handler] = []
        self._attached = False

    @property
    def handlers(self) -> Sequence[Handler]:
        """The registered handlers, in order."""
        return tuple(self._handlers)

    @overload
    def provision(self, handler: _Provision, /) -> _Provision: ...
    @overload
    def provision(
        self, /, *, offering: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Provision], _Provision]: ...
    @overload
    def provision(
        self, /, *, service: str | None, plan: str | None = ...
    ) -> Callable[[_Provision], _Provision]: ...
    @overload
    def provision(
        self,
        /,
        *,
        offering: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_ProvisionBackground], _ProvisionBackground]: ...
    @overload
    def provision(
        self,
        /,
        *,
        service: str | None,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_ProvisionBackground], _ProvisionBackground]: ...
    def provision(
        self,
        handler: Any = None,
        /,
        *,
        offering: str | None = None,
        plan: str | None = None,
        service: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Register a provision handler: `ProvisionRequest` to `Provisioned`, `Accepted` or None (R-PROV)."""
        return self._register(Operation.PROVISION, handler, offering, plan, service, background, max_attempts)

    @overload
    def update(self, handler: _Update, /) -> _Update: ...
    @overload
    def update(
        self, /, *, offering: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Update], _Update]: ...
    @overload
    def update(self, /, *, service: str | None, plan: str | None = ...) -> Callable[[_Update], _Update]: ...
    @overload
    def update(
        self,
        /,
        *,
        offering: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_UpdateBackground], _UpdateBackground]: ...
    @overload
    def update(
        self,
        /,
        *,
        service: str | None,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_UpdateBackground], _UpdateBackground]: ...
    def update(
        self,
        handler: Any = None,
        /,
        *,
        offering: str | None = None,
        plan: str | None = None,
        service: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Register an update handler: `UpdateRequest` to `Updated`, `Accepted` or None (R-UPD).

        With `plan`, the handler serves updates *to* that plan.
        """
        return self._register(Operation.UPDATE, handler, offering, plan, service, background, max_attempts)

    @overload
    def deprovision(self, handler: _Deprovision, /) -> _Deprovision: ...
    @overload
    def deprovision(
        self, /, *, offering: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Deprovision], _Deprovision]: ...
    @overload
    def deprovision(
        self, /, *, service: str | None, plan: str | None = ...
    ) -> Callable[[_Deprovision], _Deprovision]: ...
    @overload
    def deprovision(
        self,
        /,
        *,
        offering: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_DeprovisionBackground], _DeprovisionBackground]: ...
    @overload
    def deprovision(
        self,
        /,
        *,
        service: str | None,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_DeprovisionBackground], _DeprovisionBackground]: ...
    def deprovision(
        self,
        handler: Any = None,
        /,
        *,
        offering: str | None = None,
        plan: str | None = None,
        service: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Register a deprovision handler (R-DEL).

        It takes a `DeprovisionRequest` and returns `Deprovisioned`, `Accepted` or None.
        """
        return self._register(
            Operation.DEPROVISION, handler, offering, plan, service, background, max_attempts
        )

    @overload
    def bind(self, handler: _Bind, /) -> _Bind: ...
    @overload
    def bind(self, /, *, offering: str | None = ..., plan: str | None = ...) -> Callable[[_Bind], _Bind]: ...
    @overload
    def bind(self, /, *, service: str | None, plan: str | None = ...) -> Callable[[_Bind], _Bind]: ...
    @overload
    def bind(
        self,
        /,
        *,
        offering: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_BindBackground], _BindBackground]: ...
    @overload
    def bind(
        self,
        /,
        *,
        service: str | None,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_BindBackground], _BindBackground]: ...
    def bind(
        self,
        handler: Any = None,
        /,
        *,
        offering: str | None = None,
        plan: str | None = None,
        service: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Register a bind handler: `BindRequest` to `Binding` or `Accepted` (R-BIND)."""
        return self._register(Operation.BIND, handler, offering, plan, service, background, max_attempts)

    @overload
    def unbind(self, handler: _Unbind, /) -> _Unbind: ...
    @overload
    def unbind(
        self, /, *, offering: str | None = ..., plan: str | None = ...
    ) -> Callable[[_Unbind], _Unbind]: ...
    @overload
    def unbind(self, /, *, service: str | None, plan: str | None = ...) -> Callable[[_Unbind], _Unbind]: ...
    @overload
    def unbind(
        self,
        /,
        *,
        offering: str | None = ...,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_UnbindBackground], _UnbindBackground]: ...
    @overload
    def unbind(
        self,
        /,
        *,
        service: str | None,
        plan: str | None = ...,
        background: Literal[True],
        max_attempts: int | None = ...,
    ) -> Callable[[_UnbindBackground], _UnbindBackground]: ...
    def unbind(
        self,
        handler: Any = None,
        /,
        *,
        offering: str | None = None,
        plan: str | None = None,
        service: str | None = None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        """Register an unbind handler: `UnbindRequest` to `Unbound`, `Accepted` or None (R-UNB)."""
        return self._register(Operation.UNBIND, handler, offering, plan, service, background, max_attempts)

    @overload
    def get_instance(self, handler: _GetInstance, /) -> _GetInstance: ...
    @overload
    def get_instance(
        self, /, *, offering: str | None = ..., plan: str | None = ...
    ) -> Callable[[_GetInstance], _GetInstance]: ...
    @overload
    def get_instance(
        self, /, *, service: str | None, plan: str | None = ...
    ) -> Callable[[_GetInstance], _GetInstance]: ...
    def get_instance(
        self,
        handler: Any = None,
        /,
        *,
        offering: str | None = None,
        plan: str | None = None,
        service: str | None = None,
    ) -> Any:
        """Register a handler that fetches instances: `GetInstanceRequest` to `InstanceDetails` (R-GETI)."""
        return self._register(Operation.GET_INSTANCE, handler, offering, plan, service)

    @overload
    def get_binding(self, handler: _GetBinding, /) -> _GetBinding: ...
    @overload
    def get_binding(
        self, /, *, offering: str | None = ..., plan: str | None = ...
    ) -> Callable[[_GetBinding], _GetBinding]: ...
    @overload
    def get_binding(
        self, /, *, service: str | None, plan: str | None = ...
    ) -> Callable[[_GetBinding], _GetBinding]: ...
    def get_binding(
        self,
        handler: Any = None,
        /,
        *,
        offering: str | None = None,
        plan: str | None = None,
        service: str | None = None,
    ) -> Any:
        """Register a handler that fetches bindings: `GetBindingRequest` to `Binding` (R-GETB)."""
        return self._register(Operation.GET_BINDING, handler, offering, plan, service)

    @overload
    def last_operation(self, handler: _LastOperation, /) -> _LastOperation: ...
    @overload
    def last_operation(
        self, /, *, offering: str | None = ..., plan: str | None = ...
    ) -> Callable[[_LastOperation], _LastOperation]: ...
    @overload
    def last_operation(
        self, /, *, service: str | None, plan: str | None = ...
    ) -> Callable[[_LastOperation], _LastOperation]: ...
    def last_operation(
        self,
        handler: Any = None,
        /,
        *,
        offering: str | None = None,
        plan: str | None = None,
        service: str | None = None,
    ) -> Any:
        """Register a handler for polls of instances: `LastOperationRequest` to `LastOperation` (R-LAST)."""
        return self._register(Operation.LAST_OPERATION, handler, offering, plan, service)

    @overload
    def last_binding_operation(self, handler: _LastBindingOperation, /) -> _LastBindingOperation: ...
    @overload
    def last_binding_operation(
        self, /, *, offering: str | None = ..., plan: str | None = ...
    ) -> Callable[[_LastBindingOperation], _LastBindingOperation]: ...
    @overload
    def last_binding_operation(
        self, /, *, service: str | None, plan: str | None = ...
    ) -> Callable[[_LastBindingOperation], _LastBindingOperation]: ...
    def last_binding_operation(
        self,
        handler: Any = None,
        /,
        *,
        offering: str | None = None,
        plan: str | None = None,
        service: str | None = None,
    ) -> Any:
        """Register a handler for polls of bindings (R-LAST).

        It takes a `LastBindingOperationRequest` and returns a `LastOperation`.
        """
        return self._register(Operation.LAST_BINDING_OPERATION, handler, offering, plan, service)

    def _register(
        self,
        operation: Operation,
        handler: Any,
        offering: str | None,
        plan: str | None,
        service: str | None,
        background: bool = False,
        max_attempts: int | None = None,
    ) -> Any:
        offering = _check_offering(f"@{operation}", offering, service)
        _check_name(f"@{operation}", "plan", plan)
        _check_attempts(f"@{operation}", background, max_attempts)

        def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
            new = Handler(operation, function, offering or self._offering, plan, background, max_attempts)
            if self._attached:
                raise RuntimeError(
                    f"{new} is registered too late: the blueprint is already registered on an app; register"
                    " every handler before that"
                )
            self._handlers.append(new)
            return function

        if handler is None:
            return register
        if not callable(handler):
            raise TypeError(
                f"@{operation}({handler!r}): pass the offering or the plan by keyword, offering= or plan="
            )
        return register(handler)


def _check_offering(where: str, offering: object, service: object) -> Any:
    """Check the arguments `offering` and `service`, and return the value of the given one."""
    if offering is not None and service is not None:
        raise TypeError(f"{where}: offering= and service= are two names of one argument; pass only offering=")
    keyword, value = ("offering", offering) if service is None else ("service", service)
    _check_name(where, keyword, value)
    return value


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
        raise TypeError(f"{where}(max_attempts=…) needs background=True; other handlers run once")
    if not isinstance(max_attempts, int) or max_attempts < 1:
        raise ValueError(f"{where}(max_attempts={max_attempts!r}): pass a whole number, at least 1")


class SetupError(ValueError):
    """A mismatch between handlers and catalog; :attr:`faults` has a message for each fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n  ".join(["the broker cannot serve its catalog:", *faults]))


def describe_function(function: object) -> str:
    """Return the name of a function with its file and line."""
    while isinstance(function, functools.partial):
        function = function.func
    if callable(function):
        function = inspect.unwrap(function)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(function, "__code__", None)
    location = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{name!r}{location}"
