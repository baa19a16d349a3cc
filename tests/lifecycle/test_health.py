"""Health endpoints of a broker with a store."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, text

from brokerkit import ThreadExecutor

from ..support.broker import INSTANCE, PROVISION, Recorder
from ..support.postgres import Server, fresh_database
from ..support.stateful import CAN_POLL, Gate, Platform, Serve, until

WELL = {"status": "ok", "store": "ok", "schema": "ok", "executor": "ok"}
AWAY = {"status": "failed", "store": "failed", "schema": "unknown", "executor": "ok"}
HANGS = {**AWAY, "executor": "unknown"}


def healthy(serve: Serve, recorder: Recorder, **settings: Any) -> Platform:
    """A platform in front of a broker that tells how it is."""
    platform = serve(recorder, **settings)
    platform.app.register_blueprint(serve.brokers[-1].health)
    return platform


@pytest.fixture
def platform(serve: Serve, recorder: Recorder) -> Platform:
    return healthy(serve, recorder)


def ask(platform: Platform, path: str = "/health") -> tuple[int, Any]:
    """As a load balancer does, without credentials."""
    answer = platform.app.test_client().get(path)
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answer.json


def test_health_is_ok(platform: Platform) -> None:
    assert ask(platform) == (200, WELL)
    assert ask(platform, "/health/live") == (200, {"status": "ok"})


@pytest.mark.parametrize("version", ["0000", "9999"])
def test_health_fails_for_other_schema_version(platform: Platform, serve: Serve, version: str) -> None:
    """Readiness is 503. Liveness stays 200 because a restart would not help."""
    with closing(serve.store()) as store, store.database.engine.connect() as connection:
        connection.execute(text("UPDATE brokerkit_version SET version_num = :version"), {"version": version})
    assert ask(platform) == (503, {**WELL, "status": "failed", "schema": "failed"})
    assert ask(platform, "/health/live")[0] == 200, "to start it again would not help"


class Telling(ThreadExecutor):
    """An executor that says of itself what a test says."""

    def __init__(self, alive: Callable[[], bool]) -> None:
        super().__init__()
        self.alive = alive


def cannot_tell() -> bool:
    raise OSError("redis://user:s3cret@host")


@pytest.mark.parametrize(
    ("alive", "word"), [(lambda: True, "ok"), (lambda: False, "failed"), (cannot_tell, "failed")]
)
def test_health_includes_executor_status(
    serve: Serve, recorder: Recorder, alive: Callable[[], bool], word: str
) -> None:
    """An executor that is not alive, or raises an error, makes the broker unhealthy."""
    platform = healthy(serve, recorder, executor=Telling(alive))
    status = 200 if word == "ok" else 503
    assert ask(platform) == (status, {**WELL, "status": word, "executor": word})


def test_dead_scheduler_thread_fails_liveness(platform: Platform, serve: Serve) -> None:
    """Readiness and liveness are 503, so the process is restarted."""
    assert ask(platform)[0] == 200
    running = serve.brokers[-1]._runtime
    assert running is not None
    running.scheduler.stop()
    until(lambda: ask(platform) == (503, {**WELL, "status": "failed", "executor": "failed"}))
    assert ask(platform, "/health/live") == (503, {"status": "failed"})


def test_shutdown_fails_readiness_only(serve: Serve, recorder: Recorder) -> None:
    """During shutdown readiness is 503 `stopping` and liveness is 200."""
    gate = recorder.answers["provision"] = Gate()
    platform = healthy(serve, recorder, background=["provision"])
    platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    gate.wait_until_reached()
    ending = threading.Thread(target=serve.brokers[-1].close)
    ending.start()
    until(lambda: ask(platform) == (503, {"status": "stopping"}))
    assert ask(platform, "/health/live")[0] == 200
    gate.open()
    ending.join()


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another connection locks the database and does not release it."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(make_url(url).database or "", isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("DELETE FROM brokerkit_operations")
            yield
    else:
        libpq = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(libpq) as connection:
            connection.execute("LOCK TABLE brokerkit_version, brokerkit_operations")
            yield


def check_hanging(platform: Platform) -> None:
    """However many ask, one thread waits."""
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda _: ask(platform), range(64))) == [(503, HANGS)] * 64
    assert sum(thread.name == "brokerkit-health-check" for thread in threading.enumerate()) == 1
    assert ask(platform, "/health/live")[0] == 200


def test_hanging_database_blocks_one_health_thread(platform: Platform, serve: Serve) -> None:
    """Concurrent health requests return 503 while a single background thread waits."""
    with locked(serve.url):
        check_hanging(platform)
    until(lambda: ask(platform) == (200, WELL))


@pytest.mark.integration
def test_frozen_postgresql_blocks_one_health_thread(
    recorder: Recorder,
) -> None:
    """The server accepts connections and never responds. Health recovers when it continues."""
    with Server(fsync="off") as server, fresh_database(server.url) as url:
        serve = Serve(url)
        platform = healthy(serve, recorder)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            check_hanging(platform)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        until(lambda: ask(platform) == (200, WELL))
        serve.stop()


@pytest.mark.integration
def test_unavailable_database_health_hides_details(recorder: Recorder) -> None:
    """The response names the failed part only, and health recovers with the database."""
    with Server(fsync="off") as server, fresh_database(server.url) as url:
        serve = Serve(url)
        platform = healthy(serve, recorder)
        assert ask(platform) == (200, WELL)
        server.stop("immediate")
        until(lambda: ask(platform) == (503, AWAY))
        server.start()
        until(lambda: ask(platform) == (200, WELL))
        serve.stop()
