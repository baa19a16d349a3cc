"""Gauges for the contents of brokers' stores, counted in background threads when a scrape needs it."""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from .._internal.background_call import BackgroundCall, CallResult
from ..broker import Broker, runtime_of
from ..catalog.models import Catalog
from ..stats import Count, StoreStats
from ..store.errors import StoreUnavailable
from ._metrics import CHANGES, Metrics, labels_of, plan_labels_of

if TYPE_CHECKING:
    from ..store.store import Store

_logger = logging.getLogger(__name__)

_TIMEOUT = 0.75
"""Seconds that a scrape waits for the database."""

_PAUSE_FACTOR = 20
"""A pause after each count, as a multiple of its duration: counting takes at most a 20th of the time."""

_STATES = ("creating", "ready", "failed")

_Values: TypeAlias = dict[tuple[str, ...], float]


class StoreMetrics(Collector):
    """A collector of the gauges of all brokers that are measured in one registry.

    It lives as long as the registry.

    Args:
        registry: The registry. The collector registers itself first and its counters after that: it
            initializes the counters of new plans, and the same scrape must export them.

    Attributes:
        metrics: The counters and histograms.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(self)
        self.metrics = Metrics(registry)
        self._readers: WeakKeyDictionary[Broker, _StoreReader | None] = WeakKeyDictionary()

    def __contains__(self, broker: Broker) -> bool:
        return broker in self._readers

    def add(self, broker: Broker, stats_interval: float) -> None:
        """Export the gauges of a broker too.

        Args:
            broker: The broker.
            stats_interval: The minimum number of seconds between two counts of its store.
        """
        runtime = runtime_of(broker)
        self._readers[broker] = None if runtime is None else _StoreReader(runtime.store, stats_interval)

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values: registering the collector must not wait for a database."""
        return [_version(), *_families({}, {}).values()]

    def collect(self) -> Iterator[Metric]:
        """Return all metrics within about a second, also while a database hangs."""
        yield _version()
        values: dict[str, float] = {}
        counts: dict[str, _Values] = {}
        for broker, reader in list(self._readers.items()):
            catalog = _catalog_of(broker)
            if catalog is not None:
                self.metrics.initialize(catalog)
            if reader is not None:
                _add(reader, catalog, values, counts)
        for name, family in _families(values, counts).items():
            if name in values or name in counts:
                yield family


class _StoreReader:
    """A reader of a store's state, in background threads.

    Args:
        store: The store.
        stats_interval: The minimum number of seconds between two counts.
    """

    def __init__(self, store: Store, stats_interval: float) -> None:
        self._availability = BackgroundCall(
            lambda: _is_available(store),
            name="brokerkit-store",
            timeout=_TIMEOUT,
            interval=min(1.0, stats_interval),
        )
        self._stats = BackgroundCall(
            lambda: _stats_of(store),
            name="brokerkit-stats",
            timeout=_TIMEOUT,
            interval=stats_interval,
            pause_factor=_PAUSE_FACTOR,
        )

    def read(self) -> tuple[bool, CallResult[StoreStats] | None]:
        """Return whether the store is available, and its latest count. A long count continues meanwhile."""
        self._stats.start()  # so that both calls run at the same time
        if not self._availability.result():
            return False, None
        return True, self._stats.latest()


def _is_available(store: Store) -> bool:
    try:
        return store.version is not None
    except StoreUnavailable:  # the store has logged it
        return False


def _stats_of(store: Store) -> StoreStats | None:
    try:
        return store.stats()
    except StoreUnavailable:
        return None


def _catalog_of(broker: Broker) -> Catalog | None:
    try:
        return broker.catalog
    except Exception:
        _logger.exception("Cannot export the contents of the store: the catalog function failed")
        return None


def _add(
    reader: _StoreReader, catalog: Catalog | None, values: dict[str, float], counts: dict[str, _Values]
) -> None:
    """Add the state of a broker's store to the values of other brokers."""
    is_available, result = reader.read()
    values["store_up"] = min(values.get("store_up", 1.0), float(is_available))
    if result is None or result.value is None or catalog is None:
        return
    values["stats_age_seconds"] = max(values.get("stats_age_seconds", 0.0), result.age)
    values["stats_duration_seconds"] = max(values.get("stats_duration_seconds", 0.0), result.duration)
    stats = result.value
    for name, resources in (("instances", stats.instances), ("bindings", stats.bindings)):
        _add_counts(counts.setdefault(name, defaultdict(float)), resources, catalog)
    number = counts.setdefault("operations_in_progress", defaultdict(float))
    oldest = counts.setdefault("oldest_operation_age_seconds", defaultdict(float))
    for change, plan in product(CHANGES, plan_labels_of(catalog)):
        number[change.value, *plan] += 0
        oldest[change.value, *plan] += 0
    for in_progress in stats.operations:
        labels = (
            in_progress.operation.value,
            *labels_of(catalog, in_progress.offering_id, in_progress.plan_id),
        )
        number[labels] += in_progress.count
        oldest[labels] = max(oldest[labels], in_progress.oldest + result.age)


def _add_counts(values: _Values, resources: Iterable[Count], catalog: Catalog) -> None:
    """Add the counts, with a zero for each empty plan: an absent series cannot be drawn or alerted on."""
    for plan, state in product(plan_labels_of(catalog), _STATES):
        values[*plan, state] += 0
    for row in resources:
        values[*labels_of(catalog, row.offering_id, row.plan_id), row.state] += row.count


_SINGLE = {
    "store_up": "Whether the store is available. While it is not, its contents are not exported.",
    "stats_age_seconds": "Time since the contents of the store were counted.",
    "stats_duration_seconds": "Duration of the latest count of the store's contents.",
}
_PLAN_LABELS = ("offering", "plan")
_BY_PLAN: dict[str, tuple[str, tuple[str, ...]]] = {
    "instances": ("Service instances in the store; the same from each process.", (*_PLAN_LABELS, "state")),
    "bindings": ("Service bindings in the store; the same from each process.", (*_PLAN_LABELS, "state")),
    "operations_in_progress": (
        "Changes in progress in the store; the same from each process.",
        ("operation", *_PLAN_LABELS),
    ),
    "oldest_operation_age_seconds": (
        "Time since the request of the oldest change in progress; 0 if there is none.",
        ("operation", *_PLAN_LABELS),
    ),
}


def _families(
    values: Mapping[str, float], counts: Mapping[str, Mapping[tuple[str, ...], float]]
) -> dict[str, Metric]:
    families: dict[str, Metric] = {
        name: GaugeMetricFamily(f"brokerkit_{name}", text, value=values.get(name))
        for name, text in _SINGLE.items()
    }
    for name, (text, label_names) in _BY_PLAN.items():
        family = families[name] = GaugeMetricFamily(f"brokerkit_{name}", text, labels=label_names)
        for labels, count in counts.get(name, {}).items():
            family.add_metric(labels, count)
    return families


def _version() -> Metric:
    version = sys.modules[__name__.partition(".")[0]].__version__
    return InfoMetricFamily("brokerkit", "The version of brokerkit.", value={"version": version})
