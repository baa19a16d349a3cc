"""Background work on Celery's workers: real ones, with a real Redis, that die, hang and come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from .conftest import Range
from .orders import CAN_POLL, binding_body, binding_path, body, change, deletion, instance_path
from .processes import Nursery, until_it_ended
from .rest import check_nothing_is_left


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


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_workers_do_the_background_work_of_a_whole_life(any_range: Range, pool: str) -> None:
    worker = any_range.work(f"--pool={pool}", "--concurrency=2")
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
    assert (worker.pid in {run.begun.pid for run in runs}) == (pool != "prefork")
