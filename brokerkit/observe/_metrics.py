"""Counters and histograms for the signals of brokers, labelled with names from the catalog and the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

from blinker import NamedSignal
from prometheus_client import CollectorRegistry, Counter, Histogram

from .. import signals
from ..audit import AuditRecord
from ..broker import Broker, last_catalog_of
from ..catalog.models import Catalog
from ..requests import Operation, Request
from ..signals import AttemptEnd
from ._common import offering_and_plan_of
from ._subscriptions import Receiver

NONE = "none"
"""The label value for a missing operation, offering or plan."""

REMOVED = "removed"
"""The label value for all offerings and plans that are no longer in the catalog."""

CHANGES = (
    Operation.PROVISION,
    Operation.UPDATE,
    Operation.DEPROVISION,
    Operation.BIND,
    Operation.UNBIND,
)
"""The operations that change a resource."""

_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""In seconds. Platforms wait up to a minute for a response."""

_WORK_BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 86400.0, 7 * 86400.0)
"""In seconds. Platforms poll an operation for up to a week."""

_SUCCESS_SIGNALS = (
    signals.provisioned,
    signals.updated,
    signals.deprovisioned,
    signals.bound,
    signals.unbound,
)


class Metrics:
    """The counters and histograms of one registry, for all brokers that are measured in it.

    Args:
        registry: The registry for the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        plan_labels = ("operation", "offering", "plan")

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"brokerkit_{name}", help_text, labels, registry=registry)

        def histogram(name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"brokerkit_{name}", help_text, labels, registry=registry, buckets=buckets)

        self._requests = _Meter(
            counter("requests", "Finished requests.", *plan_labels, "status"),
            histogram(
                "request_duration_seconds",
                "Duration of requests, by the class of their status.",
                _REQUEST_BUCKETS,
                *(*plan_labels, "status"),
            ),
            lambda status: f"{status[0]}xx",
        )
        self._outcomes = counter("operations", "Finished changes.", *plan_labels, "outcome")
        self._operations = _Meter(
            self._outcomes,
            histogram(
                "operation_duration_seconds",
                "Duration of changes, from their request to their end.",
                _WORK_BUCKETS,
                *(*plan_labels, "outcome"),
            ),
        )
        self._attempts = _Meter(
            counter("attempts", "Attempts of background work.", *plan_labels, "end"),
            histogram(
                "attempt_duration_seconds",
                "Duration of attempts of background work.",
                _WORK_BUCKETS,
                *(*plan_labels, "end"),
            ),
        )
        self._authentication_failures = counter(
            "authentication_failures", "Requests that the broker refused with 401."
        )

    def initialize(self, catalog: Catalog) -> None:
        """Export the outcomes of each plan from zero on, so that the first failure is an increase too."""
        for operation, names, outcome in product(CHANGES, plan_labels_of(catalog), ("succeeded", "failed")):
            self._outcomes.labels(operation.value, *names, outcome)

    @property
    def receivers(self) -> Mapping[NamedSignal, Receiver]:
        """A receiver for each signal."""
        return {
            signals.request_finished: self._count_request,
            signals.attempt_finished: self._count_attempt,
            signals.authentication_failed: self._count_authentication_failure,
            signals.audited: self._count_audited,
            **dict.fromkeys(_SUCCESS_SIGNALS, self._count_success),
        }

    def _count_request(
        self,
        broker: Broker,
        operation: Operation | None,
        status: int,
        seconds: float,
        request: Request | None,
        operation_id: str | None,
        **_: object,
    ) -> None:
        offering, plan = _labels_of_request(broker, request)
        name = NONE if operation is None else operation.value
        self._requests.count(seconds, name, offering, plan, str(status))
        # `_count_audited` counts the operations of a store, also those that end after their request.
        if status >= 500 and operation_id is None and request is not None and operation in CHANGES:
            self._operations.count(seconds, name, offering, plan, "failed")

    def _count_success(
        self,
        broker: Broker,
        operation: Operation,
        operation_id: str | None,
        request: Request,
        seconds: float,
        **_: object,
    ) -> None:
        if operation_id is None:  # without a store; `_count_audited` counts the others
            self._operations.count(
                seconds, operation.value, *_labels_of_request(broker, request), "succeeded"
            )

    def _count_audited(self, broker: Broker, record: AuditRecord, **_: object) -> None:
        if record.ended_at is not None:
            names = labels_of(last_catalog_of(broker), record.offering_id, record.plan_id)
            seconds = (record.ended_at - record.asked_at).total_seconds()
            self._operations.count(max(0.0, seconds), record.operation.value, *names, record.state)

    def _count_attempt(
        self,
        broker: Broker,
        operation: Operation,
        request: Request,
        end: AttemptEnd,
        seconds: float,
        **_: object,
    ) -> None:
        self._attempts.count(seconds, operation.value, *_labels_of_request(broker, request), end.value)

    def _count_authentication_failure(self, broker: Broker, **_: object) -> None:
        self._authentication_failures.inc()


class _Meter:
    """A counter and a histogram of durations, with a cache: looking up a labelled child is slow.

    Args:
        counter: The counter.
        histogram: The histogram.
        coarsen: Turns the last label of the counter into that of the histogram, which has a series for
            each bucket. Defaults to the same label.
    """

    def __init__(self, counter: Counter, histogram: Histogram, coarsen: Callable[[str], str] = str) -> None:
        self._counter = counter
        self._histogram = histogram
        self._coarsen = coarsen
        self._children: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}

    def count(self, seconds: float, *labels: str) -> None:
        """Count one event and its duration."""
        children = self._children.get(labels)
        if children is None:
            coarse_labels = (*labels[:-1], self._coarsen(labels[-1]))
            children = self._counter.labels(*labels), self._histogram.labels(*coarse_labels)
            self._children[labels] = children
        counter, histogram = children
        counter.inc()
        histogram.observe(seconds)


def _labels_of_request(broker: Broker, request: Request | None) -> tuple[str, str]:
    if request is None:
        return NONE, NONE
    offering, plan = offering_and_plan_of(request)
    return labels_of(last_catalog_of(broker), offering.id if offering else None, plan.id if plan else None)


def labels_of(catalog: Catalog | None, offering_id: str | None, plan_id: str | None) -> tuple[str, str]:
    """Return the labels of an offering and a plan: names from the catalog, `NONE` or `REMOVED`."""
    offering = catalog.offering(offering_id) if catalog and offering_id else None
    match = catalog.find_plan(plan_id) if catalog and plan_id else None
    plan = match[1] if match and match[0] is offering else None
    return (
        offering.name if offering else REMOVED if offering_id else NONE,
        plan.name if plan else REMOVED if plan_id else NONE,
    )


def plan_labels_of(catalog: Catalog) -> list[tuple[str, str]]:
    """Return the labels of each plan in a catalog, with its offering's."""
    return [(offering.name, plan.name) for offering in catalog.services for plan in offering.plans]
