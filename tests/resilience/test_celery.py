"""Tests of background work on real Celery workers and a real Redis that are killed, hang and return."""

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
from ..support.wait import wait_until
from .broker_app import LEASE, make_celery
from .conftest import BrokerProcesses
from .final_state import check_everything_deleted, check_nothing_in_progress, operations
from .processes import ProcessPool, activate, wait_until_finished, wait_until_succeeded
from .requests import (
    CAN_POLL,
    binding_body,
    binding_path,
    delete_query,
    instance_path,
    provision_body,
    update_body,
)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def processes(
    process_pool: ProcessPool, postgres_url: str, redis_url: str, tmp_path: Path
) -> Iterator[BrokerProcesses]:
    created = BrokerProcesses(process_pool, postgres_url, tmp_path, redis_url)
    yield created
    created.close()


@pytest.fixture
def any_store_processes(
    process_pool: ProcessPool, store_url: str, redis_url: str, tmp_path: Path
) -> Iterator[BrokerProcesses]:
    """Processes with a store on SQLite or PostgreSQL."""
    created = BrokerProcesses(process_pool, store_url, tmp_path, redis_url)
    yield created
    created.close()


def test_celery_workers_run_complete_lifecycle(any_store_processes: BrokerProcesses) -> None:
    """All background handlers run in worker processes, never in the web process."""
    processes = any_store_processes
    processes.start_worker("--pool=prefork", "--concurrency=2")
    web = processes.serve()
    path, binding = instance_path("i1"), binding_path("i1", "b1")
    for method, target, body, query in (
        ("PUT", path, provision_body("background"), CAN_POLL),
        ("PATCH", path, update_body(data="x"), CAN_POLL),
        ("PUT", binding, binding_body("background"), CAN_POLL),
        ("DELETE", binding, None, f"{delete_query('background')}&{CAN_POLL}"),
        ("DELETE", path, None, f"{delete_query('background')}&{CAN_POLL}"),
    ):
        response = web.send(method, target, body, query)
        assert response.status == 202, response
        wait_until_finished(web, target, response.body["operation"])
    check_everything_deleted(processes.url)
    runs = processes.events.runs()
    assert [run.begin.name for run in runs] == ["provision", "update", "bind", "unbind", "deprovision"]
    assert web.pid not in {run.begin.pid for run in runs}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_celery_pools_recover_lost_messages(processes: BrokerProcesses, redis: Redis, pool: str) -> None:
    """A worker of each pool type finds operations in the store without any request or message."""
    web = processes.serve()
    web.send("PUT", instance_path("i1"), provision_body("function"), CAN_POLL)
    wait_until(lambda: messages(redis))
    web.kill()
    redis.flushall()
    worker = processes.start_worker(f"--pool={pool}", "--concurrency=2")
    (run,) = processes.events.wait_for_runs("i1", 1)
    assert (run.begin.pid == worker.pid) == (pool != "prefork")
    wait_until(lambda: processes.events.of("signal", "provisioned", instance="i1"))


@pytest.mark.rule("R-LAST-1")
def test_poll_reports_progress_of_celery_worker(processes: BrokerProcesses) -> None:
    processes.start_worker("--pool=solo")
    web = processes.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, provision_body("background", later="open"), CAN_POLL).body["operation"]
    progress = {"state": "in progress", "description": "first"}
    wait_until(
        lambda: web.send("GET", f"{path}/last_operation", None, f"operation={operation}").body == progress
    )
    processes.open_gate("open")
    wait_until_succeeded(web, path, operation)


def test_celery_retry_runs_when_due(processes: BrokerProcesses) -> None:
    processes.start_worker("--pool=solo")
    web = processes.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, provision_body("function", retries=2, after=0.05), CAN_POLL).body[
        "operation"
    ]
    wait_until_succeeded(web, path, operation)
    assert [run.begin.attempt for run in processes.events.runs("i1")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("after", "waits_in"), [(800.0, "Celery"), (1000.0, "the store")], ids=["short", "long"]
)
def test_celery_retry_delay_respects_visibility_timeout(
    processes: BrokerProcesses, redis: Redis, after: float, waits_in: str
) -> None:
    """Short delays wait in Celery. Delays beyond a quarter of the visibility timeout wait in the store."""
    processes.start_worker("--pool=solo")
    web = processes.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, provision_body("function", retries=1, after=after), CAN_POLL).body[
        "operation"
    ]

    def waiting_row() -> dict[str, Any] | None:
        row = operations(processes.url)[operation]
        return row if row["attempt"] == 1 and row["lease_until"] is None else None

    row: dict[str, Any] = wait_until(waiting_row)
    if waits_in == "Celery":
        wait_until(lambda: re.search(r'"eta": "[^"]+"', "".join(everything(redis))))
        row = operations(processes.url)[operation]
        assert row["due_at"] == pytest.approx(row["updated_at"] + after)
        assert row["wake_at"] == pytest.approx(row["due_at"] + LEASE)
    else:
        assert row["due_at"] is None
        assert row["wake_at"] == pytest.approx(row["updated_at"] + after)
        wait_until(lambda: not messages(redis))  # a worker that started late may have got one twice
        assert not re.search(r'"eta": "[^"]+"', "".join(everything(redis)))


