"""What others may listen to: blinker signals, sent by the broker after the fact.

In a broker with a store that is when the fact is stored, in whichever process does so. Of work that goes on
after its answer, `provisioned` and its like are sent when it is done, with the request that began it.

Subscribe to one broker or to all::

    @provisioned.connect_via(broker)
    def count(broker, request, result, **extra): ...

A receiver takes the broker and keyword arguments; take ``**extra`` too, for what is added later. A receiver
that raises is logged and changes nothing: an instance that exists must not turn into an error.
"""

from __future__ import annotations

import inspect
import logging

from blinker import NamedSignal, Namespace

_logger = logging.getLogger("brokerkit.signals")
_signals = Namespace()

request_finished = _signals.signal(
    "request-finished",
    doc="""A request that reached the broker was answered, whichever way.

    Args:
        operation: The `Operation`; None if the path or method is none of the API's.
        status: The HTTP status of the answer.
        seconds: How long it took, as a float.
        request: The request that a handler would get; None if it was refused before it could be read.
        result: What was answered; None if it was refused or failed.
        error: The exception that ended it; None if it went well.
    """,
)
provisioned = _signals.signal(
    "provisioned",
    doc="""An instance was made, and was not there before (`exists=True`).

    Args: request (`ProvisionRequest`), result (`Provisioned`).
    """,
)
updated = _signals.signal(
    "updated", doc="An instance was changed. Args: request (`UpdateRequest`), result (`Updated`)."
)
deprovisioned = _signals.signal(
    "deprovisioned",
    doc="An instance was deleted. Args: request (`DeprovisionRequest`), result (`Deprovisioned`).",
)
bound = _signals.signal(
    "bound",
    doc="""A binding was made, and was not there before (`exists=True`).

    Args: request (`BindRequest`), result (`Binding`).
    """,
)
unbound = _signals.signal(
    "unbound", doc="A binding was deleted. Args: request (`UnbindRequest`), result (`Unbound`)."
)
operation_started = _signals.signal(
    "operation-started",
    doc="Work goes on after the answer. Args: request (the one that started it), result (`Accepted`).",
)
operation_progressed = _signals.signal(
    "operation-progressed",
    doc="""Work got further: a background handler said so, or a poll found it.

    Args:
        request: The poll; in a broker with a store, the request that began the work.
        result: A `LastOperation`.
    """,
)
operation_failed = _signals.signal(
    "operation-failed",
    doc="""Work that went on after its answer failed, or was given up. Args as for `operation_progressed`.""",
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
