"""The choice of the signal that reports a handler's result."""

from __future__ import annotations

from blinker import NamedSignal

from . import signals
from .requests import Operation, Request
from .results import Accepted, LastOperation

_COMPLETED: dict[Operation, NamedSignal] = {
    Operation.PROVISION: signals.provisioned,
    Operation.UPDATE: signals.updated,
    Operation.DEPROVISION: signals.deprovisioned,
    Operation.BIND: signals.bound,
    Operation.UNBIND: signals.unbound,
}
"""The signal that reports a completed operation."""

_POLLED: dict[str, NamedSignal] = {
    "in progress": signals.operation_progressed,
    "failed": signals.operation_failed,
}
"""The signal that reports a state of an asynchronous operation."""


def publish(
    sender: object,
    operation: Operation,
    request: Request,
    result: object,
    *,
    seconds: float,
    operation_id: str | None = None,
) -> None:
    """Send the signal that belongs to a result, if there is one.

    A poll that found a success sends nothing. Only a broker with a store knows which operation succeeded.
    That broker publishes the result of the operation itself.

    Args:
        sender: The broker.
        operation: The requested operation.
        request: The request that started the operation.
        result: The result of the handler.
        seconds: The seconds since the platform requested the operation.
        operation_id: The id of the operation in the store. Defaults to none.
    """
    result_type = type(result)
    if result_type is LastOperation:
        signal = _POLLED.get(result.state)  # type: ignore[attr-defined]
    elif result_type is Accepted:
        signal = signals.operation_started
    else:
        signal = None if getattr(result, "exists", False) else _COMPLETED.get(operation)
    if signal is not None and signal.receivers:
        signals.send(
            signal,
            sender,
            request=request,
            result=result,
            operation=operation,
            operation_id=operation_id,
            seconds=seconds,
        )