@pytest.mark.parametrize("victim", ["child", "worker"])
def test_killed_celery_worker_operation_is_recovered(processes: BrokerProcesses, victim: str) -> None:
    """There are exactly two attempts, although Celery also redelivers the message of a dead child."""
    worker = processes.start_worker("--pool=prefork", "--concurrency=1")
    web = processes.serve()
    path = instance_path("i1")
    body = provision_body("background", gate="open", attempts=1)
    operation = web.send("PUT", path, body, CAN_POLL).body["operation"]
    (first,) = processes.events.wait_for_runs("i1", 1)
    if victim == "child":
        os.kill(first.begin.pid, signal.SIGKILL)
    else:
        worker.kill()
        processes.start_worker("--pool=solo")
    wait_until_succeeded(web, path, operation)
    assert [run.begin.attempt for run in processes.events.runs("i1")] == [1, 2]
    check_nothing_in_progress(processes.url)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_celery_worker_shutdown_hands_over_generator(processes: BrokerProcesses, pool: str) -> None:
    """Another worker continues immediately, without waiting for the lease to expire."""
    first_worker = processes.start_worker(f"--pool={pool}", "--concurrency=1")
    web = processes.serve()
    path = instance_path("i1")
    body = provision_body("background", gate="open", attempts=1)
    operation = web.send("PUT", path, body, CAN_POLL).body["operation"]
    (first,) = processes.events.wait_for_runs("i1", 1)
    processes.start_worker("--pool=solo")
    first_worker.terminate()
    wait_until(
        lambda: f"Draining the background work of the process {first.begin.pid}" in processes.worker_log
    )
    processes.open_gate("open")
    wait_until_succeeded(web, path, operation)
    first, second = processes.events.runs("i1")
    assert (first.begin.attempt, second.begin.attempt) == (1, 2)
    assert first.begin.pid != second.begin.pid
    assert first.completed, "the worker must close the generator"
    assert not first.succeeded
    wait_until(lambda: not first_worker.is_alive)
    check_nothing_in_progress(processes.url)


def test_celery_worker_shutdown_finishes_function(processes: BrokerProcesses) -> None:
    worker = processes.start_worker("--pool=prefork", "--concurrency=1")
    web = processes.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, provision_body("function", gate="open"), CAN_POLL).body["operation"]
    processes.events.wait_for_runs("i1", 1)
    worker.terminate()
    wait_until(lambda: "Warm shutdown" in processes.worker_log)
    processes.open_gate("open")
    wait_until_succeeded(web, path, operation)
    wait_until(lambda: not worker.is_alive)
    (only,) = processes.events.runs("i1")
    assert only.succeeded


def test_lost_celery_message_is_sent_again(processes: BrokerProcesses, redis: Redis) -> None:
    web = processes.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, provision_body("function"), CAN_POLL).body["operation"]
    wait_until(lambda: messages(redis) == [operation])
    redis.flushall()
    processes.start_worker("--pool=solo")
    wait_until_succeeded(web, path, operation)
    assert len(processes.events.runs("i1")) == 1


def test_duplicate_and_unknown_celery_messages_are_ignored(
    processes: BrokerProcesses, redis_url: str
) -> None:
    web = processes.serve()
    path = instance_path("i1")
    operation = web.send("PUT", path, provision_body("function"), CAN_POLL).body["operation"]
    app = make_celery(redis_url)
    for operation_id in (operation, operation, "another", ""):
        app.send_task("brokerkit.run", (operation_id,))
    processes.start_worker("--pool=threads", "--concurrency=4")
    wait_until_succeeded(web, path, operation)
    app.send_task("brokerkit.run", (operation,))
    other = web.send("PUT", instance_path("i2"), provision_body("function"), CAN_POLL).body["operation"]
    wait_until_succeeded(web, instance_path("i2"), other)
    assert len(processes.events.runs("i1")) == 1
    assert "Traceback" not in processes.worker_log


