"""Background work on Celery's workers: real ones, with a real Redis, that die, hang and come back."""

from __future__ import annotations

import os
import re
import signal
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from math import log2
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis

from ..support.redis import Server as RedisServer
from .broker_app import LEASE, make_celery
from .conftest import Range
from .final_state import check_all_rests, check_nothing_is_left, operations
from .processes import Nursery, started, until_it_ended, until_it_succeeded
from .requests import CAN_POLL, binding_body, binding_path, body, change, deletion, instance_path
from .wait import until


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def celery_range(nursery: Nursery, postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[Range]:
    made = Range(nursery, postgres_url, tmp_path, redis_url)
    yield made
    made.close()


@pytest.fixture
def any_range(nursery: Nursery, store_url: str, redis_url: str, tmp_path: Path) -> Iterator[Range]:
    made = Range(nursery, store_url, tmp_path, redis_url)
    yield made
    made.close()


def test_celery_workers_run_complete_lifecycle(any_range: Range) -> None:
    """All background handlers run in worker processes, never in the web process."""
    any_range.work("--pool=prefork", "--concurrency=2")
    web = any_range.serve()
    path, binding = instance_path("i1"), binding_path("i1", "b1")
    for method, asked, order, query in (
        ("PUT", path, body("background"), CAN_POLL),
        ("PATCH", path, change(data="x"), CAN_POLL),
        ("PUT", binding, binding_body("background"), CAN_POLL),
        ("DELETE", binding, None, f"{deletion('background')}&{CAN_POLL}"),
        ("DELETE", path, None, f"{deletion('background')}&{CAN_POLL}"),
    ):
        answer = web.send(method, asked, order, query)
        assert answer.status == 202, answer
        until_it_ended(web, asked, answer.body["operation"])
    check_nothing_is_left(any_range.url)
    runs = any_range.events.runs()
    assert [run.begun.name for run in runs] == ["provision", "update", "bind", "unbind", "deprovision"]
    assert web.pid not in {run.begun.pid for run in runs}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_celery_pools_recover_lost_messages(celery_range: Range, redis: Redis, pool: str) -> None:
    """A worker of each pool type finds operations in the store without any request or message."""
    web = celery_range.serve()
    web.send("PUT", instance_path("i1"), body("single"), CAN_POLL)
    until(lambda: messages(redis))
    web.kill()
    redis.flushall()
    worker = celery_range.work(f"--pool={pool}", "--concurrency=2")
    (run,) = celery_range.events.wait_for_runs("i1", 1)
    assert (run.begun.pid == worker.pid) == (pool != "prefork")
    until(lambda: celery_range.events.of("signal", "provisioned", instance="i1"))


@pytest.mark.rule("R-LAST-1")
def test_poll_reports_progress_of_celery_worker(celery_range: Range) -> None:
    celery_range.work("--pool=solo")
    web = celery_range.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, body("background", later="open"), CAN_POLL).body["operation"]
    told = {"state": "in progress", "description": "first"}
    until(lambda: web.send("GET", f"{path}/last_operation", None, f"operation={operation}").body == told)
    celery_range.open_gate("open")
    until_it_succeeded(web, path, operation)


def test_celery_retry_runs_when_due(celery_range: Range) -> None:
    celery_range.work("--pool=solo")
    web = celery_range.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, body("single", retries=2, after=0.05), CAN_POLL).body["operation"]
    until_it_succeeded(web, path, operation)
    assert [run.begun.attempt for run in celery_range.events.runs("i1")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("after", "where"), [(800.0, "Celery"), (1000.0, "the store")], ids=["soon", "not soon"]
)
def test_celery_retry_delay_respects_visibility_timeout(
    celery_range: Range, redis: Redis, after: float, where: str
) -> None:
    """Short delays wait in Celery. Delays beyond a quarter of the visibility timeout wait in the store."""
    celery_range.work("--pool=solo")
    web = celery_range.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, body("single", retries=1, after=after), CAN_POLL).body["operation"]

    def waiting() -> dict[str, Any] | None:
        row = operations(celery_range.url)[operation]
        return row if row["attempt"] == 1 and row["lease_until"] is None else None

    row: dict[str, Any] = until(waiting)
    if where == "Celery":
        until(lambda: re.search(r'"eta": "[^"]+"', "".join(everything(redis))))
        row = operations(celery_range.url)[operation]
        assert row["due_at"] == pytest.approx(row["updated_at"] + after)
        assert row["wake_at"] == pytest.approx(row["due_at"] + LEASE)
    else:
        assert row["due_at"] is None
        assert row["wake_at"] == pytest.approx(row["updated_at"] + after)
        until(lambda: not messages(redis))  # where the worker began late, one came twice
        assert not re.search(r'"eta": "[^"]+"', "".join(everything(redis)))


