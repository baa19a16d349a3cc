"""Tests of the counts of a store."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from brokerkit import Accepted, Catalog, ServicePlan
from brokerkit.requests import Operation
from brokerkit.stats import Count, InProgress, StoreStats
from brokerkit.store.errors import StoreUnavailable

from ..support.broker import (
    BINDING,
    DELETE_QUERY,
    IDS,
    INSTANCE,
    PROVISION,
    Recorder,
    make_broker,
    make_offering,
)
from ..support.postgres import Server, fresh_database
from ..support.stateful import CAN_POLL, CHANGING, DELETE_AND_POLL, Gate, Platform, Serve, poll_until_done

LARGE = {"service_id": "db-id", "plan_id": "large-id"}


def take_stats(serve: Serve) -> StoreStats:
    stats = serve.brokers[-1].stats()
    assert stats is not None
    return stats


def counts(rows: Any) -> dict[tuple[str, str, str], int]:
    return {(row.offering_id, row.plan_id, row.state): row.count for row in rows}


def test_stats_without_store_is_none(recorder: Recorder) -> None:
    assert make_broker(recorder).stats() is None


def test_stats_of_empty_store_is_empty(platform: Platform, serve: Serve) -> None:
    assert take_stats(serve) == StoreStats()


def test_stats_counts_by_plan_and_state(platform: Platform, serve: Serve, recorder: Recorder) -> None:
    for number in range(3):
        platform.put(f"{INSTANCE}-{number}", PROVISION)
    platform.put(f"{INSTANCE}-large", {**PROVISION, **LARGE})
    platform.put(f"{INSTANCE}-0/service_bindings/b1", IDS)
    platform.put(f"{INSTANCE}-large/service_bindings/b1", LARGE)
    recorder.answers["provision"] = recorder.answers["bind"] = ValueError("inside")
    platform.put(f"{INSTANCE}-bad", PROVISION)
    platform.put(f"{INSTANCE}-0/service_bindings/bad", IDS)
    stats = take_stats(serve)
    assert counts(stats.instances) == {
        ("db-id", "small-id", "ready"): 3,
        ("db-id", "small-id", "failed"): 1,
        ("db-id", "large-id", "ready"): 1,
    }
    assert counts(stats.bindings) == {
        ("db-id", "small-id", "ready"): 1,
        ("db-id", "small-id", "failed"): 1,
        ("db-id", "large-id", "ready"): 1,
    }
    assert stats.operations == ()


def test_stats_excludes_deleted_resources(platform: Platform, serve: Serve) -> None:
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    for path in (BINDING, INSTANCE):
        platform.delete(path, query=DELETE_QUERY)
    assert take_stats(serve) == StoreStats()


def test_stats_counts_bindings_by_instance_plan(platform: Platform, serve: Serve) -> None:
    """Bindings move to the new plan together with their instance."""
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    platform.patch(INSTANCE, LARGE)
    stats = take_stats(serve)
    assert counts(stats.instances) == counts(stats.bindings) == {("db-id", "large-id", "ready"): 1}


@pytest.mark.parametrize(
    ("operation", "send", "state"),
    [
        ("provision", lambda platform: platform.put(INSTANCE, PROVISION, query=CAN_POLL), "creating"),
        ("update", lambda platform: platform.patch(INSTANCE, LARGE, query=CAN_POLL), "ready"),
        ("deprovision", lambda platform: platform.delete(INSTANCE, query=DELETE_AND_POLL), "ready"),
    ],
)
def test_stats_counts_running_operations_by_kind(
    serve: Serve, recorder: Recorder, operation: str, send: Callable[[Platform], Any], state: str
) -> None:
    """The instance of a running update or deprovision keeps its state and plan."""
    platform = serve(recorder, background=CHANGING)
    if operation != "provision":
        platform.put(INSTANCE, PROVISION, query=CAN_POLL)
        poll_until_done(platform, INSTANCE)
    gate = recorder.answers[operation] = Gate()
    send(platform)
    gate.wait_until_reached()
    stats = take_stats(serve)
    plan = "large-id" if operation == "update" else "small-id"
    (row,) = stats.operations
    assert row == InProgress(
        operation=Operation(operation), offering_id="db-id", plan_id=plan, count=1, oldest=row.oldest
    )
    assert 0 <= row.oldest < 60
    assert stats.instances == (Count(offering_id="db-id", plan_id="small-id", state=state, count=1),)
    gate.open()


def test_stats_measures_age_by_database_clock(platform: Platform, serve: Serve, recorder: Recorder) -> None:
    recorder.answers["provision"] = Accepted()
    for number in range(2):
        platform.put(f"{INSTANCE}-{number}", PROVISION, query=CAN_POLL)
    runtime = serve.brokers[-1]._runtime
    assert runtime is not None
    with runtime.store.database.writing() as connection:
        connection.cursor().execute(
            "UPDATE brokerkit_operations SET created_at = created_at - 1000 WHERE instance_id = 'i1-1'"
        )
    (row,) = take_stats(serve).operations
    assert row.count == 2
    assert 1000 <= row.oldest < 1060


def test_stats_counts_removed_plans_by_id(platform: Platform, serve: Serve, recorder: Recorder) -> None:
    platform.put(INSTANCE, PROVISION)
    serve(recorder, catalog=Catalog([make_offering(plans=[ServicePlan(id="p", name="p", description="p")])]))
    assert counts(take_stats(serve).instances) == {("db-id", "small-id", "ready"): 1}


def test_stats_runs_concurrently_with_requests(platform: Platform, serve: Serve) -> None:
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(take_stats, serve) for _ in range(60)]
        for number in range(20):
            assert platform.put(f"{INSTANCE}-{number}", PROVISION).status_code == 201
        assert all(future.result() for future in futures)
    assert counts(take_stats(serve).instances) == {("db-id", "small-id", "ready"): 20}


@pytest.mark.integration
def test_stats_raises_when_store_is_unavailable(recorder: Recorder) -> None:
    with Server(fsync="off") as server, fresh_database(server.url) as url:
        serve = Serve(url)
        serve(recorder)
        server.stop("immediate")
        with pytest.raises(StoreUnavailable):
            take_stats(serve)
        server.start()
        serve.stop()
