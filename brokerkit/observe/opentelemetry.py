"""Traces: a span for each request and for each attempt of work in the background, by OpenTelemetry.

In one line, wherever the app is made::

    trace_lifecycle(broker)

No span ever has parameters, credentials, `data`, a query string, or the message of an exception that no
platform is told of.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias
from weakref import WeakKeyDictionary

from blinker import NamedSignal

try:
    from opentelemetry import context, trace
    from opentelemetry.propagators import b3  # noqa: F401 - of the other package of the extra
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"trace_lifecycle needs {missing.name}: pip install 'brokerkit[opentelemetry]'", name=missing.name
    ) from None

from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    NoOpTracer,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    set_span_in_context,
)

from .. import signals
from .._internal.redaction import mask_text
from ..broker import Broker
from ..endpoints import ENDPOINTS
from ..errors import BrokerError
from ..requests import InstanceRequest, Operation, Request, RequestHeaders
from ..signals import AttemptEnd
from ._common import plan_names_of, truncate, user_of
from ._propagation import read
from ._spans import begin, current_span, leave, leave_unfinished
from ._subscriptions import subscribe

_Attributes: TypeAlias = dict[str, str | int]

_ROUTES = {operation: endpoint.path for operation, endpoint in ENDPOINTS.items()}
_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
"""Others may be anything that somebody sends, and name no span."""

_EVENTS = {
    "osb.provisioned": signals.provisioned,
    "osb.updated": signals.updated,
    "osb.deprovisioned": signals.deprovisioned,
    "osb.bound": signals.bound,
    "osb.unbound": signals.unbound,
    "osb.operation_started": signals.operation_started,
    "osb.operation_progressed": signals.operation_progressed,
    "osb.operation_failed": signals.operation_failed,
}
"""What is told on the span in which it happens."""

_DESCRIBED = {"osb.operation_progressed", "osb.operation_failed"}

_FAILED = {AttemptEnd.FAILED, AttemptEnd.INTERRUPTED}


def trace_lifecycle(broker: Broker, *, tracer_provider: TracerProvider | None = None) -> None:
    """Record a span for each request and for each attempt of work in the background.

    A request goes on with the trace of its platform: that of `traceparent` (W3C), else of `b3`, else of
    `x-b3-…`; where there is a current span already, such as that of an instrumentation of Flask, it is a part
    of that. Attempts go on with the trace of the request that asked for the work, on whichever machine; they
    are its children, and are linked to it. While OpenTelemetry is not configured nothing is recorded, and
    nothing changed.

    Called again for a broker, it changes no more than the provider.

    Args:
        broker: The broker.
        tracer_provider: Where the spans go; unless told, to OpenTelemetry's own, which may be set later.

    Raises:
        TypeError: `broker` is no `Broker`.
    """
    tracers = _Tracers(tracer_provider)
    subscriber = _SUBSCRIBERS.get(broker) if isinstance(broker, Broker) else None
    if subscriber is not None:
        subscriber.tracers = tracers
        return
    subscriber = _Subscriber(tracers)
    subscribe(broker, subscriber.receivers())
    _SUBSCRIBERS[broker] = subscriber


class _Tracers:
    """Gives the tracer of a provider, and of OpenTelemetry's own as soon as there is one.

    Args:
        provider: The provider; None for OpenTelemetry's own.
    """

    def __init__(self, provider: TracerProvider | None) -> None:
        self._given = None if isinstance(provider, ProxyTracerProvider) else provider
        self._found: tuple[TracerProvider, Tracer | None] | None = None

    def find(self) -> Tracer | None:
        """The tracer; None if nothing is to be recorded."""
        provider = self._given or trace.get_tracer_provider()
        found = self._found
        if found is None or found[0] is not provider:
            found = self._found = provider, _tracer_of(provider)
        return found[1]


def _tracer_of(provider: TracerProvider) -> Tracer | None:
    if isinstance(provider, ProxyTracerProvider):  # nobody has configured it yet
        return None
    name = __name__.partition(".")[0]
    tracer = provider.get_tracer(name, sys.modules[name].__version__)
    return None if isinstance(tracer, NoOpTracer) else tracer


class _Subscriber:
    """What is connected to one broker's signals.

    Args:
        tracers: Gives what makes spans.
    """

    def __init__(self, tracers: _Tracers) -> None:
        self.tracers = tracers

    def receivers(self) -> Mapping[NamedSignal, Callable[..., None]]:
        """What to call for which signal."""
        return {
            signals.request_started: self.request_started,
            signals.request_finished: self.request_finished,
            signals.attempt_started: self.attempt_started,
            signals.attempt_finished: self.attempt_finished,
            **{signal: partial(_tell, name) for name, signal in _EVENTS.items()},
        }

    def request_started(
        self,
        broker: Broker,
        *,
        operation: Operation | None,
        method: str,
        scheme: str,
        path: str,
        instance_id: str | None,
        binding_id: str | None,
        trace_context: dict[str, str],
        **extra: object,
    ) -> None:
        """Begin the span of a request."""
        tracer = self.tracers.find()
        if tracer is None:
            return
        leave_unfinished()  # or it would be taken for what is around this
        here = context.get_current()
        around = trace.get_current_span(here).get_span_context()
        is_part = around.is_valid and not around.is_remote
        links = None
        platforms = read(trace_context)
        if platforms.is_valid:
            if not around.is_valid:
                here = set_span_in_context(NonRecordingSpan(platforms), here)
            elif around.trace_id != platforms.trace_id:  # who began it does not know these headers
                links = [Link(platforms)]
        is_known = method in _METHODS
        route = None if operation is None else _ROUTES[operation]
        word = method if is_known else "HTTP"
        begin(
            tracer.start_span(
                word if route is None else f"{word} {route}",
                here,
                SpanKind.INTERNAL if is_part else SpanKind.SERVER,
                _known(
                    {
                        "http.request.method": method if is_known else "_OTHER",
                        "http.request.method_original": None if is_known else method,
                        "http.route": route,
                        "url.scheme": scheme,
                        "url.path": path,
                        "osb.operation": None if operation is None else operation.value,
                        "osb.instance_id": instance_id,
                        "osb.binding_id": binding_id,
                    }
                ),
                links,
            ),
            trace_context,
        )

    def request_finished(
        self,
        broker: Broker,
        *,
        status: int,
        headers: RequestHeaders | None,
        request: Request | None,
        error: BaseException | None,
        operation_id: str | None,
        **extra: object,
    ) -> None:
        """End the span of a request."""
        span = leave()
        if span.is_recording():
            told = _facts(request, headers, operation_id)
            told["http.response.status_code"] = status
            if isinstance(error, BrokerError) and error.error is not None:
                told["osb.error"] = error.error
            span.set_attributes(told)  # at once, as each call takes a lock
            if error is not None and status >= 500:  # of a server, a refusal is no error
                _fail(span, error)
        span.end()

    def attempt_started(
        self,
        broker: Broker,
        *,
        request: InstanceRequest,
        operation: Operation,
        operation_id: str,
        **extra: object,
    ) -> None:
        """Begin the span of an attempt, as a part of the trace of what asked for it, wherever that was."""
        tracer = self.tracers.find()
        if tracer is None:
            return
        trace_context = request.headers.trace_context
        cause = read(trace_context)  # what is current is about the thread, not about the work
        here = set_span_in_context(NonRecordingSpan(cause))
        attributes = _known(
            {
                "osb.operation": operation.value,
                "osb.instance_id": request.instance_id,
                "osb.binding_id": getattr(request, "binding_id", None),
                "osb.attempt": getattr(request, "attempt", None),
            }
        )
        begin(
            tracer.start_span(
                f"{operation} attempt",
                here,
                SpanKind.CONSUMER,
                attributes | _facts(request, request.headers, operation_id),
                [Link(cause)] if cause.is_valid else None,
            ),
            trace_context,
        )

    def attempt_finished(
        self, broker: Broker, *, end: AttemptEnd, error: BaseException | None, **extra: object
    ) -> None:
        """End the span of an attempt."""
        span = leave()
        if span.is_recording():
            span.set_attribute("osb.attempt_end", end.value)
            if error is not None and end in _FAILED:
                _fail(span, error)
        span.end()


_SUBSCRIBERS: WeakKeyDictionary[Broker, _Subscriber] = WeakKeyDictionary()


# What is told


def _tell(
    event: str,
    _broker: Broker,
    *,
    result: object,
    operation: Operation,
    operation_id: str | None,
    **_extra: object,
) -> None:
    """Tell of what happens in a request or an attempt, which may be about an operation of an earlier one."""
    span = current_span()
    if not span.is_recording():
        return
    said = getattr(result, "description", None) if event in _DESCRIBED else None
    told = {
        "osb.operation": operation.value,
        "osb.operation_id": operation_id,
        "osb.description": None if said is None else mask_text(said),
    }
    span.add_event(event, _known(told))


def _facts(request: Request | None, headers: RequestHeaders | None, operation_id: str | None) -> _Attributes:
    """What is known as soon as a request is read."""
    offering, plan = plan_names_of(request)
    told: dict[str, str | None] = {
        "osb.operation_id": operation_id,
        "osb.offering": offering,
        "osb.plan": plan,
    }
    if headers is not None:
        identity = headers.originating_identity
        told |= {
            "osb.platform": None if identity is None else identity.platform,
            "osb.platform_user": user_of(identity),
            "osb.username": headers.username,
            "osb.request_identity": headers.request_identity,
            "osb.correlation_id": headers.correlation_id,
        }
    return _known(told)


def _known(told: Mapping[str, str | int | None]) -> _Attributes:
    """What there is; no longer than lets a collector take spans by the hundred."""
    return {
        name: truncate(value) if isinstance(value, str) else value
        for name, value in told.items()
        if value is not None
    }


def _fail(span: Span, error: BaseException) -> None:
    """Mark a span as failed, in words that users are told; messages of other errors may hold secrets."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    description = None
    if isinstance(error, BrokerError):
        name = error.error or name
        description = truncate(mask_text(error.description))
    span.set_attribute("error.type", name)
    span.set_status(Status(StatusCode.ERROR, description))
