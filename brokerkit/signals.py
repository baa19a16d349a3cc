"""The blinker signals that a broker sends.

A broker with a store sends a signal once the event is stored, in the process that stored it. For an
asynchronous operation, `provisioned`, `updated`, `deprovisioned`, `bound` and `unbound` are sent at its end,
with the request that started it.

Subscribe to one broker or to all brokers::

    @provisioned.connect_via(broker)
    def count(broker, request, result, seconds, **extra): ...

A receiver takes the broker and keyword arguments. Accept ``**extra`` too, as later releases may add
arguments. An exception of a receiver is logged and does not change the response. Receivers are called
synchronously, so run slow work, such as a request to another server, in a separate thread.
"""

from __future__ import annotations

import inspect
import logging
from enum import StrEnum

from blinker import NamedSignal, Namespace

_logger = logging.getLogger(__name__)
_signals = Namespace()


class TraceContext(dict[str, str]):
    """The trace headers that a tracer's receiver returns for a request or an attempt.

    A receiver of `request_started` or `attempt_started` may return it, to replace
    `request.headers.trace_context`. The names of the headers are in lower case.
    """


request_started = _signals.signal(
    "request-started",
    doc="""Sent when a request reaches the broker, before its authentication.

    Args:
        operation: The `Operation`; None if the path or method is not part of the API.
        method: The HTTP method.
        scheme: The scheme of the URL, ``"http"`` or ``"https"``.
        path: The path as Flask has it, with the ids.
        instance_id: The instance in the path; None if there is none.
        binding_id: The binding in the path; None if there is none.
        trace_context: The platform's trace headers, read-only: see `RequestHeaders`. A receiver may return a
            `TraceContext` to replace them, in the request and in the background work that it starts.
    """,
)
request_finished = _signals.signal(
    "request-finished",
    doc="""Sent when the response to a request is complete, whether it succeeded or not.

    Args:
        operation: The `Operation`; None if the path or method is not part of the API.
        status: The HTTP status of the response.
        seconds: The duration in seconds, as a float.
        instance_id: The instance in the path; None if there is none.
        binding_id: The binding in the path; None if there is none.
        headers: The decoded `RequestHeaders`; None if the request was refused before they were read.
        request: The decoded request; None if it was refused before it was decoded.
        result: The result of the request; None if it was refused or failed.
        error: The exception that ended the request; None if it succeeded.
        operation_id: The id of the operation in the store that it started or polled; None if there is none.
    """,
)

_OPERATION_ARGS = """
    Args:
        request: The request that started the operation{request}.
        result: {result}.
        operation: The requested `Operation`.
        operation_id: The id of the operation in the store; None in a broker without a store.
        seconds: The seconds since the operation was requested, as a float{seconds}.
    """


def _operation_signal(
    name: str, summary: str, *, result: str, request: str = "", seconds: str = ""
) -> NamedSignal:
    arguments = _OPERATION_ARGS.format(result=result, request=request, seconds=seconds)
    return _signals.signal(name, doc=f"{summary}\n{arguments}")


provisioned = _operation_signal(
    "provisioned",
    "Sent when an instance was created. Not sent for `exists=True`.",
    result="A `Provisioned`",
)
updated = _operation_signal("updated", "Sent when an instance was updated.", result="An `Updated`")
deprovisioned = _operation_signal(
    "deprovisioned", "Sent when an instance was deleted.", result="A `Deprovisioned`"
)
bound = _operation_signal(
    "bound", "Sent when a binding was created. Not sent for `exists=True`.", result="A `Binding`"
)
unbound = _operation_signal("unbound", "Sent when a binding was deleted.", result="An `Unbound`")
operation_started = _operation_signal(
    "operation-started", "Sent when an asynchronous operation was accepted.", result="An `Accepted`"
)

_POLL_ARGS = {
    "result": "A `LastOperation`",
    "request": "; in a broker without a store, the poll",
    "seconds": "; for a poll in a broker without a store, the duration of its handler",
}
operation_progressed = _operation_signal(
    "operation-progressed",
    "Sent when a background handler reports progress, or a poll finds the operation in progress.",
    **_POLL_ARGS,
)
operation_failed = _operation_signal(
    "operation-failed", "Sent when an asynchronous operation failed or was cancelled.", **_POLL_ARGS
)


class AttemptEnd(StrEnum):
    """The end of an attempt of a background handler."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ACCEPTED = "accepted"  # the handler returned `Accepted`: the operation continues and is polled
    RETRIED = "retried"  # the handler raised `Retry`: another attempt follows
    REQUEUED = "requeued"  # this process is shutting down; another process continues
    CANCELLED = "cancelled"  # the operation ended without it: cancelled, expired or recovered elsewhere
    INTERRUPTED = "interrupted"  # by another cause; the operation is recovered when the lease expires


attempt_started = _signals.signal(
    "attempt-started",
    doc="""Sent in the thread of an attempt of a background handler, before the handler is called.

    Args:
        request: The request that started the operation, with the `attempt` and the `trace_context`. A
            receiver may return a `TraceContext` to replace the `trace_context` for the handler.
        operation: The requested `Operation`.
        operation_id: The id of the operation in the store.
    """,
)
attempt_finished = _signals.signal(
    "attempt-finished",
    doc="""Sent when an attempt of a background handler has ended, in the thread of the attempt.

    Args:
        request: The same as for `attempt_started`.
        operation: The same as for `attempt_started`.
        operation_id: The same as for `attempt_started`.
        end: The end of the attempt, an `AttemptEnd`.
        seconds: The duration in seconds, as a float.
        error: The exception that ended the attempt; None if it succeeded.
    """,
)
audited = _signals.signal(
    "audited",
    doc="""Sent when a change was accepted or has ended, only by a broker with a store.

    A synchronous operation is reported at its end, an asynchronous operation at its start and its end. An
    operation that an operator retries is reported again at its new end, with a higher `attempt`. Of all
    records with the same `operation_id`, the last one counts.

    The process that wrote to the store sends it. If that process is killed in between, the signal is lost,
    but `flask broker audit` still shows the record.

    Args:
        record: The `AuditRecord`.
    """,
)
authentication_failed = _signals.signal(
    "authentication-failed",
    doc="""Sent when a request was refused with 401.

    Args:
        method: The HTTP method.
        path: The path as Flask has it.
        remote_addr: The address of the caller. The credentials are never sent.
    """,
)


def send(signal: NamedSignal, sender: object, **facts: object) -> TraceContext | None:
    """Send a signal to each of its receivers. An exception of one receiver is logged.

    Args:
        signal: The signal.
        sender: The broker.
        **facts: The arguments of the receivers.

    Returns:
        The `TraceContext` that a receiver returned, the last one of several; None if there is none.
    """
    if not signal.receivers or signal.is_muted:
        return None
    trace_context = None
    for receiver in signal.receivers_for(sender):
        try:
            returned = receiver(sender, **facts)
            if inspect.iscoroutine(returned):
                returned.close()
                raise TypeError("async receivers are not supported; connect a plain function")
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException:
            _logger.exception("A receiver of the signal %r failed; the response is unchanged", signal.name)
        else:
            if isinstance(returned, TraceContext):
                trace_context = returned
    return trace_context