@pytest.mark.parametrize(
    ("begin", "end"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.pause, RedisServer.resume)],
    ids=["stopped", "hanging"],
)
def test_redis_outage_delays_background_work(
    processes: BrokerProcesses,
    redis_server: RedisServer,
    begin: Callable[[RedisServer], None],
    end: Callable[[RedisServer], None],
) -> None:
    """Requests are 202 without Redis, and their operations run when it returns. The outage is logged once."""
    processes.start_worker("--pool=prefork", "--concurrency=1")
    web = activate(processes.serve())
    before = web.send("PUT", instance_path("i0"), provision_body("function"), CAN_POLL)
    wait_until_succeeded(web, instance_path("i0"), before.body["operation"])
    begin(redis_server)
    try:
        responses = {
            path: web.send("PUT", path, provision_body("function"), CAN_POLL)
            for path in (instance_path(f"i{number}") for number in range(1, 6))
        }
        assert {response.status for response in responses.values()} == {202}
        if begin is RedisServer.kill:
            wait_until(lambda: "Cannot publish" in processes.log)
        for path, response in responses.items():
            poll = web.send("GET", f"{path}/last_operation", None, f"operation={response.body['operation']}")
            assert poll.body["state"] == "in progress"
    finally:
        end(redis_server)
    for path, response in responses.items():
        wait_until_succeeded(web, path, response.body["operation"])
    assert processes.log.count("Cannot publish") <= 1
    assert len(processes.events.runs()) == 6


def test_celery_backlog_is_requeued_with_backoff(processes: BrokerProcesses, redis: Redis) -> None:
    """An operation is enqueued again only after waiting as long as before, in all processes together."""
    webs = [activate(processes.serve()) for _ in range(3)]
    paths = {instance_path(f"i{number}"): webs[number % 3] for number in range(10)}
    accepted = {
        path: web.send("PUT", path, provision_body("function"), CAN_POLL).body["operation"]
        for path, web in paths.items()
    }
    wait_until(lambda: set(messages(redis)) == set(accepted.values()))
    wait_until(lambda: max(Counter(messages(redis)).values()) >= 3)
    number = len(messages(redis))
    delay = max(row["wake_at"] - row["due_at"] for row in operations(processes.url).values())
    assert delay >= 3 * LEASE
    assert number <= 10 * (1 + log2(delay / LEASE))
    processes.start_worker("--pool=threads", "--concurrency=4")
    for path, web in paths.items():
        wait_until_succeeded(web, path, accepted[path])
    wait_until(lambda: not messages(redis))
    assert len(processes.events.runs()) == 10


def test_redis_contains_operation_ids_only(processes: BrokerProcesses, redis: Redis) -> None:
    """Neither instance ids nor parameters are in Redis."""
    web = processes.serve()
    path = instance_path("guarded-instance")
    body = provision_body("function", data="guarded-parameter")
    operation = web.send("PUT", path, body, CAN_POLL).body["operation"]
    wait_until(lambda: messages(redis))
    assert [value for value in everything(redis) if operation in value], "the search must cover the message"
    assert not [value for value in everything(redis) if "guarded" in value]
    processes.start_worker("--pool=solo")
    wait_until_succeeded(web, path, operation)
    assert not [value for value in everything(redis) if "guarded" in value]


def messages(redis: Redis) -> list[str]:
    """Return the operation ids of the messages in Celery's queue."""
    queue: Any = redis.lrange("celery", 0, -1)
    bodies = (b64decode(msgspec.json.decode(message)["body"]) for message in queue)
    return [msgspec.json.decode(body)[0][0] for body in bodies]


_READERS: dict[str, Callable[[Redis, str], Any]] = {
    "none": lambda redis, key: [],  # deleted in the meantime
    "string": lambda redis, key: [redis.get(key)],
    "list": lambda redis, key: redis.lrange(key, 0, -1),
    "set": lambda redis, key: redis.smembers(key),
    "hash": lambda redis, key: [text for item in redis.hgetall(key).items() for text in item],
    "zset": lambda redis, key: redis.zrange(key, 0, -1),
}


def everything(redis: Redis) -> list[str]:
    """Return all keys and values, and the decoded bodies of messages."""
    texts: list[str] = []
    for key in redis.scan_iter():
        texts += [key, *_READERS[str(redis.type(key))](redis, key)]
    bodies = [b64decode(body) for text in texts for body in re.findall(r'"body": "([^"]+)"', text)]
    return [*texts, *(body.decode() for body in bodies)]
