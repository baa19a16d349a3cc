"""Tests of concurrent first uses: the first requests of a process, the first processes of a store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .processes import ROOT

FIRST_REQUESTS = """
import sys, threading, time
from tests.support.broker import *

platform = Platform(make_app(make_broker(Recorder())))
method, path, body = {request}


def switch_threads(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "get_class_annotations":
        time.sleep(0.1)


def send():
    print(platform.send(method, path, {{**IDS, **ORGANIZATION, **body}}).status_code)


threading.setprofile(switch_threads)
threads = [threading.Thread(target=send) for _ in range(2)]
for thread in threads:
    thread.start()
    time.sleep(0.15)
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize(
    "request_args",
    [
        '("PUT", INSTANCE, {"parameters": {}})',
        '("PATCH", INSTANCE, {"maintenance_info": {"version": "1.0.0"}})',
        '("PUT", BINDING, {"parameters": {}})',
    ],
)
def test_first_two_requests_may_be_concurrent(request_args: str) -> None:
    """A thread switch while msgspec inspects types must not crash the process."""
    process = subprocess.run(
        [sys.executable, "-c", FIRST_REQUESTS.format(request=request_args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.split()) == 2


CREATE_STORES = """
import os, sys
from multiprocessing import get_context
from brokerkit.store import Store

ROUNDS, PROCESSES = 20, 6
context = get_context("fork")


def create(url, barrier):
    store = Store(url)
    barrier.wait()
    store.open()
    store.close()


for number in range(ROUNDS):
    barrier = context.Barrier(PROCESSES)
    arguments = (f"sqlite:///{sys.argv[1]}/{number}.db", barrier)
    started = [context.Process(target=create, args=arguments) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join()
        assert process.exitcode == 0, process.exitcode
"""


def test_processes_may_create_store_concurrently(tmp_path: Path) -> None:
    """SQLite does not wait when several processes switch to a write-ahead log."""
    process = subprocess.run(
        [sys.executable, "-c", CREATE_STORES, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
