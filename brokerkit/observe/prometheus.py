"""Metrics for Prometheus: requests, changes and attempts as the signals tell them, and what the store holds.

One line serves them::

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
        f"{__name__} needs {error.name}: pip install 'brokerkit[prometheus]'", name=error.name
    ) from error

from ..auth import DEFAULT_CHALLENGE, Authenticator, check_authenticator
from ..broker import Broker
from ..server.base_blueprint import BaseBlueprint, json_response
from ._store_metrics import StoreMetrics
from ._subscriptions import subscribe

_logger = logging.getLogger("brokerkit")

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_UNAUTHENTICATED = {
    "error": "Unauthenticated",
    "description": "Authentication is required; check the credentials that Prometheus uses.",
}
_FAILED = {
    "error": "InternalError",
    "description": "The metrics could not be collected. The service broker's log says why.",
}

_GAUGES: WeakKeyDictionary[CollectorRegistry, ReferenceType[StoreMetrics]] = WeakKeyDictionary()
"""The registries that have ours; each holds its own, and goes when nobody else holds it."""

_lock = Lock()


def metrics_blueprint(
    broker: Broker,
    auth: Authenticator,
    *,
    registry: CollectorRegistry = REGISTRY,
    census_every: float = 10.0,
) -> BaseBlueprint:
    """Measure a broker, and make a blueprint that tells Prometheus: ``GET /metrics``, under any prefix.

    Args:
        broker: The broker. It is measured once, however often this is called.
        auth: Who may scrape, as for the `Broker`: ``BearerAuth(…)`` or ``BasicAuth(…)``, which Prometheus can
            do; or ``NoAuth()`` where nobody else reaches this.
        registry: Where the metrics are registered, and what is told; prometheus-client's own unless told.
        census_every: After how many seconds what the store holds is counted again, if somebody asks; nor
            before 20 times as long as the last count took. That reads all instances and bindings.

    Raises:
        TypeError: `broker` is no `Broker`, or `auth` no authenticator.
        ValueError: `census_every` is no duration, or ``PROMETHEUS_MULTIPROC_DIR`` no folder,
            or set after prometheus_client was loaded.
    """
    check_authenticator(auth, "metrics_blueprint")
    return _MetricsBlueprint(measure(broker, registry, census_every=census_every), auth)


def measure(
    broker: Broker, registry: CollectorRegistry = REGISTRY, *, census_every: float = 10.0
) -> CollectorRegistry:
    """Measure a broker, for who tells Prometheus in another way.

    In a process that serves nothing else::

        prometheus_client.start_http_server(9100, registry=measure(broker))

    Args:
        broker: As for :func:`metrics_blueprint`, as the rest.
        registry: Where the metrics are registered.
        census_every: How often what the store holds is counted at most, in seconds.

    Returns:
        What is to be told: the registry; or, where ``PROMETHEUS_MULTIPROC_DIR`` is set, one that adds up what
        all processes with that folder counted.

    Raises:
        TypeError: `broker` is no `Broker`.
        ValueError: As for :func:`metrics_blueprint`.
    """
    if not census_every > 0:
        raise ValueError(f"census_every={census_every!r}: give the number of seconds, more than 0")
    folder = _folder()
    with _lock:
        gauges = _gauges_in(registry)
        if broker not in gauges:
            subscribe(broker, gauges.measures.receivers)
            gauges.add(broker, census_every)
    if folder is None:
        return registry
    of_all = CollectorRegistry()
    of_all.register(gauges)  # they are the same in each process, so who is asked tells them
    MultiProcessCollector(of_all, folder)  # type: ignore[no-untyped-call]
    return of_all


def _folder() -> str | None:
    """Where several processes write down what they count; None if each is on its own."""
    folder = os.environ.get(_FOLDER)
    if folder is None:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"{_FOLDER} is {folder!r}, which is no folder; make it, empty, before each start")
    if not ValueClass._multiprocess:
        raise ValueError(
            f"{_FOLDER} was set too late: prometheus_client is loaded, and would write nothing there; set it"
            " before the process starts"
        )
    return folder


def _gauges_in(registry: CollectorRegistry) -> StoreMetrics:
    known = _GAUGES.get(registry)
    gauges = known() if known is not None else None
    if gauges is None:
        gauges = StoreMetrics(registry)
        _GAUGES[registry] = ref(gauges)
    return gauges


class _MetricsBlueprint(BaseBlueprint):
    """The blueprint that tells what is in a registry.

    Args:
        told: The registry.
        auth: Who may ask.
    """

    def __init__(self, told: CollectorRegistry, auth: Authenticator) -> None:
        super().__init__("brokerkit-metrics", __name__)
        self._told = told
        self._auth = auth
        self.add_read_only_rule("/metrics", "metrics", self._answer)

    def _answer(self) -> Response:
        try:
            if not self._auth(request):
                challenge = getattr(self._auth, "challenge", DEFAULT_CHALLENGE)
                return json_response(401, _UNAUTHENTICATED, **{"WWW-Authenticate": challenge})
            return self._metrics()
        except Exception:  # who asks is not to be told what went wrong
            _logger.exception("the metrics could not be collected")
            return json_response(500, _FAILED)

    def _metrics(self) -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(self._told)
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        if gzip_accepted(request.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)
