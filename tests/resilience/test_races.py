"""Four processes of a broker, and all that platforms send at the same time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from .conftest import ROUNDS, Range
from .events import at_once
from .final_state import check_all_rests, is_at_rest, operations
from .processes import Answer, Server, until_it_succeeded
from .requests import CAN_POLL, binding_body, binding_path, body, change, deletion, instance_path
from .wait import until

PROCESSES, THREADS = 4, 16

Order = Callable[[Server], Answer]


@pytest.fixture
def servers(shooting_range: Range) -> list[Server]:
    # A lease as users have it, nearly: on a busy machine a process may not come to it for a second.
    setting = shooting_range.setting(lease=20.0)
    return [shooting_range.serve(setting, threads=THREADS) for _ in range(PROCESSES)]


def all_at_once(servers: list[Server], orders: list[Order]) -> list[Answer]:
    """Send them at the same moment, in turns to each of the processes."""
    barrier = Barrier(len(orders))

    def send(number: int, order: Order) -> Answer:
        barrier.wait(30)
        return order(servers[number % len(servers)])

    with ThreadPoolExecutor(len(orders)) as pool:
        return list(pool.map(send, range(len(orders)), orders))


def put(instance: str, plan: str = "at-once", *, query: str = CAN_POLL, **parameters: object) -> Order:
    return lambda server: server.send("PUT", instance_path(instance), body(plan, **parameters), query)


def patch(instance: str, *, query: str = CAN_POLL, **parameters: object) -> Order:
    return lambda server: server.send("PATCH", instance_path(instance), change(**parameters), query)


def delete(instance: str, plan: str = "at-once", *, query: str = CAN_POLL) -> Order:
    return lambda server: server.send("DELETE", instance_path(instance), None, f"{deletion(plan)}&{query}")


def bind(
    instance: str, binding: str, plan: str = "at-once", *, query: str = CAN_POLL, **parameters: object
) -> Order:
    path = binding_path(instance, binding)
    return lambda server: server.send("PUT", path, binding_body(plan, **parameters), query)


def unbind(instance: str, binding: str, plan: str = "at-once", *, query: str = CAN_POLL) -> Order:
    path = binding_path(instance, binding)
    return lambda server: server.send("DELETE", path, None, f"{deletion(plan)}&{query}")


EVERYBODY = PROCESSES * THREADS


@pytest.mark.rule("R-PROV-1", "R-PROV-3", "R-PROV-4")
@pytest.mark.parametrize("plan", ["at-once", "polled", "background"])
def test_concurrent_identical_provisions_call_handler_once(
    shooting_range: Range, servers: list[Server], plan: str
) -> None:
    """One request is 201 and later ones 200, or all are 202 with the same operation."""
    for number in range(2 * ROUNDS):
        instance = f"{plan}-{number}"
        answers = all_at_once(servers, [put(instance, plan, seconds=0.05)] * EVERYBODY)
        statuses = Counter(answer.status for answer in answers)
        (run,) = shooting_range.events.runs(instance)
        assert run.begun.name == "provision"
        told = {answer.body["operation"] for answer in answers if answer.status == 202}
        assert len(told) <= 1
        if plan == "at-once":
            assert statuses[201] == 1
            assert set(statuses) <= {200, 201, 202}
        elif plan == "polled":
            assert set(statuses) == {202}
        else:
            assert set(statuses) <= {200, 202}
            assert statuses[202]
        assert all(answer.at > run.ended_at for answer in answers if answer.status in (200, 201))
        (row,) = [row for row in operations(shooting_range.url).values() if row["instance_id"] == instance]
        assert told <= {row["id"]}
        until_it_succeeded(servers[0], instance_path(instance), row["id"])
    until_all_rests(shooting_range)


@pytest.mark.rule("R-PROV-3")
def test_concurrent_provisions_without_polling_get_422(shooting_range: Range, servers: list[Server]) -> None:
    """A 200 is returned only after the instance exists."""
    answers = all_at_once(servers, [put("i1", query="", seconds=0.2)] * EVERYBODY)
    statuses = Counter(answer.status for answer in answers)
    (run,) = shooting_range.events.runs("i1")
    assert statuses[201] == 1
    assert all(answer.is_busy for answer in answers if answer.status == 422)
    assert set(statuses) <= {200, 201, 422}
    assert all(answer.at > run.ended_at for answer in answers if answer.status in (200, 201))


@pytest.mark.rule("R-PROV-5")
def test_concurrent_different_provisions_have_one_winner(
    shooting_range: Range, servers: list[Server]
) -> None:
    """Requests identical to the winner get 200, 201 or 202. All others get 409."""
    for number in range(2 * ROUNDS):
        instance = f"i{number}"
        orders = [put(instance, seconds=0.01, data=str(kind)) for kind in range(8)] * (EVERYBODY // 8)
        answers = all_at_once(servers, orders)
        (run,) = shooting_range.events.runs(instance)
        assert run.through
        good = {place % 8 for place, answer in enumerate(answers) if answer.status != 409}
        assert len(good) == 1, "one kind won"
        assert Counter(answer.status for answer in answers)[409] == EVERYBODY * 7 // 8
    until_all_rests(shooting_range)


@pytest.mark.rule("R-BIND-1")
def test_concurrent_binds_run_once_per_binding(shooting_range: Range, servers: list[Server]) -> None:
    """Different bindings of one instance run concurrently."""
    assert put("i1")(servers[0]).status == 201
    orders = [bind("i1", f"b{kind}", seconds=0.1) for kind in range(8)] * (EVERYBODY // 8)
    answers = all_at_once(servers, orders)
    runs = [run for run in shooting_range.events.runs("i1") if run.begun.name == "bind"]
    assert Counter(run.begun.binding for run in runs) == {f"b{kind}": 1 for kind in range(8)}
    assert Counter(answer.status for answer in answers)[201] == 8
    assert {answer.status for answer in answers} <= {200, 201, 202}
    assert any(one.overlaps(other) for one in runs for other in runs if one is not other)
    until_all_rests(shooting_range)


WAYS = {
    "at-once": "",
    "at-once, who can poll": CAN_POLL,
    "background": CAN_POLL,
}


@pytest.mark.rule("R-DEL-3", "R-UPD-5", "R-BIND-5")
@pytest.mark.parametrize("way", WAYS)
def test_concurrent_operations_of_instance_are_serialized(
    shooting_range: Range, servers: list[Server], way: str
) -> None:
    """Instance operations exclude all others of their instance, and the handler history is consistent."""
    plan, query = way.split(",")[0], WAYS[way]
    chance = random.Random(way)
    instances = [f"i{number}" for number in range(6)]
    answers: list[Answer] = []
    for number in range(4 * ROUNDS):
        orders: list[Order] = []
        while len(orders) < EVERYBODY:
            instance, binding = chance.choice(instances), f"b{chance.randrange(3)}"
            seconds = chance.choice([0.0, 0.0, 0.01, 0.03])
            choices = [
                put(instance, plan, query=query, seconds=0.01),
                put(instance, plan, query=query, seconds=0.01),
                patch(instance, query=query, seconds=seconds, data=str(number)),
                delete(instance, plan, query=query),
                bind(instance, binding, plan, query=query, seconds=seconds),
                bind(instance, binding, plan, query=query, seconds=seconds),
                unbind(instance, binding, plan, query=query),
            ]
            orders.append(chance.choice(choices))
        answers += all_at_once(servers, orders)
    assert {answer.status for answer in answers} <= {200, 201, 202, 404, 409, 410, 422}
    assert all(answer.is_busy for answer in answers if answer.status == 422)
    until_all_rests(shooting_range)
    for instance in instances:
        check_history(shooting_range, instance, may_be_halted=bool(query))
    if not query:
        check_answers(shooting_range, answers)


@pytest.mark.rule("R-DEL-3")
def test_delete_starts_when_cancelled_handler_ends(
    shooting_range: Range, servers: list[Server], record_property: Callable[[str, object], None]
) -> None:
    """The DELETE does not wait for the lease of the cancelled attempt to expire."""
    instances = [f"i{number}" for number in range(24 * ROUNDS)]

    def live(number: int, instance: str) -> float:
        server = servers[number % PROCESSES]
        assert put(instance, "single", seconds=0.1)(server).status == 202
        shooting_range.events.wait_for_runs(instance, 1)
        delete(instance, "single")(servers[(number + 1) % PROCESSES])
        until(lambda: delete(instance, "single")(server).status == 410, timeout=60)
        *_, last = shooting_range.events.runs(instance)
        return last.begun.at - shooting_range.events.runs(instance)[0].ended_at

    with ThreadPoolExecutor(8) as pool:
        delays = list(pool.map(live, range(len(instances)), instances))
    record_property("begun_after", round(max(delays), 2))
    assert max(delays) < 10


def until_all_rests(shooting_range: Range) -> None:
    until(lambda: is_at_rest(shooting_range.url), pause=0.05)
    check_all_rests(shooting_range.url)


def check_history(shooting_range: Range, instance: str, *, may_be_halted: bool) -> None:
    """What handlers did of an instance is what can be done, one after the other.

    Who can poll may halt what has not begun yet; what there is of it is deleted all the same (R-DEL-3).
    """
    runs = shooting_range.events.runs(instance)
    assert all(run.through for run in runs)
    assert at_once(runs) == []
    assert len({(run.begun.identity, run.begun.attempt) for run in runs}) == len(runs), "once for a request"
    is_there, bindings = False, set[str]()
    for run in runs:
        name, binding = run.begun.name, run.begun.binding or ""
        match name:
            case "provision":
                assert not is_there
                is_there = True
            case "deprovision":
                assert is_there or may_be_halted
                is_there, bindings = False, set()
            case "update":
                assert is_there
            case "bind":
                assert is_there
                assert binding not in bindings
                bindings.add(binding)
            case "unbind":
                assert binding in bindings or may_be_halted
                bindings.discard(binding)
    answer = shooting_range.servers[0].send("GET", instance_path(instance))
    assert answer.status == (200 if is_there else 404)


def check_answers(shooting_range: Range, answers: list[Answer]) -> None:
    """Who could not poll was told what was done, neither more nor less."""
    done = Counter(run.begun.name for run in shooting_range.events.runs())
    cancelled = sum("was cancelled or" in answer.body.get("description", "") for answer in answers)
    created = sum(answer.status == 201 for answer in answers)
    assert created + cancelled == done["provision"] + done["bind"]
