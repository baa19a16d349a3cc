"""Tests of outages: the database is unavailable, hangs or is full for a while, and nothing is lost."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..support.postgres import Server as PostgreSQL
from ..support.postgres import fresh_database
from ..support.postgres_fixtures import memory_folder
from ..support.wait import wait_until
from .broker_app import FULL, LEASE
from .conftest import ROUNDS, BrokerProcesses
from .final_state import check_nothing_in_progress, is_idle
from .outages import HangingWrites, LockedDatabase, Outage, ReadOnlyDatabase, StoppedServer
from .processes import ProcessPool, Response, Server, activate, wait_until_succeeded
from .requests import CAN_POLL, delete_query, instance_path, provision_body

BUSY_TIMEOUT = 200
I1 = instance_path("i1")


@pytest.fixture(scope="module")
def postgres_to_stop() -> Iterator[PostgreSQL]:
    """A server that tests may stop."""
    with PostgreSQL(under=memory_folder(), fsync="off") as server:
        yield server


class FragileProcesses(BrokerProcesses):
    """Processes whose store has an outage."""

    outage: Outage


@pytest.fixture(params=["sqlite", "postgresql"])
def fragile(
    request: pytest.FixtureRequest, process_pool: ProcessPool, tmp_path: Path
) -> Iterator[FragileProcesses]:
    if request.param == "sqlite":
        created = FragileProcesses(process_pool, f"sqlite:///{tmp_path / 'broker.db'}", tmp_path)
        created.outage = LockedDatabase(created.url)
        yield created
        created.close()
        return
    server: PostgreSQL = request.getfixturevalue("postgres_to_stop")
    with fresh_database(server.url) as url:
        created = FragileProcesses(process_pool, url, tmp_path)
        created.outage = StoppedServer(server)
        yield created
        created.close()


def check_store_unavailable(response: Response) -> None:
    assert response.status == 503, response
    assert int(response.headers["Retry-After"]) > 0
    assert response.body["error"] == "StoreUnavailable"


def check_unavailable_for(server: Server, seconds: float) -> None:
    """Send provisions for some seconds, and check that each gets 503."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check_store_unavailable(server.send("PUT", instance_path("other"), provision_body("synchronous")))


@pytest.mark.parametrize("ends_during_outage", [True, False])
def test_background_operation_survives_outage_beyond_lease(
    fragile: FragileProcesses, ends_during_outage: bool
) -> None:
    """The operation ends when the database returns, and no other process has started it."""
    settings = fragile.settings(busy_timeout=BUSY_TIMEOUT)
    servers = [activate(fragile.serve(settings)) for _ in range(2)]
    body = provision_body("background", gate="open")
    operation = servers[0].send("PUT", I1, body, CAN_POLL).body["operation"]
    wait_until(lambda: fragile.events.runs("i1"))
    fragile.outage.begin()
    try:
        if ends_during_outage:
            fragile.open_gate("open")
        check_unavailable_for(servers[1], 1.5 * LEASE)
    finally:
        fragile.outage.end()
    fragile.open_gate("open")
    wait_until(lambda: servers[1].send("GET", f"{I1}/last_operation").status == 200)
    wait_until_succeeded(servers[1], I1, operation)
    assert len(fragile.events.runs("i1")) == 1
    assert len(fragile.events.of("signal", "provisioned", instance="i1")) == 1
    other, other_body = instance_path("other"), provision_body("synchronous")
    wait_until(lambda: servers[0].send("PUT", other, other_body).status == 201)
    check_nothing_in_progress(fragile.url)


@pytest.mark.rule("R-PROV-3")
def test_synchronous_result_is_stored_after_outage(
    fragile: FragileProcesses,
) -> None:
    """The platform gets 503 with `Retry-After`, then 200.

    The handler runs once, and its signal is sent once.
    """
    server = activate(fragile.serve(fragile.settings(busy_timeout=BUSY_TIMEOUT)))
    with ThreadPoolExecutor(1) as pool:
        body = provision_body("synchronous", gate="open", data="d")
        response = pool.submit(server.send, "PUT", I1, body)
        wait_until(lambda: fragile.events.runs("i1"))
        fragile.outage.begin()
        try:
            fragile.open_gate("open")
            check_store_unavailable(response.result(60))
        finally:
            fragile.outage.end()
    wait_until(lambda: server.send("GET", I1).status == 200)
    assert server.send("PUT", I1, body).status == 200
    assert len(fragile.events.runs("i1")) == 1
    check_nothing_in_progress(fragile.url)
    wait_until(lambda: fragile.events.of("signal", "provisioned", instance="i1"))


@pytest.mark.parametrize("plan", ["synchronous", "function"])
def test_shutdown_during_outage_loses_no_result(fragile: FragileProcesses, plan: str) -> None:
    """A process that ends during an outage stores the result when the database returns in time."""
    settings = fragile.settings(busy_timeout=BUSY_TIMEOUT)
    server = activate(fragile.serve(settings))
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(server.send, "PUT", I1, provision_body(plan, gate="open"), CAN_POLL)
        wait_until(lambda: fragile.events.runs("i1"))
        fragile.outage.begin()
        try:
            fragile.open_gate("open")
            if plan == "synchronous":
                check_store_unavailable(response.result(60))
            os.kill(server.pid, signal.SIGTERM)
            wait_until(lambda: "Shutting down the background work" in fragile.log)
        finally:
            fragile.outage.end()
    wait_until(lambda: not server.is_alive)
    check_nothing_in_progress(fragile.url)
    successor = activate(fragile.serve(settings))
    assert successor.send("GET", I1).status == 200
    assert len(fragile.events.runs("i1")) == 1


