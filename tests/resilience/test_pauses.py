"""Tests of a process that is paused for longer than its lease and then continues."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from ..support.wait import wait_until
from .conftest import BrokerProcesses
from .final_state import check_nothing_in_progress, is_idle
from .processes import Server, activate, wait_until_succeeded
from .requests import CAN_POLL, delete_query, instance_path, provision_body

I1 = instance_path("i1")


def pause(server: Server, processes: BrokerProcesses) -> None:
    """Stop a process while it does not write: otherwise it blocks all other writers of SQLite."""
    engine = create_engine(
        processes.url, connect_args=_CONNECT_ARGS.get(make_url(processes.url).drivername, {})
    )
    while True:
        server.pause()
        try:
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM brokerkit_bindings WHERE id = 'none'"))
        except OperationalError:
            server.resume()
        else:
            return engine.dispose()


_CONNECT_ARGS = {"sqlite": {"timeout": 0.1}}


@pytest.mark.parametrize("plan", ["background", "function"])
def test_paused_process_cannot_overwrite_recovered_operation(
    processes: BrokerProcesses, plan: str, record_property: Callable[[str, object], None]
) -> None:
    """The result of the recovering attempt is kept, and its signal is sent once."""
    paused, other = activate(processes.serve()), activate(processes.serve())
    operation = paused.send("PUT", I1, provision_body(plan, gate="open", attempts=1), CAN_POLL).body[
        "operation"
    ]
    (first,) = processes.events.wait_for_runs("i1", 1)
    if first.begin.pid == other.pid:
        paused, other = other, paused
    pause(paused, processes)
    wait_until_succeeded(other, I1, operation)
    stored = other.send("GET", I1).body
    assert stored["dashboard_url"] == f"http://{other.pid}"
    paused.resume()
    processes.open_gate("open")
    wait_until(lambda: processes.events.runs("i1")[0].completed)
    wait_until(lambda: paused.send("GET", I1).body == stored)
    wait_until(lambda: is_idle(processes.url))
    assert [run.begin.pid for run in processes.events.runs("i1")] == [paused.pid, other.pid]
    assert [event.pid for event in processes.events.of("signal")] == [other.pid]
    paused.terminate()  # it drains first, so it can change nothing later
    assert other.send("GET", I1).body == stored
    check_nothing_in_progress(processes.url)


@pytest.mark.rule("R-DEL-5")
def test_paused_request_is_refused_after_recovery(processes: BrokerProcesses) -> None:
    """Another process deletes and recreates the instance. The paused request gets 422 and changes nothing."""
    paused, other = activate(processes.serve()), activate(processes.serve())
    with ThreadPoolExecutor(1) as pool:
        delayed = pool.submit(paused.send, "PUT", I1, provision_body("synchronous", gate="open"))
        wait_until(lambda: processes.events.runs("i1"))
        pause(paused, processes)
        wait_until(lambda: other.send("GET", f"{I1}/last_operation").body["state"] == "failed")
        assert other.send("PUT", I1, provision_body("synchronous", gate="open")).status == 409
        assert other.send("DELETE", I1, None, delete_query("synchronous")).status == 200
        assert other.send("PUT", I1, provision_body("synchronous", data="new")).status == 201
        stored = other.send("GET", I1).body
        paused.resume()
        processes.open_gate("open")
        assert delayed.result(60).is_busy
    assert paused.send("GET", I1).body == stored
    assert stored["dashboard_url"] == f"http://{other.pid}"
    assert len(processes.events.of("signal", "provisioned")) == 1
    check_nothing_in_progress(processes.url)
