"""Metrics for Prometheus, read with the parsers of prometheus-client."""

from __future__ import annotations

import gc
import gzip
import os
import signal
import subprocess
import sys
import threading
import urllib.request
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from flask import Flask, Request
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import make_url

from brokerkit import (
    Accepted,
    BasicAuth,
    BearerAuth,
    Broker,
    Catalog,
    LastOperation,
    NoAuth,
    Provisioned,
    QuotaExceeded,
    Retry,
    ServicePlan,
)
from brokerkit.auth import Authenticator
from brokerkit.observe import _store_metrics as _gauges
from brokerkit.observe.prometheus import measure, metrics_blueprint

from ..support.broker import (
    BINDING,
    DELETE_QUERY,
    IDS,
    INSTANCE,
    PROVISION,
    Recorder,
    basic,
    make_app,
    make_broker,
    make_offering,
)
from ..support.celery_worker import CeleryWorker
from ..support.postgres import Server, fresh_database
from ..support.servers import free_port, gunicorn
from ..support.stateful import CAN_POLL, CHANGING, KEY, Gate, Platform, Serve, poll_until_done, until

TEXT = "text/plain"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PARSERS: dict[str, Callable[[str], Iterable[Metric]]] = {
    TEXT: text_string_to_metric_families,
    OPENMETRICS: openmetrics.text_string_to_metric_families,
}
SMALL = {"offering": "db", "plan": "small"}


class Scrape:
    """The metrics of one scrape, read with a parser of prometheus-client."""

    def __init__(self, text: str, accept: str = TEXT) -> None:
        self.text = text
        self.samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in PARSERS[accept](text):
            for sample in family.samples:
                self.samples.setdefault(sample.name, []).append((dict(sample.labels), sample.value))

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of all series with these labels; None if there are none."""
        results = [
            value for has, value in self.samples.get(f"brokerkit_{name}", ()) if labels.items() <= has.items()
        ]
        return sum(results) if results else None

    def labels(self, name: str, label: str) -> set[str]:
        """All values of a label."""
        return {has[label] for has, _ in self.samples.get(f"brokerkit_{name}", ())}


def scrape(app: Flask, accept: str = TEXT, path: str = "/metrics", **headers: str) -> Scrape:
    answer = app.test_client().get(path, headers={"Accept": accept, **headers})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"].startswith(accept.partition(";")[0])
    return Scrape(answer.text, accept)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    created = Serve(f"sqlite:///{tmp_path / 'broker.db'}")
    yield created
    created.stop()


Measured = Callable[..., Platform]


@pytest.fixture
def measured(serve: Serve, registry: CollectorRegistry, recorder: Recorder) -> Measured:
    """Makes a platform in front of a broker with a store, which is measured; its settings are `Serve`'s."""

    def make(**settings: Any) -> Platform:
        platform = serve(recorder, **settings)
        blueprint = metrics_blueprint(serve.brokers[-1], NoAuth(), registry=registry, stats_interval=0.01)
        platform.app.register_blueprint(blueprint)
        return platform

    return make


@pytest.fixture
def forgetful(recorder: Recorder, registry: CollectorRegistry) -> Platform:
    """A platform in front of a broker without a store, which is measured."""
    broker = make_broker(recorder)
    app = make_app(broker)
    app.register_blueprint(metrics_blueprint(broker, NoAuth(), registry=registry))
    return Platform(app)


def live(platform: Platform) -> None:
    platform.get("/v2/catalog")
    platform.put(INSTANCE, PROVISION)
    platform.patch(INSTANCE, {**IDS, "parameters": {"size": 5}})
    platform.put(BINDING, IDS)
    platform.delete(BINDING, query=DELETE_QUERY)
    platform.delete(INSTANCE, query=DELETE_QUERY)


# Requests, changes, attempts


def test_first_scrape_has_zero_operation_counters(measured: Measured) -> None:
    """Prometheus computes increases, so the counters of each plan start at zero before the first failure."""
    platform = measured()
    first = scrape(platform.app)
    for operation in CHANGING:
        for outcome in ("succeeded", "failed"):
            assert first.value("operations_total", operation=operation, outcome=outcome, **SMALL) == 0


