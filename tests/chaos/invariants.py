"""Invariants of a deployment after all faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

from samples.postgres.names import database_of, login_of

from ..resilience.events import Run, overlapping_runs
from ..resilience.final_state import (
    check_everything_deleted,
    check_nothing_in_progress,
    is_idle,
    operations,
    rows,
)
from ..resilience.requests import binding_path, instance_path
from ..support.wait import wait_until
from .customers import Customer, log_in
from .deployment import Deployment

UNEXPECTED_RECORDS = (
    "Heartbeat failed",
    "Scheduler failed",
    "Cannot handle the due operation",
    "Cannot complete an attempt",
    "Deferred write of the operation",
    "Cannot enqueue the operation",
)
"""Messages that brokerkit logs only after unexpected faults."""


def check_operations(deployment: Deployment, customers: Sequence[Customer]) -> None:
    """Check that every accepted operation has ended."""
    wait_until(lambda: is_idle(deployment.cluster.store), timeout=90, pause=0.5)
    check_nothing_in_progress(deployment.cluster.store)
    stored = operations(deployment.cluster.store)
    for customer in customers:
        for accepted in customer.accepted:
            assert accepted in stored, f"the accepted operation {accepted} is not in the store"


def check_handlers(runs: Sequence[Run], killed: set[int]) -> None:
    """Check that handlers never overlapped, and ran once per request and attempt."""
    assert overlapping_runs(list(runs)) == []
    calls = Counter((run.begin.identity, run.begin.name, run.begin.attempt) for run in runs)
    assert [call for call, times in calls.items() if times > 1] == []
    for run in runs:
        assert run.completed or run.begin.pid in killed, f"incomplete handler of a live process: {run}"


def check_databases(deployment: Deployment, customers: Sequence[Customer]) -> None:
    """Check that PostgreSQL has exactly the databases and roles of the store, and that roles can log in."""
    store = deployment.cluster.store
    # After a failed creation or deletion, the platform is expected to delete the resource again.
    unsure = {
        row["id"]
        for row in rows(store, "operations")
        if row["state"] == "failed" and row["kind"] in ("unbind", "deprovision")
    }
    ready, doubtful = set[str](), set[str]()
    for instance in rows(store, "instances"):
        name = database_of(instance["id"])
        if instance["state"] == "failed" or instance["operation"] in unsure:
            doubtful.add(name)
        elif instance["state"] == "ready":
            ready |= {name, f"{name}_owner"}
    for binding in rows(store, "bindings"):
        login = login_of(binding["instance_id"], binding["id"])
        is_sure = binding["state"] == "ready" and binding["operation"] not in unsure
        (ready if is_sure else doubtful).add(login)
    existing = {name for name in deployment.cluster.names() if name.startswith("db_")}
    assert ready - existing == set(), "missing databases or roles"
    leftovers = {name for name in existing - ready if not name.startswith(tuple(doubtful))}
    assert leftovers == set(), "databases or roles left over"
    for customer in customers:
        for uri in customer.credentials.values():
            log_in(uri)


def delete_everything(deployment: Deployment, customers: Sequence[Customer], before: set[str]) -> None:
    """Delete all instances and bindings, and check that nothing is left."""
    existing = {
        row["id"]: row for row in rows(deployment.cluster.store, "instances") if row["state"] != "deleted"
    }
    bindings = [
        (binding_path(row["instance_id"], row["id"]), existing[row["instance_id"]]["plan_id"])
        for row in rows(deployment.cluster.store, "bindings")
    ]
    instances = [(instance_path(instance), row["plan_id"]) for instance, row in existing.items()]
    with ThreadPoolExecutor(len(customers)) as pool:
        for resources in (bindings, instances):
            list(pool.map(lambda customer, resource: customer.remove(*resource), cycle(customers), resources))
    wait_until(lambda: is_idle(deployment.cluster.store), timeout=90, pause=0.5)
    check_everything_deleted(deployment.cluster.store)
    assert deployment.cluster.names() == before


def check_logs(deployment: Deployment) -> None:
    """Check that no log has a record of an unexpected fault."""
    for name, text in deployment.logs():
        for record in UNEXPECTED_RECORDS:
            assert record not in text, f"{name} has {record!r}"


def recovery_delays(runs: Sequence[Run]) -> Iterator[float]:
    """Yield the seconds from each death of a handler to the begin of its next attempt."""
    begun = {(run.begin.identity, run.begin.name, run.begin.attempt): run for run in runs}
    for run in runs:
        following = begun.get((run.begin.identity, run.begin.name, run.begin.attempt + 1))
        if not run.completed and following is not None:
            yield following.begin.at - run.ended_at
