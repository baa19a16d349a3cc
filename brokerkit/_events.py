"""Which signal tells of a result."""

from __future__ import annotations

from blinker import NamedSignal

from . import signals
from .requests import Operation, Request
from .results import Accepted, LastOperation

_DONE: dict[Operation, NamedSignal] = {
    Operation.PROVISION: signals.provisioned,
    Operation.UPDATE: signals.updated,
    Operation.DEPROVISION: signals.deprovisioned,
    Operation.BIND: signals.bound,
    Operation.UNBIND: signals.unbound,
}
"""What tells that an operation is done."""

_FOUND: dict[str, NamedSignal] = {
    "in progress": signals.operation_progressed,
    "failed": signals.operation_failed,
}
"""What tells how an operation goes that is not done at once."""


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

    Args:
        sender: The broker.
        operation: What was asked.
        request: The request that asked.
        result: The answer of its handler. Of a poll that found a success, only a broker that remembers
            can tell whose it is; it tells the result of that operation itself.
        seconds: How long ago it was asked for.
        operation_id: Its id in the store.
    """
    kind = type(result)
    if kind is LastOperation:
        signal = _FOUND.get(result.state)  # type: ignore[attr-defined]
    elif kind is Accepted:
        signal = signals.operation_started
    else:
        signal = None if getattr(result, "exists", False) else _DONE.get(operation)
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