@pytest.mark.parametrize("accept", PARSERS)
@pytest.mark.parametrize("has_store", [True, False])
def test_lifecycle_is_counted(measured: Measured, forgetful: Platform, accept: str, has_store: bool) -> None:
    platform = measured() if has_store else forgetful
    live(platform)
    scraped = scrape(platform.app, accept)
    assert scraped.value("requests_total") == 6
    assert (
        scraped.value("requests_total", operation="catalog", offering="none", plan="none", status="200") == 1
    )
    for operation in CHANGING:
        status = "201" if operation in ("provision", "bind") else "200"
        assert scraped.value("requests_total", operation=operation, **SMALL, status=status) == 1
        ended = {"operation": operation, **SMALL, "outcome": "succeeded"}
        assert scraped.value("operations_total", **ended) == 1
        assert scraped.value("operation_duration_seconds_count", **ended) == 1
    assert scraped.value("request_duration_seconds_count", status="2xx") == 6
    assert 0 < (scraped.value("request_duration_seconds_sum") or 0) < 60
    assert scraped.value("info") == 1


@pytest.mark.parametrize("has_store", [True, False])
def test_synchronous_failure_counts_but_refusal_does_not(
    measured: Measured, forgetful: Platform, recorder: Recorder, has_store: bool
) -> None:
    """An unexpected error ends the operation as failed. A refusal counts only as a request."""
    platform = measured() if has_store else forgetful
    recorder.answers["provision"] = QuotaExceeded()
    platform.put(INSTANCE, PROVISION)
    recorder.answers["provision"] = ValueError("inside")
    platform.put(INSTANCE, PROVISION)
    recorder.answers["get_instance"] = ValueError("inside")
    platform.get(INSTANCE)  # changes nothing, and is a 404 without a store
    scraped = scrape(platform.app)
    assert scraped.value("operations_total", operation="provision", **SMALL, outcome="failed") == 1
    assert scraped.value("operations_total") == 1
    of_provisions = {"operation": "provision"}
    assert scraped.value("requests_total", **of_provisions, status="500") == 1
    assert scraped.value("request_duration_seconds_count", **of_provisions, status="4xx") == 1


def test_failure_counters_stay_zero_without_failures(measured: Measured) -> None:
    app = measured().app
    scrape(app)
    scraped = scrape(app)
    for operation in CHANGING:
        assert scraped.value("operations_total", operation=operation, **SMALL, outcome="failed") == 0


def test_background_attempts_and_results_are_counted(measured: Measured, recorder: Recorder) -> None:
    answers = iter([Retry(after=0.01), Provisioned()])
    recorder.answers["provision"] = lambda request: next(answers)
    recorder.answers["update"] = ValueError("inside")
    platform = measured(background=CHANGING)
    for method, body in (("PUT", PROVISION), ("PATCH", {**IDS, "parameters": {"size": 5}})):
        platform.send(method, INSTANCE, body, query=CAN_POLL)
        poll_until_done(platform, INSTANCE)
    until(lambda: scrape(platform.app).value("attempts_total", operation="update") == 1)
    scraped = scrape(platform.app)
    for operation, end in (("provision", "retried"), ("provision", "succeeded"), ("update", "failed")):
        labels = {"operation": operation, **SMALL, "end": end}
        assert scraped.value("attempts_total", **labels) == 1
        assert scraped.value("attempt_duration_seconds_count", **labels) == 1
    assert scraped.value("operations_total", operation="provision", outcome="succeeded") == 1
    assert scraped.value("operations_total", operation="update", outcome="failed") == 1
    assert scraped.value("requests_total", operation="provision", **SMALL, status="202") == 1


def test_polled_operation_result_is_counted_once(measured: Measured, recorder: Recorder) -> None:
    recorder.answers["provision"] = Accepted()
    platform = measured()
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    assert scrape(platform.app).value("operations_in_progress", operation="provision", **SMALL) == 1
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    for _ in range(3):
        poll_until_done(platform, INSTANCE)
    assert scrape(platform.app).value("operations_total", operation="provision", outcome="failed") == 1


def test_authentication_failures_are_counted(forgetful: Platform) -> None:
    assert scrape(forgetful.app).value("authentication_failures_total") == 0
    for _ in range(3):
        forgetful.get("/v2/catalog", headers={"Authorization": None})
    scraped = scrape(forgetful.app)
    assert scraped.value("authentication_failures_total") == 3
    assert scraped.value("requests_total", operation="catalog", status="401") == 3


# Labels


