"""Tests of the checker with correct brokers: no rule fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from brokerkit import BearerAuth, NoAuth
from brokerkit.checker.options import Options
from brokerkit.checker.report import Outcome, Report
from brokerkit.checker.runner import check
from brokerkit.testing.live_server import serve

from ..support.wsgi_adapter import serving_in_process
from .brokerkit_brokers import WithoutStore, background, polled, synchronous, with_store

SAMPLES = Path(__file__).parent.parent.parent / "samples"
STYLES = {"synchronous": synchronous, "polled": polled, "background": background}
FEW = ("databases/small", "drains/drain")
LOGIN = {"username": "platform", "password": "s3cret"}


def checked(url: str, **options: Any) -> Report:
    return check(url, Options(**{**LOGIN, "jobs": 8, **options}))


def faults(report: Report) -> dict[str, list[str]]:
    """Collect the failures of a report by rule."""
    return {
        verdict.key: [f"{failure.where}: {failure.fault}\n{failure.exchange}" for failure in verdict.failures]
        for verdict in report.verdicts
        if verdict.failures
    }


def skipped(report: Report) -> set[str]:
    return {verdict.key for verdict in report.verdicts if verdict.outcome is Outcome.SKIPPED}


def assert_right(report: Report) -> None:
    assert faults(report) == {}
    assert report.leftovers == ()
    assert report.problem is None
    assert report.exit_code == 0


# With and without a store


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
@pytest.mark.parametrize("style", STYLES)
def test_check_passes_store_brokers(
    style: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A broker with a store fails no rule, on SQLite and PostgreSQL and in every handler style."""
    store = f"sqlite:///{tmp_path}/b.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with with_store(store, STYLES[style]) as app, serving_in_process(app) as url:
        report = checked(url)
    assert_right(report)


@pytest.mark.parametrize("platform", ["cloudfoundry", "korifi", "kubernetes"])
def test_check_passes_for_every_platform(platform: str) -> None:
    memory = WithoutStore()
    with serving_in_process(memory.app) as url:
        assert_right(checked(url, platform=platform, plans=FEW))


def test_check_passes_storeless_broker_almost_completely() -> None:
    """A broker that keeps its own state passes, and only rules for faulty brokers are skipped."""
    memory = WithoutStore(polls=3)
    with serving_in_process(memory.app) as url:
        report = checked(url)
    assert_right(report)
    assert memory.instances == {}, "every created resource is deleted"
    assert skipped(report) <= ONLY_OF_WRONG_BROKERS


ONLY_OF_WRONG_BROKERS = {"R-DEL-5.after-failure", "R-ERR-4.no-server-errors"}


# Credentials, prefixes and servers


@pytest.mark.rule("R-REQ-2")
def test_check_passes_with_bearer_tokens(tmp_path: Path) -> None:
    """The login rules are checked too."""
    auth = BearerAuth(korifi="t0ken")
    with with_store(f"sqlite:///{tmp_path}/b.db", synchronous, auth) as app, serving_in_process(app) as url:
        report = checked(url, username=None, password=None, token="t0ken", plans=FEW)
    assert_right(report)
    assert not any(rule.startswith("R-REQ-2") for rule in skipped(report))


def test_check_skips_login_rules_without_authentication(tmp_path: Path) -> None:
    with (
        with_store(f"sqlite:///{tmp_path}/b.db", synchronous, NoAuth()) as app,
        serving_in_process(app) as url,
    ):
        report = checked(url, username=None, password=None, plans=FEW)
    assert_right(report)
    of_logins = {"R-REQ-2.login-required", "R-REQ-2.login-wrong", "R-REQ-2.login-first"}
    assert of_logins <= skipped(report)


@pytest.mark.integration
def test_check_passes_under_url_prefix(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/b.db"
    with with_store(store, synchronous, url_prefix="/brokers/one") as app, serve(app) as url:
        assert url.endswith("/brokers/one")
        assert_right(checked(url, plans=FEW))


@pytest.mark.integration
@pytest.mark.parametrize("polls", [0, 3])
def test_check_passes_single_threaded_server(polls: int) -> None:
    memory = WithoutStore(polls)
    with one_at_a_time(memory.app) as url:
        assert_right(checked(url))
    assert memory.instances == {}


@contextmanager
def one_at_a_time(app: Flask) -> Iterator[str]:
    class Quiet(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...

    server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=Quiet)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


WAITRESS = ("waitress", "--listen=127.0.0.1:0", "hello:app")
GUNICORN = ("gunicorn", "--bind=127.0.0.1:0", "--workers=1", "hello:app")


@pytest.mark.integration
@pytest.mark.parametrize("server", [WAITRESS, GUNICORN], ids=lambda server: server[0])
def test_check_passes_sample_broker_process(server: tuple[str, ...], tmp_path: Path) -> None:
    """The sample broker fails no rule under Waitress and Gunicorn."""
    with sample(tmp_path, server) as url:
        assert_right(checked(url))


@contextmanager
def sample(folder: Path, server: tuple[str, ...]) -> Iterator[str]:
    """Serve a copy of the sample in a process of its own, with short steps."""
    for name in ("hello.py", "catalog.yml"):
        shutil.copy(SAMPLES / name, folder)
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *server],
            cwd=folder,
            env={**os.environ, "STEP_SECONDS": "0.1"},
            stdout=out,
            stderr=out,
        )
    try:
        yield _until(lambda: re.search(r"http://127\.0\.0\.1:[1-9]\d*", log.read_text()), log)
    finally:
        process.terminate()
        process.wait(10)


def _until(find: Callable[[], re.Match[str] | None], log: Path) -> str:
    ends = time.monotonic() + 15
    while (match := find()) is None:
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.02)
    return match[0]
