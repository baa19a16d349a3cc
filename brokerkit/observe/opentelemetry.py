"""Traces with OpenTelemetry: a span for each request and for each attempt of background work.

Add one line where the app is created::

    trace_lifecycle(broker)

No span has parameters, credentials, `data`, a query string, or the message of an exception that is not
meant for platforms. Needs the extra `opentelemetry`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import TypeAlias
from weakref import WeakKeyDictionary

from blinker import NamedSignal

try:
    from opentelemetry import context, trace
    from opentelemetry.propagators import b3  # noqa: F401 - from the second package of the extra
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"{__name__} needs the extra 'opentelemetry': pip install 'osb-brokerkit[opentelemetry]'",
        name=missing.name,
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
from .._internal.text import MESSAGE_LIMIT, truncate
from ..broker import Broker
from ..endpoints import ENDPOINTS
from ..errors import BrokerError
from ..requests import InstanceRequest, Operation, Request, RequestHeaders
from ..signals import AttemptEnd, TraceContext
from ._common import plan_names_of, user_of
from ._propagation import extract, inject
from ._spans import current_span, end_abandoned_spans, enter, leave
from ._subscriptions import Receiver, subscribe

_Attributes: TypeAlias = dict[str, str | int]

_ROUTES = {operation: endpoint.path for operation, endpoint in ENDPOINTS.items()}
_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
"""The methods that may appear in a span's name. Any other is text from the client."""

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
"""The span events and their signals."""

_DESCRIBED = {"osb.operation_progressed", "osb.operation_failed"}

_FAILED = {AttemptEnd.FAILED, AttemptEnd.INTERRUPTED}