@pytest.mark.parametrize("what", ["a child", "all of it"])
def test_killed_celery_worker_operation_is_recovered(celery_range: Range, what: str) -> None:
    """There are exactly two attempts, although Celery also redelivers the message of a dead child."""
    victim = celery_range.work("--pool=prefork", "--concurrency=1")
    web = celery_range.serve()
    path = instance_path("i1")
    order = body("background", gate="open", attempts=1)
    operation = web.send("PUT", path, order, CAN_POLL).body["operation"]
    (first,) = celery_range.events.wait_for_runs("i1", 1)
    if what == "a child":
        os.kill(first.begun.pid, signal.SIGKILL)
    else:
        victim.kill()
        celery_range.work("--pool=solo")
    until_it_succeeded(web, path, operation)
    assert [run.begun.attempt for run in celery_range.events.runs("i1")] == [1, 2]
    check_all_rests(celery_range.url)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_celery_worker_shutdown_hands_over_generator(celery_range: Range, pool: str) -> None:
    """Another worker continues immediately, without waiting for the lease to expire."""
    first_worker = celery_range.work(f"--pool={pool}", "--concurrency=1")
    web = celery_range.serve()
    path = instance_path("i1")
    order = body("background", gate="open", attempts=1)
    operation = web.send("PUT", path, order, CAN_POLL).body["operation"]
    (first,) = celery_range.events.wait_for_runs("i1", 1)
    celery_range.work("--pool=solo")
    first_worker.terminate()
    until(lambda: "Warm shutdown" in celery_range.worker_log)
    celery_range.open_gate("open")
    until_it_succeeded(web, path, operation)
    first, second = celery_range.events.runs("i1")
    assert (first.begun.attempt, second.begun.attempt) == (1, 2)
    assert first.begun.pid != second.begun.pid
    assert first.through, "its generator was closed"
    assert not first.went_well
    until(lambda: not first_worker.is_alive)
    check_all_rests(celery_range.url)


def test_celery_worker_shutdown_finishes_function(celery_range: Range) -> None:
    worker = celery_range.work("--pool=prefork", "--concurrency=1")
    web = celery_range.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, body("single", gate="open"), CAN_POLL).body["operation"]
    celery_range.events.wait_for_runs("i1", 1)
    worker.terminate()
    until(lambda: "Warm shutdown" in celery_range.worker_log)
    celery_range.open_gate("open")
    until_it_succeeded(web, path, operation)
    until(lambda: not worker.is_alive)
    (only,) = celery_range.events.runs("i1")
    assert only.went_well


def test_lost_celery_message_is_sent_again(celery_range: Range, redis: Redis) -> None:
    web = celery_range.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, body("single"), CAN_POLL).body["operation"]
    until(lambda: messages(redis) == [operation])
    redis.flushall()
    celery_range.work("--pool=solo")
    until_it_succeeded(web, path, operation)
    assert len(celery_range.events.runs("i1")) == 1


def test_duplicate_and_unknown_celery_messages_are_ignored(celery_range: Range, redis_url: str) -> None:
    web = celery_range.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, body("single"), CAN_POLL).body["operation"]
    made = make_celery(redis_url)
    for each in (operation, operation, "another", ""):
        made.send_task("brokerkit.run", (each,))
    celery_range.work("--pool=threads", "--concurrency=4")
    until_it_succeeded(web, path, operation)
    made.send_task("brokerkit.run", (operation,))
    other = web.send("PUT", instance_path("i2"), body("single"), CAN_POLL).body["operation"]
    until_it_succeeded(web, instance_path("i2"), other)
    assert len(celery_range.events.runs("i1")) == 1
    assert "Traceback" not in celery_range.worker_log


