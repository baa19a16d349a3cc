"""What must be true when the dust has settled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

from samples.postgres.names import database_of, login_of

from ..resilience.events import Run, at_once
from ..resilience.final_state import check_all_rests, check_nothing_is_left, is_at_rest, operations, rows
from ..resilience.requests import binding_path, instance_path
from ..resilience.wait import until
from .customers import Customer, log_in
from .deployment import Site

NEVER_SAID = (
    "Heartbeat failed",
    "Scheduler failed",
    "Cannot handle the due operation",
    "Cannot complete an attempt",
    "Deferred write of the operation",
    "Cannot enqueue the operation",
)
"""What brokerkit logs only if something went wrong that nobody thought of."""


def check_operations(site: Site, customers: Sequence[Customer]) -> None:
    """Every operation that was accepted has come to its end."""
    until(lambda: is_at_rest(site.cluster.store), timeout=90, pause=0.5)
    check_all_rests(site.cluster.store)
    known = operations(site.cluster.store)
    for customer in customers:
        for accepted in customer.accepted:
            assert accepted in known, f"the operation {accepted} was told of, and is not known"


def check_handlers(runs: Sequence[Run], killed: set[int]) -> None:
    """Never two at a time for an instance or binding; once for a request, but for interrupted attempts."""
    assert at_once(list(runs)) == []
    begun = Counter((run.begun.identity, run.begun.name, run.begun.attempt) for run in runs)
    assert [what for what, times in begun.items() if times > 1] == []
    for run in runs:
        assert run.through or run.begun.pid in killed, f"only the dead leave it undone: {run}"


def check_databases(site: Site, customers: Sequence[Customer]) -> None:
    """What the store knows of is there, and nothing else; and users of it can log in."""
    store = site.cluster.store
    # What could not be made or deleted, as when its process was killed, its platform is told to delete again.
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
    found = {name for name in site.cluster.names() if name.startswith("db_")}
    assert ready - found == set(), "missing"
    left = {name for name in found - ready if not name.startswith(tuple(doubtful))}
    assert left == set(), "left over"
    for customer in customers:
        for uri in customer.kept.values():
            log_in(uri)


def give_everything_back(site: Site, customers: Sequence[Customer], before: set[str]) -> None:
    """Delete what was abandoned; then nothing is left."""
    there = {row["id"]: row for row in rows(site.cluster.store, "instances") if row["state"] != "deleted"}
    bindings = [
        (binding_path(row["instance_id"], row["id"]), there[row["instance_id"]]["plan_id"])
        for row in rows(site.cluster.store, "bindings")
    ]
    instances = [(instance_path(instance), row["plan_id"]) for instance, row in there.items()]
    with ThreadPoolExecutor(len(customers)) as pool:
        for things in (bindings, instances):
            list(pool.map(lambda who, what: who.remove(*what), cycle(customers), things))
    until(lambda: is_at_rest(site.cluster.store), timeout=90, pause=0.5)
    check_nothing_is_left(site.cluster.store)
    assert site.cluster.names() == before


def check_logs(site: Site) -> None:
    """Nothing went wrong in brokerkit itself."""
    for name, text in site.logs():
        for never in NEVER_SAID:
            assert never not in text, f"{name} has {never!r}"


def taken_over(runs: Sequence[Run]) -> Iterator[float]:
    """After how many seconds, each time, somebody else began what the dead had left."""
    begun = {(run.begun.identity, run.begun.name, run.begun.attempt): run for run in runs}
    for run in runs:
        following = begun.get((run.begun.identity, run.begun.name, run.begun.attempt + 1))
        if not run.through and following is not None:
            yield following.begun.at - run.ended_at