def trace_lifecycle(broker: Broker, *, tracer_provider: TracerProvider | None = None) -> None:
    """Record a span for each request and for each attempt of background work.

    A request continues the platform's trace: that of `traceparent` (W3C), or else of `b3`, or else of
    `x-b3-...`. If there is a current span already, as with instrumented Flask, the request is its child.
    Attempts continue the trace of the request that started the operation, on any machine: they are its
    children and linked to it. While OpenTelemetry is not configured, nothing is recorded or changed.

    A second call for the same broker only replaces the provider.

    Args:
        broker: The broker.
        tracer_provider: The provider for the spans. Defaults to OpenTelemetry's global provider, which may
            be set later.

    Raises:
        TypeError: `broker` is not a `Broker`.
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
    """A source of tracers from a provider, or from the global provider as soon as it is set.

    Args:
        provider: The provider; None for the global one.
    """

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = None if isinstance(provider, ProxyTracerProvider) else provider
        self._latest: tuple[TracerProvider, Tracer | None] | None = None

    def current(self) -> Tracer | None:
        """Return the tracer; None if spans are not recorded."""
        provider = self._provider or trace.get_tracer_provider()
        latest = self._latest
        if latest is None or latest[0] is not provider:
            latest = self._latest = provider, _tracer_of(provider)
        return latest[1]


def _tracer_of(provider: TracerProvider) -> Tracer | None:
    if isinstance(provider, ProxyTracerProvider):  # the app has not set its provider yet
        return None
    name = __name__.partition(".")[0]
    tracer = provider.get_tracer(name, sys.modules[name].__version__)
    return None if isinstance(tracer, NoOpTracer) else tracer


class _Subscriber:
    """A set of signal receivers that record the spans of one broker.

    Args:
        tracers: The source of the tracer.
    """

    def __init__(self, tracers: _Tracers) -> None:
        self.tracers = tracers

    def receivers(self) -> Mapping[NamedSignal, Receiver]:
        """Return a receiver for each signal."""
        return {
            signals.request_started: self.request_started,
            signals.request_finished: self.request_finished,
            signals.attempt_started: self.attempt_started,
            signals.attempt_finished: self.attempt_finished,
            **{signal: partial(_add_event, name) for name, signal in _EVENTS.items()},
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
        trace_context: Mapping[str, str],
        **extra: object,
    ) -> TraceContext | None:
        """Start the span of a request and return its trace headers."""
        tracer = self.tracers.current()
        if tracer is None:
            return None
        end_abandoned_spans()  # or such a span would become the parent of this one
        parent_context = context.get_current()
        surrounding = trace.get_current_span(parent_context).get_span_context()
        is_nested = surrounding.is_valid and not surrounding.is_remote
        links = None
        caller = extract(trace_context)
        if caller.is_valid:
            if not surrounding.is_valid:
                parent_context = set_span_in_context(NonRecordingSpan(caller), parent_context)
            elif surrounding.trace_id != caller.trace_id:  # its instrumentation did not read these headers
                links = [Link(caller)]
        is_known_method = method in _METHODS
        route = None if operation is None else _ROUTES[operation]
        method_name = method if is_known_method else "HTTP"
        span = tracer.start_span(
            method_name if route is None else f"{method_name} {route}",
            parent_context,
            SpanKind.INTERNAL if is_nested else SpanKind.SERVER,
            _attributes(
                {
                    "http.request.method": method if is_known_method else "_OTHER",
                    "http.request.method_original": None if is_known_method else method,
                    "http.route": route,
                    "url.scheme": scheme,
                    "url.path": path,
                    "osb.operation": None if operation is None else operation.value,
                    "osb.instance_id": instance_id,
                    "osb.binding_id": binding_id,
                }
            ),
            links,
        )
        return inject(trace_context, enter(span))

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
            attributes = _request_attributes(request, headers, operation_id)
            attributes["http.response.status_code"] = status
            if isinstance(error, BrokerError) and error.error is not None:
                attributes["osb.error"] = error.error
            span.set_attributes(attributes)  # in one call, because each call takes a lock
            if error is not None and status >= 500:  # for a server span, a 4xx is not an error
                _set_error(span, error)
        span.end()

    def attempt_started(
        self,
        broker: Broker,
        *,
        request: InstanceRequest,
        operation: Operation,
        operation_id: str,
        **extra: object,
    ) -> TraceContext | None:
        """Start the span of an attempt, in the trace of its request, and return its trace headers."""
        tracer = self.tracers.current()
        if tracer is None:
            return None
        trace_context = request.headers.trace_context
        cause = extract(trace_context)  # not the current span, which belongs to the thread of the worker
        attributes = _attributes(
            {
                "osb.operation": operation.value,
                "osb.instance_id": request.instance_id,
                "osb.binding_id": getattr(request, "binding_id", None),
                "osb.attempt": getattr(request, "attempt", None),
            }
        )
        span = tracer.start_span(
            f"{operation} attempt",
            set_span_in_context(NonRecordingSpan(cause)),
            SpanKind.CONSUMER,
            attributes | _request_attributes(request, request.headers, operation_id),
            [Link(cause)] if cause.is_valid else None,
        )
        return inject(trace_context, enter(span))

    def attempt_finished(
        self, broker: Broker, *, end: AttemptEnd, error: BaseException | None, **extra: object
    ) -> None:
        """End the span of an attempt."""
        span = leave()
        if span.is_recording():
            span.set_attribute("osb.attempt_end", end.value)
            if error is not None and end in _FAILED:
                _set_error(span, error)
        span.end()


_SUBSCRIBERS: WeakKeyDictionary[Broker, _Subscriber] = WeakKeyDictionary()


def _add_event(
    event: str,
    _broker: Broker,
    *,
    result: object,
    operation: Operation,
    operation_id: str | None,
    **_extra: object,
) -> None:
    """Add an event to the span of the current request or attempt, maybe about an earlier operation."""
    span = current_span()
    if not span.is_recording():
        return
    description = getattr(result, "description", None) if event in _DESCRIBED else None
    attributes = {
        "osb.operation": operation.value,
        "osb.operation_id": operation_id,
        "osb.description": None if description is None else mask_text(description),
    }
    span.add_event(event, _attributes(attributes))


def _request_attributes(
    request: Request | None, headers: RequestHeaders | None, operation_id: str | None
) -> _Attributes:
    """Build the attributes that are known once a request is decoded."""
    offering, plan = plan_names_of(request)
    values: dict[str, str | None] = {
        "osb.operation_id": operation_id,
        "osb.offering": offering,
        "osb.plan": plan,
    }
    if headers is not None:
        identity = headers.originating_identity
        values |= {
            "osb.platform": None if identity is None else identity.platform,
            "osb.platform_user": user_of(identity),
            "osb.username": headers.username,
            "osb.request_identity": headers.request_identity,
            "osb.correlation_id": headers.correlation_id,
        }
    return _attributes(values)


def _attributes(values: Mapping[str, str | int | None]) -> _Attributes:
    """Leave out missing values and truncate long ones: a collector limits the size of a batch of spans."""
    return {
        name: truncate(value, MESSAGE_LIMIT) if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None
    }


def _set_error(span: Span, error: BaseException) -> None:
    """Mark a span as failed. Only a `BrokerError` is described: other messages may hold secrets."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    description = None
    if isinstance(error, BrokerError):
        name = error.error or name
        description = truncate(mask_text(error.description), MESSAGE_LIMIT)
    span.set_attribute("error.type", name)
    span.set_status(Status(StatusCode.ERROR, description))
