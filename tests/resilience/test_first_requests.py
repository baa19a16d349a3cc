"""What is first may come several times at once: the requests of a process, the processes of a store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .processes import ROOT

FIRST_TWO = """
import sys, threading, time
from tests.support.broker import *

platform = Platform(make_app(make_broker(Recorder())))
method, path, body = {order}


def change_threads(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "get_class_annotations":
        time.sleep(0.1)


def send():
    print(platform.send(method, path, {{**IDS, **ORGANIZATION, **body}}).status_code)


threading.setprofile(change_threads)
threads = [threading.Thread(target=send) for _ in range(2)]
for thread in threads:
    thread.start()
    time.sleep(0.15)
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize(
    "order",
    [
        '("PUT", INSTANCE, {"parameters": {}})',
        '("PATCH", INSTANCE, {"maintenance_info": {"version": "1.0.0"}})',
        '("PUT", BINDING, {"parameters": {}})',
    ],
)
def test_first_two_requests_may_be_concurrent(order: str) -> None:
    """A thread switch while msgspec inspects types must not crash the process."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_TWO.format(order=order)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2


BEGIN_A_STORE = """
import os, sys
from multiprocessing import get_context
from brokerkit.store import Store

ROUNDS, PROCESSES = 20, 6
processes = get_context("fork")


def begin(url, together):
    store = Store(url)
    together.wait()
    store.open()
    store.close()


for number in range(ROUNDS):
    together = processes.Barrier(PROCESSES)
    arguments = (f"sqlite:///{sys.argv[1]}/{number}.db", together)
    begun = [processes.Process(target=begin, args=arguments) for _ in range(PROCESSES)]
    for each in begun:
        each.start()
    for each in begun:
        each.join()
        assert each.exitcode == 0, each.exitcode
"""


def test_processes_may_create_store_concurrently(tmp_path: Path) -> None:
    """SQLite does not wait when several processes switch to a write-ahead log."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN_A_STORE, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