def test_request_data_cannot_create_labels(measured: Measured) -> None:
    """Unknown ids, paths, methods and headers never become label values."""
    platform = measured()
    before = len(scrape(platform.app).text.splitlines())
    for number in range(300):
        path = f"{INSTANCE}-{number}"
        platform.put(path, {**PROVISION, "service_id": f"s{number}", "plan_id": f"p{number}"})
        platform.put(path, {**PROVISION, "plan_id": f"p{number}"})
        platform.get(path, query=f"service_id=s{number}&plan_id=p{number}")
        platform.get(f"/v2/{number}")
        platform.send(f"METHOD{number}", "/v2/catalog")
        platform.get("/v2/catalog", headers={"Authorization": f"Basic {number}"})
        platform.get("/v2/catalog", headers={"X-Broker-API-Version": str(number)})
        platform.delete(path, query=f"service_id=db-id&plan_id={number}")
    scraped = scrape(platform.app)
    assert scraped.labels("requests_total", "operation") <= {
        "none",
        "catalog",
        "provision",
        "deprovision",
        "get_instance",
    }
    assert scraped.labels("requests_total", "offering") <= {"none", "db"}
    assert scraped.labels("requests_total", "plan") <= {"none", "small", "large"}
    assert all(status.isdigit() for status in scraped.labels("requests_total", "status"))
    assert len(scraped.text.splitlines()) - before < 12 * 20
    assert (scraped.value("requests_total") or 0) >= 2400


def test_removed_plans_share_one_label(
    measured: Measured, serve: Serve, recorder: Recorder, registry: CollectorRegistry
) -> None:
    platform = measured()
    platform.put(INSTANCE, PROVISION)
    platform.put(f"{INSTANCE}-2", {**PROVISION, "plan_id": "large-id"})
    platform.put(BINDING, IDS)
    recorder.answers["provision"] = Accepted()
    platform.put(f"{INSTANCE}-3", PROVISION, query=CAN_POLL)
    serve.stop()
    registry = CollectorRegistry()
    plan = ServicePlan(id="new-id", name="new", description="Another one")
    platform = serve(recorder, make_offering(plans=[plan]))
    app = platform.app
    app.register_blueprint(metrics_blueprint(serve.brokers[-1], NoAuth(), registry=registry))
    scraped = scrape(app)
    assert scraped.labels("instances", "plan") == scraped.labels("bindings", "plan") == {"removed", "new"}
    assert scraped.value("instances", offering="db", plan="removed", state="ready") == 2
    assert scraped.value("bindings", plan="removed", state="ready") == 1
    assert scraped.value("operations_in_progress", operation="provision", plan="removed") == 1
    running = serve.brokers[-1]._runtime
    assert running is not None
    with running.store.database.writing() as connection:
        connection.cursor().execute("UPDATE brokerkit_operations SET deadline = 0, wake_at = 0")
    platform.get("/v2/catalog")  # starts the scheduler
    ended = {"offering": "db", "plan": "removed", "outcome": "failed"}
    until(lambda: scrape(app).value("operations_total", **ended) == 1)


class Changing:
    """A catalog from a function, as a test says."""

    def __init__(self) -> None:
        self.now: Catalog | Exception = Catalog([make_offering()])

    def __call__(self) -> Catalog:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


def test_changed_catalog_changes_plan_labels(measured: Measured, recorder: Recorder) -> None:
    catalog = Changing()
    platform = measured(catalog=catalog)
    platform.put(INSTANCE, PROVISION)
    assert scrape(platform.app).labels("instances", "plan") == {"small", "large"}
    small = make_offering().plans[0]
    tiny = ServicePlan(id="tiny-id", name="tiny", description="A tiny one")
    catalog.now = Catalog([make_offering(plans=[small, tiny])])
    scraped = scrape(platform.app)
    assert scraped.labels("instances", "plan") == {"small", "tiny"}
    assert scraped.value("operations_in_progress", operation="bind", offering="db", plan="tiny") == 0
    assert scraped.value("instances", plan="small", state="ready") == 1