@pytest.mark.rule("R-DEL-5")
def test_killed_process_during_outage_allows_delete(fragile: FragileProcesses) -> None:
    """The lost provision is reported as failed, and a DELETE calls the handler."""
    settings = fragile.settings(busy_timeout=BUSY_TIMEOUT)
    server = activate(fragile.serve(settings))
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(server.send, "PUT", I1, provision_body("synchronous", gate="open"))
        wait_until(lambda: fragile.events.runs("i1"))
        fragile.outage.begin()
        try:
            fragile.open_gate("open")
            check_store_unavailable(response.result(60))
            server.kill()
        finally:
            fragile.outage.end()
    server = activate(fragile.serve(settings))
    wait_until(lambda: server.send("GET", f"{I1}/last_operation").body["state"] == "failed")
    assert server.send("PUT", I1, provision_body("synchronous", gate="open")).status == 409
    assert server.send("DELETE", I1, None, delete_query("synchronous")).status == 200
    assert [run.begin.name for run in fragile.events.runs("i1")] == ["provision", "deprovision"]
    assert server.send("DELETE", I1, None, delete_query("synchronous")).status == 410


def test_locked_database_delays_requests_concurrently(process_pool: ProcessPool, tmp_path: Path) -> None:
    """Requests wait concurrently, not one after the other."""
    requests, busy_timeout = 12, 1.0
    created = BrokerProcesses(process_pool, f"sqlite:///{tmp_path / 'broker.db'}", tmp_path)
    server = activate(created.serve(created.settings(busy_timeout=int(1000 * busy_timeout)), threads=16))
    outage = LockedDatabase(created.url)
    body = provision_body("synchronous")
    outage.begin()
    try:
        with ThreadPoolExecutor(requests) as pool:
            responses = list(
                pool.map(
                    lambda number: server.send("PUT", instance_path(f"i{number}"), body), range(requests)
                )
            )
    finally:
        outage.end()
        created.close()
    for response in responses:
        check_store_unavailable(response)
    # One after the other, the last request would wait for `requests * busy_timeout`.
    assert max(response.at - response.sent_at for response in responses) < requests * busy_timeout / 2


def test_hanging_database_does_not_expire_leases(
    processes: BrokerProcesses,
) -> None:
    """No process could renew its lease, so no attempt is recovered and no second handler runs."""
    outage: Outage = LockedDatabase(processes.url)
    if not processes.url.startswith("sqlite"):
        outage = HangingWrites(processes.url)
    servers = [activate(processes.serve()) for _ in range(4)]
    for number in range(3 * ROUNDS):
        instance = f"i{number}"
        body = provision_body("background", gate=f"open-{number}")
        path = instance_path(instance)
        operation = servers[0].send("PUT", path, body, CAN_POLL).body["operation"]
        processes.events.wait_for_runs(instance, 1)
        outage.begin()
        time.sleep(2 * LEASE)  # the outage outlasts every lease
        outage.end()
        other = servers[1].send("PUT", instance_path(f"other-{number}"), provision_body("synchronous"))
        assert other.status == 201
        processes.open_gate(f"open-{number}")
        wait_until_succeeded(servers[1], path, operation)
        assert len(processes.events.runs(instance)) == 1
    wait_until(lambda: is_idle(processes.url))


@pytest.mark.rule("R-PROV-3")
@pytest.mark.parametrize("plan", ["synchronous", "background"])
def test_full_or_read_only_database_loses_nothing(processes: BrokerProcesses, plan: str) -> None:
    """A full disk (SQLite) or a read-only replica (PostgreSQL) gives 503. Finished work is stored later."""
    outage: Outage = FullDisk(processes.folder)
    if not processes.url.startswith("sqlite"):
        outage = ReadOnlyDatabase(processes.url)
    server = activate(processes.serve())
    other = instance_path("other")
    big_body = provision_body("synchronous", data=secrets.token_urlsafe(200_000))  # exceeds the free pages
    body = provision_body(plan, gate="open", data=secrets.token_urlsafe(100_000))
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(server.send, "PUT", I1, body, CAN_POLL)
        wait_until(lambda: processes.events.runs("i1"))
        outage.begin()
        try:
            processes.open_gate("open")
            check_store_unavailable(server.send("PUT", other, big_body))
            wait_until(lambda: processes.events.runs("i1")[0].completed)
            if plan == "synchronous":
                check_store_unavailable(response.result(60))
        finally:
            outage.end()
        assert response.result(60).status in (202, 503)
    wait_until(lambda: server.send("GET", I1).status == 200)
    assert server.send("PUT", I1, body, CAN_POLL).status == 200
    assert len(processes.events.runs("i1")) == 1
    wait_until(lambda: server.send("PUT", other, big_body).status in (200, 201))  # its deferred end is stored
    assert len(processes.events.runs("other")) == 1
    check_nothing_in_progress(processes.url)


class FullDisk:
    """A SQLite database that cannot allocate another page."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FULL

    def begin(self) -> None:
        self._file.touch()

    def end(self) -> None:
        self._file.unlink()