@pytest.mark.parametrize(
    ("begin", "end"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.pause, RedisServer.go_on)],
    ids=["down", "hanging"],
)
def test_redis_outage_delays_background_work(
    celery_range: Range,
    redis_server: RedisServer,
    begin: Callable[[RedisServer], None],
    end: Callable[[RedisServer], None],
) -> None:
    """Requests are 202 without Redis, and their operations run when it returns. The outage is logged once."""
    celery_range.work("--pool=prefork", "--concurrency=1")
    web = started(celery_range.serve())
    before = web.send("PUT", instance_path("i0"), body("single"), CAN_POLL)
    until_it_succeeded(web, instance_path("i0"), before.body["operation"])
    begin(redis_server)
    try:
        answers = {
            path: web.send("PUT", path, body("single"), CAN_POLL)
            for path in (instance_path(f"i{number}") for number in range(1, 6))
        }
        assert {answer.status for answer in answers.values()} == {202}
        if begin is RedisServer.kill:
            until(lambda: "takes none" in celery_range.log)
        for path, answer in answers.items():
            told = web.send("GET", f"{path}/last_operation", None, f"operation={answer.body['operation']}")
            assert told.body["state"] == "in progress"
    finally:
        end(redis_server)
    for path, answer in answers.items():
        until_it_succeeded(web, path, answer.body["operation"])
    assert celery_range.log.count("takes none") <= 1
    assert len(celery_range.events.runs()) == 6


def test_celery_backlog_is_requeued_with_backoff(celery_range: Range, redis: Redis) -> None:
    """However many processes see a waiting operation, it is enqueued again only after waiting as long as
    before.
    """
    webs = [started(celery_range.serve()) for _ in range(3)]
    paths = {instance_path(f"i{number}"): webs[number % 3] for number in range(10)}
    asked = {
        path: web.send("PUT", path, body("single"), CAN_POLL).body["operation"] for path, web in paths.items()
    }
    until(lambda: set(messages(redis)) == set(asked.values()))
    until(lambda: max(Counter(messages(redis)).values()) >= 3)
    number = len(messages(redis))
    waited = max(row["wake_at"] - row["due_at"] for row in operations(celery_range.url).values())
    assert waited >= 3 * LEASE
    assert number <= 10 * (1 + log2(waited / LEASE))
    celery_range.work("--pool=threads", "--concurrency=4")
    for path, web in paths.items():
        until_it_succeeded(web, path, asked[path])
    until(lambda: not messages(redis))
    assert len(celery_range.events.runs()) == 10


def test_redis_contains_operation_ids_only(celery_range: Range, redis: Redis) -> None:
    """Neither instance ids nor parameters are in Redis."""
    web = celery_range.serve()
    path = instance_path("guarded-instance")
    order = body("single", data="guarded-parameter")
    operation = web.send("PUT", path, order, CAN_POLL).body["operation"]
    until(lambda: messages(redis))
    assert [value for value in everything(redis) if operation in value], "it is looked for where it is"
    assert not [value for value in everything(redis) if "guarded" in value]
    celery_range.work("--pool=solo")
    until_it_succeeded(web, path, operation)
    assert not [value for value in everything(redis) if "guarded" in value]


def messages(redis: Redis) -> list[str]:
    """The operations of those that wait in Celery's queue."""
    found: Any = redis.lrange("celery", 0, -1)
    bodies = (b64decode(msgspec.json.decode(each)["body"]) for each in found)
    return [msgspec.json.decode(each)[0][0] for each in bodies]


_READ: dict[str, Callable[[Redis, str], Any]] = {
    "none": lambda redis, key: [],  # it has gone meanwhile
    "string": lambda redis, key: [redis.get(key)],
    "list": lambda redis, key: redis.lrange(key, 0, -1),
    "set": lambda redis, key: redis.smembers(key),
    "hash": lambda redis, key: [text for item in redis.hgetall(key).items() for text in item],
    "zset": lambda redis, key: redis.zrange(key, 0, -1),
}


def everything(redis: Redis) -> list[str]:
    """All keys and values, and within these what is encoded."""
    found: list[str] = []
    for key in redis.scan_iter():
        found += [key, *_READ[str(redis.type(key))](redis, key)]
    bodies = [b64decode(body) for text in found for body in re.findall(r'"body": "([^"]+)"', text)]
    return [*found, *(body.decode() for body in bodies)]
