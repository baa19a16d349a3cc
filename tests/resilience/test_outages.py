"""The database goes away, hangs or is full, and comes back: nothing that was accepted is lost."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..support.postgres import Server as PostgreSQL
from ..support.postgres import fresh_database
from ..support.postgres_fixtures import _memory
from .broker_app import FULL, LEASE
from .conftest import ROUNDS, Range
from .final_state import check_all_rests, is_at_rest
from .outages import Hanging, Locked, Outage, ReadOnly, Stopped
from .processes import Answer, Nursery, Server, started, until_it_succeeded
from .requests import CAN_POLL, body, deletion, instance_path
from .wait import until

BUSY_TIMEOUT = 200
I1 = instance_path("i1")


@pytest.fixture(scope="module")
def fragile_postgres() -> Iterator[PostgreSQL]:
    """A server that may be stopped."""
    with PostgreSQL(under=_memory(), fsync="off") as server:
        yield server


class Fragile(Range):
    """A range whose store goes away; `away` is how."""

    away: Outage


@pytest.fixture(params=["sqlite", "postgresql"])
def fragile(request: pytest.FixtureRequest, nursery: Nursery, tmp_path: Path) -> Iterator[Fragile]:
    if request.param == "sqlite":
        made = Fragile(nursery, f"sqlite:///{tmp_path / 'broker.db'}", tmp_path)
        made.away = Locked(made.url)
        yield made
        made.close()
        return
    server: PostgreSQL = request.getfixturevalue("fragile_postgres")
    with fresh_database(server.url) as url:
        made = Fragile(nursery, url, tmp_path)
        made.away = Stopped(server)
        yield made
        made.close()


def check_told_to_come_back(answer: Answer) -> None:
    assert answer.status == 503, answer
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.body["error"] == "StoreUnavailable"


def keep_asking(server: Server, seconds: float) -> None:
    """Order things for so long, and be told each time to come back."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        check_told_to_come_back(server.send("PUT", instance_path("other"), body("at-once")))


@pytest.mark.parametrize("ends_meanwhile", [True, False])
def test_background_operation_survives_outage_beyond_lease(fragile: Fragile, ends_meanwhile: bool) -> None:
    """The operation ends when the database returns, and no other process has started it meanwhile."""
    setting = fragile.setting(busy_timeout=BUSY_TIMEOUT)
    servers = [started(fragile.serve(setting)) for _ in range(2)]
    operation = servers[0].send("PUT", I1, body("background", gate="open"), CAN_POLL).body["operation"]
    until(lambda: fragile.events.runs("i1"))
    fragile.away.begin()
    try:
        if ends_meanwhile:
            fragile.open_gate("open")
        keep_asking(servers[1], 1.5 * LEASE)
    finally:
        fragile.away.end()
    fragile.open_gate("open")
    until(lambda: servers[1].send("GET", f"{I1}/last_operation").status == 200)
    until_it_succeeded(servers[1], I1, operation)
    assert len(fragile.events.runs("i1")) == 1
    assert len(fragile.events.of("signal", "provisioned", instance="i1")) == 1
    assert until(lambda: servers[0].send("PUT", instance_path("other"), body("at-once")).status == 201)
    check_all_rests(fragile.url)


@pytest.mark.rule("R-PROV-3")
def test_synchronous_result_is_stored_after_outage(
    fragile: Fragile,
) -> None:
    """The platform gets 503 with `Retry-After`, then 200.

    The handler runs once, and its signal is sent once.
    """
    server = started(fragile.serve(fragile.setting(busy_timeout=BUSY_TIMEOUT)))
    with ThreadPoolExecutor(1) as pool:
        order = body("at-once", gate="open", data="d")
        answer = pool.submit(server.send, "PUT", I1, order)
        until(lambda: fragile.events.runs("i1"))
        fragile.away.begin()
        try:
            fragile.open_gate("open")
            check_told_to_come_back(answer.result(60))
        finally:
            fragile.away.end()
    until(lambda: server.send("GET", I1).status == 200)
    assert server.send("PUT", I1, order).status == 200
    assert len(fragile.events.runs("i1")) == 1
    check_all_rests(fragile.url)
    until(lambda: fragile.events.of("signal", "provisioned", instance="i1"), timeout=5)


