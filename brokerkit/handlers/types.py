"""The types of handler functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TypeAlias, TypeVar

from ..requests import (
    BindRequest,
    DeprovisionRequest,
    GetBindingRequest,
    GetInstanceRequest,
    LastBindingOperationRequest,
    LastOperationRequest,
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
