"""What the stores of brokers hold, for whoever scrapes: counted now and then, by one thread."""

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
from ..broker import Broker
from ..catalog.models import Catalog
from ..stats import Count, StoreStats
from ..store.errors import StoreUnavailable
from ._metrics import CHANGES, Metrics, labels_of, plans_of

if TYPE_CHECKING:
    from ..store.store import Store

_logger = logging.getLogger("brokerkit")

_PATIENCE = 0.75
"""For how many seconds a scrape waits for the database."""

_REST = 20
"""So many times as long as a count took is none made: it costs a 20th of what the database can do at most."""

_STATES = ("creating", "ready", "failed")

_Values: TypeAlias = dict[tuple[str, ...], float]


class StoreMetrics(Collector):
    """The gauges of all brokers that are measured in a registry. It lives as long as that.

    Args:
        registry: Where they are registered, and what is counted after them: each plan of the catalog is
            expected in time for the scrape that asks.

    Attributes:
        measures: What is counted.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(self)
        self.measures = Metrics(registry)
        self._watches: WeakKeyDictionary[Broker, _Watch | None] = WeakKeyDictionary()

    def __contains__(self, broker: Broker) -> bool:
        return broker in self._watches

    def add(self, broker: Broker, every: float) -> None:
        """Tell of a broker too, whose store is counted every so many seconds at most."""
        running = broker._runtime
        self._watches[broker] = None if running is None else _Watch(running.store, every)

    def describe(self) -> Iterable[Metric]:
        """Names alone: who registers this is not to wait for a database."""
        return [_version(), *_families({}, {}).values()]

    def collect(self) -> Iterator[Metric]:
        """Everything, within a second or so, whatever the databases do."""
        yield _version()
        told: dict[str, float] = {}
        counts: dict[str, _Values] = {}
        for broker, watch in list(self._watches.items()):
            catalog = _catalog_of(broker)
            if catalog is not None:
                self.measures.expect(catalog)
            if watch is not None:
                _add(watch, catalog, told, counts)
        for name, family in _families(told, counts).items():
            if name in told or name in counts:
                yield family


class _Watch:
    """Looks at a store, in threads of its own.

    Args:
        store: The store.
        every: How often it is counted at most, in seconds.
    """

    def __init__(self, store: Store, every: float) -> None:
        self._answers = BackgroundCall(
            lambda: _answers(store), name="brokerkit-store", timeout=_PATIENCE, interval=min(1.0, every)
        )
        self._counts = BackgroundCall(
            lambda: _count(store),
            name="brokerkit-stats",
            timeout=_PATIENCE,
            interval=every,
            pause_factor=_REST,
        )

    def facts(self) -> tuple[bool, CallResult[StoreStats] | None]:
        """Can the store be asked, and what did the last count find? Of millions, that goes on meanwhile."""
        self._counts.start()  # so that both are waited for at the same time
        if not self._answers.result():
            return False, None
        return True, self._counts.latest()


def _answers(store: Store) -> bool:
    try:
        return store.version is not None
    except StoreUnavailable:  # which is in the log
        return False


def _count(store: Store) -> StoreStats | None:
    try:
        return store.stats()
    except StoreUnavailable:
        return None


def _catalog_of(broker: Broker) -> Catalog | None:
    try:
        return broker.catalog
    except Exception:
        _logger.exception("what the store holds is not told, as the catalog is not known")
        return None


def _add(watch: _Watch, catalog: Catalog | None, told: dict[str, float], counts: dict[str, _Values]) -> None:
    """Add what is known of a broker's store to what is known of others."""
    answers, look = watch.facts()
    told["store_up"] = min(told.get("store_up", 1.0), float(answers))
    if look is None or look.value is None or catalog is None:
        return
    told["census_age_seconds"] = max(told.get("census_age_seconds", 0.0), look.age)
    told["census_duration_seconds"] = max(told.get("census_duration_seconds", 0.0), look.duration)
    census = look.value
    for name, found in (("instances", census.instances), ("bindings", census.bindings)):
        _add_counts(counts.setdefault(name, defaultdict(float)), found, catalog)
    number = counts.setdefault("operations_in_progress", defaultdict(float))
    oldest = counts.setdefault("oldest_operation_age_seconds", defaultdict(float))
    for operation, plan in product(CHANGES, plans_of(catalog)):
        number[operation.value, *plan] += 0
        oldest[operation.value, *plan] += 0
    for each in census.operations:
        labels = (each.operation.value, *labels_of(catalog, each.offering_id, each.plan_id))
        number[labels] += each.count
        oldest[labels] = max(oldest[labels], each.oldest + look.age)


def _add_counts(values: _Values, found: Iterable[Count], catalog: Catalog) -> None:
    """Nothing is told of each plan of the catalog too: what is absent cannot be drawn, nor alerted on."""
    for plan, state in product(plans_of(catalog), _STATES):
        values[*plan, state] += 0
    for each in found:
        values[*labels_of(catalog, each.offering_id, each.plan_id), each.state] += each.count


_SINGLE = {
    "store_up": "Whether the store can be asked; while it cannot, what it holds is not told.",
    "census_age_seconds": "How long ago what the store holds was counted.",
    "census_duration_seconds": "How long that took.",
}
_OFFERED = ("offering", "plan")
_BY_PLAN: dict[str, tuple[str, tuple[str, ...]]] = {
    "instances": ("Service instances in the store; the same from each process.", (*_OFFERED, "state")),
    "bindings": ("Service bindings in the store; the same from each process.", (*_OFFERED, "state")),
    "operations_in_progress": (
        "Changes in progress in the store; the same from each process.",
        ("operation", *_OFFERED),
    ),
    "oldest_operation_age_seconds": (
        "How long ago the oldest change that is in progress was asked for; 0 if there is none.",
        ("operation", *_OFFERED),
    ),
}


def _families(
    told: Mapping[str, float], counts: Mapping[str, Mapping[tuple[str, ...], float]]
) -> dict[str, Metric]:
    families: dict[str, Metric] = {
        name: GaugeMetricFamily(f"brokerkit_{name}", text, value=told.get(name))
        for name, text in _SINGLE.items()
    }
    for name, (text, labels) in _BY_PLAN.items():
        family = families[name] = GaugeMetricFamily(f"brokerkit_{name}", text, labels=labels)
        for values, value in counts.get(name, {}).items():
            family.add_metric(values, value)
    return families


def _version() -> Metric:
    version = sys.modules[__name__.partition(".")[0]].__version__
    return InfoMetricFamily("brokerkit", "The version of brokerkit.", value={"version": version})
