"""What others may listen to: blinker signals, sent by the broker after the fact.

In a broker with a store that is when the fact is stored, in whichever process does so. Of work that goes on
after its answer, `provisioned` and its like are sent when it is done, with the request that began it.

Subscribe to one broker or to all::

    @provisioned.connect_via(broker)
    def count(broker, request, result, seconds, **extra): ...

A receiver takes the broker and keyword arguments; take ``**extra`` too, for what is added later. A receiver
that raises is logged and changes nothing: an instance that exists must not turn into an error. It is called
where the work is done, so what takes long, such as a request to another server, belongs into a thread of its
own.
"""

from __future__ import annotations

import inspect
import logging
from enum import StrEnum

from blinker import NamedSignal, Namespace

_logger = logging.getLogger("brokerkit.signals")
_signals = Namespace()

request_started = _signals.signal(
    "request-started",
    doc="""A request reached the broker. It may still be anybody's: who calls is not known yet.

    Args:
        operation: The `Operation`; None if the path or method is none of the API's.
        method: Of HTTP.
        scheme: Of the URL, ``"http"`` or ``"https"``.
        path: As Flask has it, with the ids in it.
        instance_id: The instance in the path; None if there is none.
        binding_id: The binding in the path; None if there is none.
        trace_context: A dict, with what the platform said of its trace: see `RequestHeaders`. What a receiver
            makes of it is what the request has, and what comes of it in the background.
    """,
)
request_finished = _signals.signal(
    "request-finished",
    doc="""A request that reached the broker was answered, whichever way.

    Args:
        operation: The `Operation`; None if the path or method is none of the API's.
        status: The HTTP status of the answer.
        seconds: How long it took, as a float.
        instance_id: The instance in the path; None if there is none.
        binding_id: The binding in the path; None if there is none.
        headers: What its headers say, as `RequestHeaders`; None if it was refused before they were read.
        request: The request that a handler got or would get; None if it was refused before it could be read.
        result: What was answered; None if it was refused or failed.
        error: The exception that ended it; None if it went well.
        operation_id: The operation of the store that it began or asked for; None if there is none.
    """,
)

_OF_OPERATIONS = """
    Args:
        request: The request that asked for it{request}.
        result: {result}.
        operation: The `Operation` that was asked for.
        operation_id: Its id in the store; None in a broker that has none.
        seconds: How long ago it was asked for, as a float{seconds}.
    """


def _of_operation(name: str, told: str, *, result: str, request: str = "", seconds: str = "") -> NamedSignal:
    facts = _OF_OPERATIONS.format(result=result, request=request, seconds=seconds)
    return _signals.signal(name, doc=f"{told}\n{facts}")


provisioned = _of_operation(
    "provisioned", "An instance was made, and was not there before (`exists=True`).", result="A `Provisioned`"
)
updated = _of_operation("updated", "An instance was changed.", result="An `Updated`")
deprovisioned = _of_operation("deprovisioned", "An instance was deleted.", result="A `Deprovisioned`")
bound = _of_operation(
    "bound", "A binding was made, and was not there before (`exists=True`).", result="A `Binding`"
)
unbound = _of_operation("unbound", "A binding was deleted.", result="An `Unbound`")
operation_started = _of_operation(
    "operation-started", "Work goes on after the answer.", result="An `Accepted`"
)

_POLLS = {
    "result": "A `LastOperation`",
    "request": "; in a broker without a store, the poll",
    "seconds": "; of a poll in a broker without a store, how long its handler took",
}
operation_progressed = _of_operation(
    "operation-progressed", "Work got further: a background handler said so, or a poll found it.", **_POLLS
)
operation_failed = _of_operation(
    "operation-failed", "Work that went on after its answer failed, or was given up.", **_POLLS
)


class AttemptEnd(StrEnum):
    """How an attempt of work in the background ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ACCEPTED = "accepted"  # its handler answered `Accepted`: it goes on elsewhere, and is polled
    RETRIED = "retried"  # its handler raised `Retry`: another attempt comes later
    REQUEUED = "requeued"  # this process shuts down, and another one resumes the operation
    CANCELLED = "cancelled"  # the operation was deleted, exceeded its deadline, or was taken over
    INTERRUPTED = "interrupted"  # by something else; it is taken up when its lease has ended


attempt_started = _signals.signal(
    "attempt-started",
    doc="""An attempt of work in the background begins, in this thread.

    Args:
        request: The request that asked for the work; it has the `attempt` and the `trace_context`.
        operation: The `Operation` that was asked for.
        operation_id: Its id in the store.
    """,
)
attempt_finished = _signals.signal(
    "attempt-finished",
    doc="""An attempt of work in the background is through, in the thread that began it.

    Args:
        request: As for `attempt_started`.
        operation: As for `attempt_started`.
        operation_id: As for `attempt_started`.
        end: How it ended, as `AttemptEnd`.
        seconds: How long it took, as a float.
        error: The exception that ended it; None if it went well.
    """,
)
audited = _signals.signal(
    "audited",
    doc="""A change that a platform asked for was accepted, or has ended. Of a broker with a store only.

    It is sent for what `flask broker audit` shows: of a change that is done at once when it has ended, and of
    one that goes on after its answer when it begins and when it has ended. Of one that an operator begins
    once more it is sent again when that has ended, with a greater `attempt`: of the records with the same
    `operation_id` the last one holds. It is sent by the process that wrote to the store; one that is killed
    at that moment tells nobody, so the trail in the store has more.

    Args:
        record: An `AuditRecord`: who, what, when, and how it ended.
    """,
)
authentication_failed = _signals.signal(
    "authentication-failed",
    doc="A request was refused with 401. Args: method, path, remote_addr; never what it tried.",
)


def send(signal: NamedSignal, sender: object, **facts: object) -> None:
    """Send a signal to each of its receivers, whatever the others do. Costs nothing if there are none."""
    if not signal.receivers or signal.is_muted:
        return
    for receiver in signal.receivers_for(sender):
        try:
            outcome = receiver(sender, **facts)
            if inspect.iscoroutine(outcome):
                outcome.close()
                raise TypeError("an async receiver is never run; connect a plain function")
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException:
            _logger.exception(
                "a receiver of the signal %r failed; the answer is not changed by it", signal.name
            )
