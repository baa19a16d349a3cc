"""A process that stands still for longer than its lease, and then goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from .conftest import Range
from .final_state import check_all_rests, is_at_rest
from .processes import Server, started, until_it_succeeded
from .requests import CAN_POLL, body, deletion, instance_path
from .wait import until

I1 = instance_path("i1")


def pause(server: Server, shooting_range: Range) -> None:
    """Stop a process at a moment when it does not write: on SQLite, nobody could until it goes on."""
    engine = create_engine(
        shooting_range.url, connect_args=_AT_ONCE.get(make_url(shooting_range.url).drivername, {})
    )
    while True:
        server.pause()
        try:
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM brokerkit_bindings WHERE id = 'none'"))
        except OperationalError:
            server.go_on()
        else:
            return engine.dispose()


_AT_ONCE = {"sqlite": {"timeout": 0.1}}


@pytest.mark.parametrize("plan", ["background", "single"])
def test_paused_process_cannot_overwrite_recovered_operation(
    shooting_range: Range, plan: str, record_property: Callable[[str, object], None]
) -> None:
    """The result of the recovering attempt is kept, and its signal is sent once."""
    sleeper, other = started(shooting_range.serve()), started(shooting_range.serve())
    operation = sleeper.send("PUT", I1, body(plan, gate="open", attempts=1), CAN_POLL).body["operation"]
    (first,) = until(lambda: shooting_range.events.runs("i1"))
    if first.begun.pid == other.pid:
        sleeper, other = other, sleeper
    pause(sleeper, shooting_range)
    until_it_succeeded(other, I1, operation)
    made = other.send("GET", I1).body
    assert made["dashboard_url"] == f"http://{other.pid}"
    sleeper.go_on()
    shooting_range.open_gate("open")
    until(lambda: shooting_range.events.runs("i1")[0].through)
    until(lambda: sleeper.send("GET", I1).body == made)
    until(lambda: is_at_rest(shooting_range.url))
    assert [run.begun.pid for run in shooting_range.events.runs("i1")] == [sleeper.pid, other.pid]
    assert [event.pid for event in shooting_range.events.of("signal")] == [other.pid]
    sleeper.terminate()  # it is through with it, whatever it did
    assert other.send("GET", I1).body == made
    check_all_rests(shooting_range.url)


@pytest.mark.rule("R-DEL-5")
def test_paused_request_is_refused_after_recovery(shooting_range: Range) -> None:
    """Another process deletes and recreates the instance. The paused request gets 422 and changes nothing."""
    sleeper, other = started(shooting_range.serve()), started(shooting_range.serve())
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(sleeper.send, "PUT", I1, body("at-once", gate="open"))
        until(lambda: shooting_range.events.runs("i1"))
        pause(sleeper, shooting_range)
        until(lambda: other.send("GET", f"{I1}/last_operation").body["state"] == "failed")
        assert other.send("PUT", I1, body("at-once", gate="open")).status == 409
        assert other.send("DELETE", I1, None, deletion("at-once")).status == 200
        assert other.send("PUT", I1, body("at-once", data="new")).status == 201
        made = other.send("GET", I1).body
        sleeper.go_on()
        shooting_range.open_gate("open")
        assert late.result(60).is_busy
    assert sleeper.send("GET", I1).body == made
    assert made["dashboard_url"] == f"http://{other.pid}"
    assert len(shooting_range.events.of("signal", "provisioned")) == 1
    check_all_rests(shooting_range.url)
