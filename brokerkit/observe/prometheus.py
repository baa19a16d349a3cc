"""Metrics for Prometheus: requests, changes and attempts by the signals, and the contents of the store.

Serve them with one line::

    app.register_blueprint(metrics_blueprint(broker, auth=NoAuth()))

Needs the extra `prometheus`.
"""

from __future__ import annotations

import gzip
import logging
import os
from pathlib import Path
from threading import Lock
from weakref import ReferenceType, WeakKeyDictionary, ref

from flask import Response
from flask.globals import request

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.exposition import choose_encoder, gzip_accepted
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.values import ValueClass
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{__name__} needs the extra 'prometheus': pip install 'osb-brokerkit[prometheus]'", name=error.name
    ) from error

from ..auth import DEFAULT_CHALLENGE, Authenticator, check_authenticator
from ..broker import Broker
from ..errors import BrokerError
from ..server.base_blueprint import BaseBlueprint, json_response
from ._store_metrics import StoreMetrics
from ._subscriptions import subscribe

_logger = logging.getLogger(__name__)

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_UNAUTHENTICATED = {
    "error": "Unauthenticated",
    "description": "Authentication is required; check the credentials that Prometheus uses.",
}
_FAILED = {
    "error": "InternalError",
    "description": "The metrics could not be collected. See the log of the service broker.",
}

_COLLECTORS: WeakKeyDictionary[CollectorRegistry, ReferenceType[StoreMetrics]] = WeakKeyDictionary()
"""The collector in each registry. A registry holds its collector, so both are garbage-collected together."""

_lock = Lock()


def metrics_blueprint(
    broker: Broker,
    auth: Authenticator,
    *,
    registry: CollectorRegistry = REGISTRY,
    stats_interval: float = 10.0,
) -> BaseBlueprint:
    """Measure a broker, and create a blueprint with ``GET /metrics`` to register under any prefix.

    Several calls for one broker and registry measure the broker once.

    Args:
        broker: The broker.
        auth: The authenticator of the endpoint, as for the `Broker`: ``BearerAuth(…)`` or ``BasicAuth(…)``,
            which Prometheus supports, or ``NoAuth()`` if no untrusted client can reach it.
        registry: The registry for the metrics, and the one to export. Defaults to prometheus-client's own.
        stats_interval: The minimum number of seconds between two counts of the store, which read all
            instances and bindings. Only a scrape causes a count. There is also a pause of at least 20 times
            the duration of the latest count. Defaults to 10.0.

    Raises:
        TypeError: `broker` is not a `Broker`, or `auth` is not an authenticator.
        ValueError: `stats_interval` is not positive, ``PROMETHEUS_MULTIPROC_DIR`` is not a folder, or it
            was set after prometheus_client was imported.
    """
    check_authenticator(auth, "metrics_blueprint")
    return _MetricsBlueprint(measure(broker, registry, stats_interval=stats_interval), auth)


def measure(
    broker: Broker, registry: CollectorRegistry = REGISTRY, *, stats_interval: float = 10.0
) -> CollectorRegistry:
    """Measure a broker, and return the registry to export in another way than by the blueprint.

    In a process without a web server::

        prometheus_client.start_http_server(9100, registry=measure(broker))

    Args:
        broker: The broker.
        registry: The registry for the metrics. Defaults to prometheus-client's own.
        stats_interval: The minimum number of seconds between two counts of the store, as for
            :func:`metrics_blueprint`. Defaults to 10.0.

    Returns:
        The registry to export. If ``PROMETHEUS_MULTIPROC_DIR`` is set, it is another registry, which adds up
        the counts of all processes that use the same folder.

    Raises:
        TypeError: `broker` is not a `Broker`.
        ValueError: `stats_interval` is not positive, ``PROMETHEUS_MULTIPROC_DIR`` is not a folder, or it
            was set after prometheus_client was imported.
    """
    if not stats_interval > 0:
        raise ValueError(f"stats_interval={stats_interval!r}: give a number of seconds greater than 0")
    folder = _shared_folder()
    with _lock:
        collector = _collector_in(registry)
        if broker not in collector:
            subscribe(broker, collector.metrics.receivers)
            collector.add(broker, stats_interval)
    if folder is None:
        return registry
    shared_registry = CollectorRegistry()
    shared_registry.register(collector)  # the gauges are the same in all processes: export this process's
    MultiProcessCollector(shared_registry, folder)  # type: ignore[no-untyped-call]
    return shared_registry


def _shared_folder() -> str | None:
    """Return the folder in which several processes save their counts; None if it is not configured."""
    folder = os.environ.get(_FOLDER)
    if folder is None:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"{_FOLDER}: {folder!r} is not a folder; create it, empty, before each start")
    if not ValueClass._multiprocess:
        raise ValueError(
            f"{_FOLDER} was set after prometheus_client was imported, which then does not use it; set it"
            " before the process starts"
        )
    return folder


def _collector_in(registry: CollectorRegistry) -> StoreMetrics:
    reference = _COLLECTORS.get(registry)
    collector = reference() if reference is not None else None
    if collector is None:
        collector = StoreMetrics(registry)
        _COLLECTORS[registry] = ref(collector)
    return collector


class _MetricsBlueprint(BaseBlueprint):
    """A blueprint that exports a registry.

    Args:
        registry: The registry.
        auth: The authenticator.
    """

    def __init__(self, registry: CollectorRegistry, auth: Authenticator) -> None:
        super().__init__("brokerkit-metrics", __name__)
        self._registry = registry
        self._auth = auth
        self.add_read_only_rule("/metrics", "metrics", self._respond)

    def _respond(self) -> Response:
        try:
            try:
                caller = self._auth(request)
            except BrokerError as refusal:
                body = {"error": refusal.error, "description": refusal.description}
                return json_response(refusal.status, body, **dict(refusal.headers))
            if not caller:
                challenge = getattr(self._auth, "challenge", DEFAULT_CHALLENGE)
                return json_response(401, _UNAUTHENTICATED, **{"WWW-Authenticate": challenge})
            return self._metrics()
        except Exception:  # the client must not see the cause
            _logger.exception("Metrics collection failed")
            return json_response(500, _FAILED)

    def _metrics(self) -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(self._registry)
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        if gzip_accepted(request.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)
