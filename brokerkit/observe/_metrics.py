"""Counters and histograms, which the signals drive; their labels are words of the catalog and the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

from blinker import NamedSignal
from prometheus_client import CollectorRegistry, Counter, Histogram

from .. import signals
from ..audit import AuditRecord
from ..broker import Broker
from ..catalog.models import Catalog
from ..requests import Operation, Request
from ..signals import AttemptEnd
from ._common import plan_names_by_id
from ._subscriptions import Receiver

NONE = "none"
"""The label of what there is none of: the operation of a request that is none of the API's, its plan."""

REMOVED = "removed"
"""The label of all offerings and plans that the catalog has no more."""

CHANGES = (
    Operation.PROVISION,
    Operation.UPDATE,
    Operation.DEPROVISION,
    Operation.BIND,
    Operation.UNBIND,
)
"""The operations that change something."""

_OF_REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets, in seconds: platforms wait for an answer for a minute."""

_OF_WORK = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 86400.0, 7 * 86400.0)
"""Buckets, in seconds: work goes on for as long as a week, which is when platforms give it up."""

_SIGNALS_OF_SUCCESS = (
    signals.provisioned,
    signals.updated,
    signals.deprovisioned,
    signals.bound,
    signals.unbound,
)


class Metrics:
    """What is counted in one registry, of all brokers that are measured in it.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        offered = ("operation", "offering", "plan")

        def counter(name: str, told: str, *labels: str) -> Counter:
            return Counter(f"brokerkit_{name}", told, labels, registry=registry)

        def histogram(name: str, told: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"brokerkit_{name}", told, labels, registry=registry, buckets=buckets)

        self._requests = _Meter(
            counter("requests", "Requests that were answered.", *offered, "status"),
            histogram(
                "request_duration_seconds",
                "How long requests took, by the class of their status.",
                _OF_REQUESTS,
                *(*offered, "status"),
            ),
            lambda status: f"{status[0]}xx",
        )
        self._ends = counter("operations", "Changes that came to an end.", *offered, "outcome")
        self._operations = _Meter(
            self._ends,
            histogram(
                "operation_duration_seconds",
                "How long changes took, from their request to their end.",
                _OF_WORK,
                *(*offered, "outcome"),
            ),
        )
        self._attempts = _Meter(
            counter("attempts", "Attempts of background work.", *offered, "end"),
            histogram(
                "attempt_duration_seconds",
                "How long attempts of background work took.",
                _OF_WORK,
                *(*offered, "end"),
            ),
        )
        self._refused = counter("authentication_failures", "Requests that were refused with 401.")

    def expect(self, catalog: Catalog) -> None:
        """Tell of ends that there were none, where there were none: the first failure is an increase too."""
        for operation, names, outcome in product(CHANGES, plans_of(catalog), ("succeeded", "failed")):
            self._ends.labels(operation.value, *names, outcome)

    @property
    def receivers(self) -> Mapping[NamedSignal, Receiver]:
        """What listens to which signal."""
        return {
            signals.request_finished: self._count_request,
            signals.attempt_finished: self._count_attempt,
            signals.authentication_failed: self._count_refused,
            signals.audited: self._count_audited,
            **dict.fromkeys(_SIGNALS_OF_SUCCESS, self._count_success),
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
        offering, plan = _of_request(broker, request)
        name = NONE if operation is None else operation.value
        self._requests.count(seconds, name, offering, plan, str(status))
        # What the store knows of is told by `audited`, also if it ends later than its request.
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
        if operation_id is None:  # without a store; `audited` tells of the others
            self._operations.count(seconds, operation.value, *_of_request(broker, request), "succeeded")

    def _count_audited(self, broker: Broker, record: AuditRecord, **_: object) -> None:
        if record.ended_at is not None:
            names = labels_of(broker._pipeline.last_catalog, record.offering_id, record.plan_id)
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
        self._attempts.count(seconds, operation.value, *_of_request(broker, request), end.value)

    def _count_refused(self, broker: Broker, **_: object) -> None:
        self._refused.inc()


class _Meter:
    """How many there were, and how long they took. It keeps what it found, as to look it up is slow.

    Args:
        counter: Counts them.
        histogram: Has their durations.
        coarsely: Makes of the last label of the one that of the other, which has a series for each bucket.
    """

    def __init__(self, counter: Counter, histogram: Histogram, coarsely: Callable[[str], str] = str) -> None:
        self._counter = counter
        self._histogram = histogram
        self._coarsely = coarsely
        self._found: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}

    def count(self, seconds: float, *labels: str) -> None:
        """There was one more."""
        found = self._found.get(labels)
        if found is None:
            of_all = (*labels[:-1], self._coarsely(labels[-1]))
            found = self._counter.labels(*labels), self._histogram.labels(*of_all)
            self._found[labels] = found
        counter, histogram = found
        counter.inc()
        histogram.observe(seconds)


def _of_request(broker: Broker, request: Request | None) -> tuple[str, str]:
    if request is None:
        return NONE, NONE
    service, plan = plan_names_by_id(request)
    return labels_of(
        broker._pipeline.last_catalog, service.id if service else None, plan.id if plan else None
    )


def labels_of(catalog: Catalog | None, service_id: str | None, plan_id: str | None) -> tuple[str, str]:
    """The labels of an offering and a plan, which are none but the catalog's names and two words more."""
    service = catalog.offering(service_id) if catalog and service_id else None
    found = catalog.find_plan(plan_id) if catalog and plan_id else None
    plan = found[1] if found and found[0] is service else None
    return (
        service.name if service else REMOVED if service_id else NONE,
        plan.name if plan else REMOVED if plan_id else NONE,
    )


def plans_of(catalog: Catalog) -> list[tuple[str, str]]:
    """The labels of all that a catalog offers."""
    return [(offering.name, plan.name) for offering in catalog.services for plan in offering.plans]