@pytest.mark.rule("R-DEL-5")
def test_killed_process_during_outage_allows_delete(fragile: Fragile) -> None:
    """The lost provision is reported as failed, and a DELETE calls the handler."""
    setting = fragile.setting(busy_timeout=BUSY_TIMEOUT)
    server = started(fragile.serve(setting))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.send, "PUT", I1, body("at-once", gate="open"))
        until(lambda: fragile.events.runs("i1"))
        fragile.away.begin()
        try:
            fragile.open_gate("open")
            check_told_to_come_back(answer.result(60))
            server.kill()
        finally:
            fragile.away.end()
    server = started(fragile.serve(setting))
    until(lambda: server.send("GET", f"{I1}/last_operation").body["state"] == "failed")
    assert server.send("PUT", I1, body("at-once", gate="open")).status == 409
    assert server.send("DELETE", I1, None, deletion("at-once")).status == 200
    assert [run.begun.name for run in fragile.events.runs("i1")] == ["provision", "deprovision"]
    assert server.send("DELETE", I1, None, deletion("at-once")).status == 410


def test_locked_database_delays_requests_concurrently(nursery: Nursery, tmp_path: Path) -> None:
    """Requests wait side by side, not one after the other."""
    made = Range(nursery, f"sqlite:///{tmp_path / 'broker.db'}", tmp_path)
    server = started(made.serve(made.setting(busy_timeout=500), threads=16))
    outage = Locked(made.url)
    outage.begin()
    try:
        with ThreadPoolExecutor(12) as pool:
            answers = list(
                pool.map(
                    lambda number: server.send("PUT", instance_path(f"i{number}"), body("at-once")), range(12)
                )
            )
    finally:
        outage.end()
        made.close()
    for answer in answers:
        check_told_to_come_back(answer)
    assert max(answer.at - answer.sent_at for answer in answers) < 3


def test_hanging_database_does_not_expire_leases(
    shooting_range: Range,
) -> None:
    """No process could renew its lease, so no attempt is recovered and no second handler runs."""
    outage: Outage = Locked(shooting_range.url)
    if not shooting_range.url.startswith("sqlite"):
        outage = Hanging(shooting_range.url)
    servers = [started(shooting_range.serve()) for _ in range(4)]
    for number in range(3 * ROUNDS):
        instance = f"i{number}"
        order = body("background", gate=f"open-{number}")
        path = instance_path(instance)
        operation = servers[0].send("PUT", path, order, CAN_POLL).body["operation"]
        shooting_range.events.wait_for_runs(instance, 1)
        outage.begin()
        time.sleep(2 * LEASE)  # for so long it hangs
        outage.end()
        assert servers[1].send("PUT", instance_path(f"other-{number}"), body("at-once")).status == 201
        shooting_range.open_gate(f"open-{number}")
        until_it_succeeded(servers[1], path, operation)
        assert len(shooting_range.events.runs(instance)) == 1
    until(lambda: is_at_rest(shooting_range.url))


@pytest.mark.rule("R-PROV-3")
@pytest.mark.parametrize("plan", ["at-once", "background"])
def test_full_or_read_only_database_loses_nothing(shooting_range: Range, plan: str) -> None:
    """A full disk (SQLite) or a read-only replica (PostgreSQL) gives 503. Finished work is stored later."""
    outage: Outage = Full(shooting_range.folder)
    if not shooting_range.url.startswith("sqlite"):
        outage = ReadOnly(shooting_range.url)
    server = started(shooting_range.serve())
    big = secrets.token_urlsafe(200_000)  # no free page is left that would hold it
    order = body(plan, gate="open", data=secrets.token_urlsafe(100_000))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.send, "PUT", I1, order, CAN_POLL)
        until(lambda: shooting_range.events.runs("i1"))
        outage.begin()
        try:
            shooting_range.open_gate("open")
            check_told_to_come_back(server.send("PUT", instance_path("other"), body("at-once", data=big)))
            until(lambda: shooting_range.events.runs("i1")[0].through)
            if plan == "at-once":
                check_told_to_come_back(answer.result(60))
        finally:
            outage.end()
        assert answer.result(60).status in (202, 503)
    until(lambda: server.send("GET", I1).status == 200)
    assert server.send("PUT", I1, order, CAN_POLL).status == 200
    assert len(shooting_range.events.runs("i1")) == 1
    assert server.send("PUT", instance_path("other"), body("at-once", data=big)).status in (200, 201)
    assert len(shooting_range.events.runs("other")) == 1
    check_all_rests(shooting_range.url)


class Full:
    """There is no room for another page."""

    def __init__(self, folder: Path) -> None:
        self._sign = folder / FULL

    def begin(self) -> None:
        self._sign.touch()

    def end(self) -> None:
        self._sign.unlink()