def test_unavailable_catalog_keeps_other_metrics(
    measured: Measured, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Changing()
    catalog.now = OSError("where is it?")
    platform = measured(catalog=catalog)
    platform.put(INSTANCE, PROVISION)
    scraped = scrape(platform.app)
    assert scraped.value("store_up") == 1
    assert scraped.value("instances") is None
    assert scraped.value("requests_total", operation="provision", offering="none", status="500") == 1
    assert "the catalog function failed" in caplog.text


def test_early_catalog_access_keeps_handlers_working(recorder: Recorder, registry: CollectorRegistry) -> None:
    """A scrape that reads the catalog before the handlers are used does not disturb later requests."""
    broker = make_broker(recorder, catalog=Changing())
    blueprint = metrics_blueprint(broker, NoAuth(), registry=registry)
    before = Flask("tests")
    before.register_blueprint(blueprint)
    scrape(before)
    assert Platform(make_app(broker)).put(INSTANCE, PROVISION).status_code == 201


# What the store holds


def test_store_gauges_include_zero_values(measured: Measured, recorder: Recorder) -> None:
    platform = measured(background=["provision"])
    gate = recorder.answers["provision"] = Gate()
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    gate.wait_until_reached()
    scraped = scrape(platform.app)
    assert scraped.value("store_up") == 1
    assert scraped.value("instances", **SMALL, state="creating") == 1
    assert scraped.value("instances", **SMALL, state="ready") == 0
    assert scraped.value("instances", offering="db", plan="large", state="failed") == 0
    assert scraped.value("bindings", **SMALL, state="ready") == 0
    assert scraped.value("operations_in_progress", operation="provision", **SMALL) == 1
    assert scraped.value("operations_in_progress", operation="bind", offering="db", plan="large") == 0
    assert 0 < (scraped.value("oldest_operation_age_seconds", operation="provision", **SMALL) or 0) < 60
    assert scraped.value("oldest_operation_age_seconds", operation="update", **SMALL) == 0
    for name in ("stats_age_seconds", "stats_duration_seconds"):
        assert 0 <= (scraped.value(name) or 0) < 60
    gate.open()


def test_store_counts_are_cached(serve: Serve, recorder: Recorder, registry: CollectorRegistry) -> None:
    """Scrapes within `stats_interval` return the stored counts."""
    platform = serve(recorder)
    platform.app.register_blueprint(
        metrics_blueprint(serve.brokers[-1], NoAuth(), registry=registry, stats_interval=3600)
    )
    for number in range(3):
        platform.put(f"{INSTANCE}-{number}", PROVISION)
        scraped = scrape(platform.app)
        assert scraped.value("instances", **SMALL, state="ready") == 1


def test_cached_counts_report_increasing_age(
    serve: Serve, recorder: Recorder, registry: CollectorRegistry, tmp_path: Path
) -> None:
    """The age of the oldest operation and of the counts grows between counts.

    Several brokers report the oldest age.
    """
    platform = serve(recorder, background=["provision"])
    gate = recorder.answers["provision"] = Gate()
    blueprint = metrics_blueprint(serve.brokers[-1], NoAuth(), registry=registry, stats_interval=3600)
    platform.app.register_blueprint(blueprint)
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    gate.wait_until_reached()
    oldest, age = [], []
    for _ in range(3):
        scraped = scrape(platform.app)
        oldest.append(scraped.value("oldest_operation_age_seconds", operation="provision", **SMALL) or 0)
        age.append(scraped.value("stats_age_seconds") or 0)
        if len(age) == 2:
            serve.url = f"sqlite:///{tmp_path / 'another.db'}"
            serve(Recorder())
            measure(serve.brokers[-1], registry, stats_interval=3600)
    assert oldest[0] < oldest[1] < oldest[2]
    assert age[0] < age[1] < age[2]
    gate.open()


def test_store_counts_rest_between_queries(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frequent scrapes do not repeat the count before its rest period, so the database has time for other
    work.
    """
    monkeypatch.setattr(_gauges, "_PAUSE_FACTOR", 1e9)
    platform = measured()
    assert scrape(platform.app).value("instances", **SMALL, state="ready") == 0
    platform.put(INSTANCE, PROVISION)
    until(lambda: (scrape(platform.app).value("stats_age_seconds") or 0) > 0.02)  # twice `stats_interval`
    assert scrape(platform.app).value("instances", **SMALL, state="ready") == 0


def test_one_unreachable_store_sets_store_down(
    measured: Measured, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = measured().app
    running = serve.brokers[0]._runtime
    assert running is not None
    serve.url = f"sqlite:///{tmp_path / 'another.db'}"
    measured()
    assert scrape(app).value("store_up") == 1
    monkeypatch.setattr(_gauges, "_is_available", lambda store: store is not running.store)
    until(lambda: scrape(app).value("store_up") == 0)


def test_broker_without_store_has_no_store_metrics(forgetful: Platform) -> None:
    scraped = scrape(forgetful.app)
    for name in ("store_up", "instances", "operations_in_progress", "stats_age_seconds"):
        assert scraped.value(name) is None
        assert f"brokerkit_{name}" not in scraped.text


@contextmanager
def measured_on_postgres(recorder: Recorder) -> Iterator[tuple[Server, Serve, Platform]]:
    with Server(fsync="off") as server, fresh_database(server.url) as url:
        serve = Serve(url)
        platform = serve(recorder)
        blueprint = metrics_blueprint(
            serve.brokers[-1], NoAuth(), registry=CollectorRegistry(), stats_interval=0.01
        )
        platform.app.register_blueprint(blueprint)
        platform.put(INSTANCE, PROVISION)
        assert scrape(platform.app).value("instances", **SMALL, state="ready") == 1
        yield server, serve, platform
        until(lambda: scrape(platform.app).value("instances", **SMALL, state="ready") == 1)
        serve.stop()


def check_away(platform: Platform) -> None:
    """However many ask, they are answered with what there is, and no more than one thread waits for more."""

    def is_exported() -> bool:
        scraped = scrape(platform.app)
        assert scraped.value("requests_total", operation="provision") == 1
        return scraped.value("store_up") == 0 and scraped.value("instances") is None

    until(is_exported)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: is_exported(), range(16)))
    threads = [thread.name for thread in threading.enumerate()]
    for name in ("brokerkit-stats", "brokerkit-store"):
        assert threads.count(name) <= 1


@pytest.mark.integration
def test_hanging_postgresql_does_not_block_scrape(recorder: Recorder) -> None:
    with measured_on_postgres(recorder) as (server, serve, platform):
        running = serve.brokers[-1]._runtime
        assert running is not None
        running.store.database.dispose()  # open connections continue, and new ones are refused
        os.kill(server.pid, signal.SIGSTOP)
        try:
            check_away(platform)
        finally:
            os.kill(server.pid, signal.SIGCONT)


@pytest.mark.integration
def test_unreachable_postgresql_is_reported(recorder: Recorder) -> None:
    with measured_on_postgres(recorder) as (server, _, platform):
        server.stop("immediate")
        check_away(platform)
        assert platform.put(f"{INSTANCE}-2", PROVISION).status_code == 503
        assert scrape(platform.app).value("operations_total", operation="provision", outcome="failed") == 1
        server.start()


@pytest.mark.integration
def test_deferred_result_is_counted_once(
    recorder: Recorder,
) -> None:
    """A result that is stored after the database returns is counted as succeeded, not as the failed request.
    A result that is stored after the database returns is counted as succeeded, not as the failed request.
    """
    with measured_on_postgres(recorder) as (server, _, platform):
        recorder.answers["update"] = lambda request: server.stop("immediate")
        body = {**IDS, "parameters": {"size": 5}}
        assert platform.patch(INSTANCE, body).status_code == 503
        server.start()
        ended = {"operation": "update", **SMALL}
        until(lambda: scrape(platform.app).value("operations_total", **ended, outcome="succeeded") == 1)
        assert scrape(platform.app).value("operations_total", **ended) == 1
        assert scrape(platform.app).value("requests_total", **ended, status="503") == 1


@pytest.mark.integration
def test_slow_count_serves_previous_counts(recorder: Recorder) -> None:
    with measured_on_postgres(recorder) as (_, serve, platform):
        libpq = make_url(serve.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(libpq) as connection:
            connection.execute("LOCK TABLE brokerkit_instances")
            until(lambda: (scrape(platform.app).value("stats_age_seconds") or 0) > 0.5)
            scraped = scrape(platform.app)
        assert scraped.value("store_up") == 1
        assert scraped.value("instances", **SMALL, state="ready") == 1


def test_failed_count_exports_no_store_counts(
    measured: Measured, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    platform = measured()
    running = serve.brokers[-1]._runtime
    assert running is not None
    with running.store.database.writing() as connection:
        connection.cursor().execute("ALTER TABLE brokerkit_bindings RENAME TO gone")
    scraped = scrape(platform.app)
    assert scraped.value("store_up") == 1
    assert scraped.value("instances") is None


# Who may ask, and how


def authenticate_query(request: Request) -> bool:
    return request.args.get("who") == "prometheus"


@pytest.mark.parametrize(
    ("auth", "headers", "query", "challenge"),
    [
        (BasicAuth("prometheus", "s3cret"), {"Authorization": basic("prometheus", "s3cret")}, "", "Basic"),
        (BearerAuth("s3cret"), {"Authorization": "Bearer s3cret"}, "", "Bearer"),
        (authenticate_query, {}, "who=prometheus", "Basic"),
    ],
    ids=["basic", "bearer", "function"],
)
def test_metrics_endpoint_requires_authentication(
    recorder: Recorder,
    registry: CollectorRegistry,
    auth: Authenticator,
    headers: dict[str, str],
    query: str,
    challenge: str,
) -> None:
    broker = make_broker(recorder)
    app = make_app(broker)
    app.register_blueprint(metrics_blueprint(broker, auth=auth, registry=registry))
    refused = app.test_client().get("/metrics")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith(challenge)
    assert msgspec.json.decode(refused.data)["error"] == "Unauthenticated"
    assert app.test_client().get("/metrics", headers=headers, query_string=query).status_code == 200


@pytest.mark.parametrize("auth", [BasicAuth, None, "secret"], ids=repr)
def test_invalid_authenticator_is_rejected(recorder: Recorder, auth: Any) -> None:
    with pytest.raises(TypeError, match="metrics_blueprint: auth is"):
        metrics_blueprint(make_broker(recorder), auth=auth)


def test_collection_error_response_hides_details(
    recorder: Recorder, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: Request) -> bool:
        raise OSError("redis://user:s3cret@host")

    broker = make_broker(recorder)
    app = make_app(broker)
    app.register_blueprint(metrics_blueprint(broker, auth=broken, registry=registry))
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 500
    assert "s3cret" not in answer.text
    assert "Metrics collection failed" in caplog.text


def test_metrics_endpoint_allows_only_get_and_head(forgetful: Platform) -> None:
    client = forgetful.app.test_client()
    assert client.head("/metrics").status_code == 200
    answer = client.post("/metrics")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_metrics_response_is_compressed_on_request(forgetful: Platform) -> None:
    answer = forgetful.app.test_client().get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"brokerkit_info" in gzip.decompress(answer.data)


def test_metrics_blueprint_can_be_mounted_repeatedly(recorder: Recorder, registry: CollectorRegistry) -> None:
    """The blueprint works at several prefixes, and unknown paths still return JSON."""
    broker = make_broker(recorder)
    app = make_app(broker)
    blueprint = metrics_blueprint(broker, NoAuth(), registry=registry)
    app.register_blueprint(blueprint)
    app.register_blueprint(blueprint, url_prefix="/internal")
    app.register_blueprint(metrics_blueprint(broker, NoAuth(), registry=registry), url_prefix="/<tenant>/x")
    for path in ("/metrics", "/internal/metrics", "/t1/x/metrics"):
        scrape(app, path=path)
    assert Platform(app).get("/nowhere").status_code == 404  # in JSON, as the platform makes sure


# Registries, brokers, processes


def test_repeated_measure_counts_each_request_once(recorder: Recorder, registry: CollectorRegistry) -> None:
    broker = make_broker(recorder)
    app = make_app(broker)
    for _ in range(3):
        assert measure(broker, registry) is registry
    app.register_blueprint(metrics_blueprint(broker, NoAuth(), registry=registry))
    Platform(app).get("/v2/catalog")
    assert scrape(app).value("requests_total") == 1


def test_brokers_and_registries_combine_freely(tmp_path: Path) -> None:
    """Two brokers can share a registry, and a broker can be in several registries."""
    shared, own = CollectorRegistry(), CollectorRegistry()
    app = Flask("tests")
    serve = Serve(f"sqlite:///{tmp_path / 'one.db'}")
    brokers: list[Broker] = []
    for name in ("one", "two"):
        serve.url = f"sqlite:///{tmp_path / name}.db"
        serve(Recorder())
        brokers.append(serve.brokers[-1])
        app.register_blueprint(brokers[-1].blueprint, url_prefix=f"/{name}")
    for broker in brokers:
        blueprint = metrics_blueprint(broker, NoAuth(), registry=shared, stats_interval=0.01)
    app.register_blueprint(blueprint)
    app.register_blueprint(
        metrics_blueprint(brokers[0], NoAuth(), registry=own, stats_interval=0.01), url_prefix="/own"
    )
    platform = Platform(app)
    for name in ("one", "two"):
        platform.put(f"/{name}{INSTANCE}", PROVISION)
    for path, count in (("/metrics", 2), ("/own/metrics", 1)):
        told_now = scrape(app, path=path)
        assert told_now.value("requests_total", operation="provision", **SMALL, status="201") == count
        assert told_now.value("instances", **SMALL, state="ready") == count
        assert told_now.value("store_up") == 1
    serve.stop()


def test_measured_broker_and_registry_are_garbage_collected(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    serve = Serve(f"sqlite:///{tmp_path / 'broker.db'}")
    app = serve(Recorder()).app
    measure(serve.brokers[-1], registry)
    broker, held = weakref.ref(serve.brokers[-1]), weakref.ref(registry)
    serve.stop()
    del app
    gc.collect()
    assert broker() is None
    assert "brokerkit_info" in {metric.name + "_info" for metric in registry.collect()}
    del registry
    gc.collect()
    assert held() is None


def test_measure_requires_a_broker(registry: CollectorRegistry) -> None:
    with pytest.raises(TypeError, match="give the Broker"):
        measure("broker", registry)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_invalid_census_interval_is_rejected(recorder: Recorder, seconds: float) -> None:
    with pytest.raises(ValueError, match="stats_interval"):
        measure(make_broker(recorder), CollectorRegistry(), stats_interval=seconds)


@pytest.mark.integration
def test_registry_can_be_served_on_separate_port(measured: Measured, serve: Serve) -> None:
    platform = measured()
    platform.put(INSTANCE, PROVISION)
    registry = CollectorRegistry()
    server, thread = start_http_server(0, "127.0.0.1", registry=measure(serve.brokers[-1], registry))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            assert Scrape(answer.read().decode()).value("instances", **SMALL, state="ready") == 1
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.integration
def test_missing_prometheus_client_names_install_command() -> None:
    program = "import sys; sys.modules['prometheus_client'] = None; import brokerkit.observe.prometheus"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert "pip install 'osb-brokerkit[prometheus]'" in run.stderr


def test_missing_multiprocess_folder_is_rejected(
    recorder: Recorder, registry: CollectorRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "missing"))
    with pytest.raises(ValueError, match=r"PROMETHEUS_MULTIPROC_DIR: .*missing"):
        measure(make_broker(recorder), registry)


def test_late_multiprocess_folder_is_rejected(
    recorder: Recorder, registry: CollectorRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """prometheus_client was already imported without the variable, so no process would write to the folder.
    prometheus_client was already imported without the variable, so no process would write to the folder.
    """
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="PROMETHEUS_MULTIPROC_DIR was set after"):
        measure(make_broker(recorder), registry)


BROKER = """
import os
from pathlib import Path
from flask import Flask
from brokerkit import Broker, Catalog, NoAuth, Provisioned
from brokerkit.observe.prometheus import metrics_blueprint

broker = Broker(
    Catalog.from_file(Path(__file__).with_name("catalog.json")), auth=NoAuth(), store=os.environ["STORE"],
    encryption_keys=[os.environ["KEY"]], executor=None,
)

@broker.provision(background=True)
def provision(request):
    if request.parameters:
        raise ValueError("inside")
    return Provisioned()

@broker.deprovision
def deprovision(request): ...

app = Flask(__name__)
app.register_blueprint(broker.blueprint)
app.register_blueprint(metrics_blueprint(broker, auth=NoAuth(), stats_interval=0.01))

@app.after_request
def tell(response):
    response.headers["X-Process"] = str(os.getpid())
    return response
"""
AT_FIRST = """
import os
from celery import Celery, signals
from prometheus_client import start_http_server
from brokerkit.celery import CeleryExecutor
from brokerkit.observe.prometheus import measure

celery_app = Celery("tests", broker=os.environ["REDIS"])
"""
AT_LAST = """
@signals.celeryd_init.connect
def tell_prometheus(**_):
    start_http_server(int(os.environ["PORT"]), "127.0.0.1", registry=measure(broker))
"""
WITH_CELERY = AT_FIRST + BROKER.replace("=None", "=CeleryExecutor(celery_app)") + AT_LAST
CATALOG: dict[str, Any] = {
    "services": [
        {
            "id": "db-id",
            "name": "db",
            "description": "Databases",
            "bindable": False,
            "plans": [{"id": "small-id", "name": "small", "description": "A small one"}],
        }
    ]
}


def talk(port: int, path: str, body: object = None, **headers: str) -> tuple[str, bytes]:
    """Which process answered, and what."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        None if body is None else msgspec.json.encode(body),
        {"X-Broker-API-Version": "2.17", "Content-Type": "application/json", **headers},
        method="GET" if body is None else "PUT",
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["X-Process"], answer.read()


def scrape_each(port: int, processes: set[str], accept: str, *, instances: int) -> list[Scrape]:
    """Scrape until each process exports the given number of instances; any free process responds."""
    by_process: dict[str, Scrape] = {}

    def have_all_responded() -> bool:
        with ThreadPoolExecutor(8) as pool:
            for process, text in pool.map(lambda _: talk(port, "/metrics", Accept=accept), range(8)):
                scraped = Scrape(text.decode(), accept)
                is_over = scraped.value("operations_in_progress") == 0
                if is_over and scraped.value("instances") == instances:
                    by_process[process] = scraped
        return by_process.keys() == processes

    until(have_all_responded)
    return list(by_process.values())


def make_site(folder: Path, module: str) -> dict[str, str]:
    """Write a broker's module into a folder, and return the variables that its processes need."""
    (folder / "broker.py").write_text(module)
    (folder / "catalog.json").write_bytes(msgspec.json.encode(CATALOG))
    (folder / "metrics").mkdir()
    return {
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        "STORE": f"sqlite:///{folder / 'broker.db'}",
        "KEY": KEY,
    }


def test_celery_workers_export_their_own_metrics(tmp_path: Path, redis_url: str) -> None:
    workers_own = tmp_path / "workers"
    workers_own.mkdir()
    port = free_port()
    environment = {**make_site(tmp_path, WITH_CELERY), "REDIS": redis_url, "PORT": str(port)}
    of_workers = {
        **environment,
        "PROMETHEUS_MULTIPROC_DIR": str(workers_own),
        "PYTHONPATH": str(tmp_path),
    }
    log = tmp_path / "log"
    with (
        CeleryWorker("broker:celery_app", "--concurrency=2", log=tmp_path / "workers-log", **of_workers),
        gunicorn(tmp_path, "broker:app", "--threads=4", log=log, environment=environment) as server,
    ):
        for number in range(6):
            talk(server.port, f"/v2/service_instances/i{number}?{CAN_POLL}", PROVISION)
        scraped = until(lambda: scrape_workers(port))
        assert scraped.value("attempts_total", operation="provision", **SMALL, end="succeeded") == 6
        assert scraped.value("operations_total", operation="provision", outcome="succeeded") == 6
        assert scraped.value("instances", **SMALL, state="ready") == 6
        of_web = Scrape(talk(server.port, "/metrics")[1].decode())
        assert of_web.value("requests_total", operation="provision", status="202") == 6
        assert of_web.value("attempts_total") is None


def scrape_workers(port: int) -> Scrape | None:
    """What they tell when they have done it all."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            scraped = Scrape(answer.read().decode())
    except OSError:
        return None
    return (
        scraped
        if scraped.value("attempts_total") == 6 and scraped.value("instances", state="ready") == 6
        else None
    )


@pytest.mark.integration
def test_gunicorn_workers_report_combined_metrics(tmp_path: Path) -> None:
    """Every worker process returns the same totals over all processes."""
    environment = make_site(tmp_path, BROKER)
    log = tmp_path / "log"
    with gunicorn(
        tmp_path, "broker:app", "--workers=2", "--threads=4", log=log, environment=environment
    ) as server:
        responding_processes: list[str] = []

        def order(number: int) -> str:
            body = {**PROVISION, **({"parameters": {"fail": True}} if number % 4 == 0 else {})}
            process, _ = talk(server.port, f"/v2/service_instances/i{number}?{CAN_POLL}", body)
            return process

        def both_worked() -> bool:
            with ThreadPoolExecutor(8) as pool:
                responding_processes.extend(
                    pool.map(order, range(len(responding_processes), len(responding_processes) + 16))
                )
            return len(set(responding_processes)) == 2

        until(both_worked)
        count = len(responding_processes)
        failed = len(range(0, count, 4))

        def all_done() -> bool:
            scraped = Scrape(talk(server.port, "/metrics")[1].decode())
            ended = scraped.value("operations_total", operation="provision")
            return ended == scraped.value("attempts_total") == count

        until(all_done)
        for accept in PARSERS:
            for scraped in scrape_each(server.port, set(responding_processes), accept, instances=count):
                ordered = {"operation": "provision", **SMALL}
                assert scraped.value("requests_total", **ordered, status="202") == count
                assert scraped.value("request_duration_seconds_count", **ordered, status="2xx") == count
                assert scraped.value("request_duration_seconds_bucket", **ordered, le="+Inf") == count
                for outcome, number in (("failed", failed), ("succeeded", count - failed)):
                    assert scraped.value("operations_total", **ordered, outcome=outcome) == number
                    assert scraped.value("attempts_total", **ordered, end=outcome) == number
                assert len(scraped.samples["brokerkit_store_up"]) == 1
                assert scraped.value("instances", **SMALL, state="ready") == count - failed
                assert scraped.value("instances", **SMALL, state="failed") == failed
                assert scraped.value("operations_in_progress", operation="provision") == 0
                assert scraped.value("info") == 1
