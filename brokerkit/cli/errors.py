"""Conversion of the errors of :class:`~brokerkit.client.client.BrokerClient` to errors of the command."""

from __future__ import annotations

from ..client.client import BrokerMistake, BrokerRefused, ClientError, OperationFailed
from .output import CLIError


def cli_error_of(error: ClientError, *hints: str) -> CLIError:
    """Build the command's error for an error of the client.

    Args:
        error: The error of the client.
        hints: Sentences that say what to do, one per line.
    """
    if error.mitigation is not None:
        hints = (str(error.mitigation), *hints)
    code: str | None = type(error).__name__
    description: str | None = None
    message = str(error.args[0])
    match error:
        case BrokerRefused():
            code, description = error.error, error.description
        case OperationFailed():
            cause = error.last_operation.description
            description = None if cause is None else error.exchange.clean(cause)
        case BrokerMistake():
            message = f"the service broker returned an invalid response: {'; '.join(error.faults)}"
    return CLIError(message, error=code, description=description, status=error.exchange.status, hints=hints)
