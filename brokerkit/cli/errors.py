"""From what a :class:`~brokerkit.client.client.BrokerClient` raises to what a person or a script is told."""

from __future__ import annotations

from ..client.client import BrokerMistake, BrokerRefused, ClientError, OperationFailed
from .output import CLIError


def cli_error_of(error: ClientError, *hints: str) -> CLIError:
    """What to say of an error.

    Args:
        error: What the client raised.
        hints: What can be done about it.
    """
    if error.mitigation is not None:
        hints = (str(error.mitigation), *hints)
    word: str | None = type(error).__name__
    description: str | None = None
    told = str(error.args[0])
    match error:
        case BrokerRefused():
            word, description = error.error, error.description
        case OperationFailed():
            told_last = error.last_operation.description
            description = None if told_last is None else error.exchange.clean(told_last)
        case BrokerMistake():
            told = f"the service broker returned an invalid response: {'; '.join(error.faults)}"
    return CLIError(told, error=word, description=description, status=error.exchange.status, hints=hints)
