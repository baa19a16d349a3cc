"""The first requests of a process may come all at the same time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .processes import ROOT

FIRST_TWO = """
import sys, threading, time
from tests.conftest import *

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
def test_the_first_two_requests_of_a_process_may_come_at_once(order: str) -> None:
    """Threads change where msgspec reads the annotations of what it decodes; the process lives on."""
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
