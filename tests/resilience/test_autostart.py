"""Work that a dead process left continues when another process serves, without any request."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from ..support.servers import KINDS, PATCHING, Kind
from ..support.wait import wait_until
from .broker_app import SETTINGS_VARIABLE, Settings
from .deployments import Deployment, server_of
from .final_state import check_nothing_in_progress, is_idle
from .processes import ROOT
from .requests import CAN_POLL, instance_path, provision_body

LEASE = 3.0

FLASK = Kind("flask --app broker run --port 8080", workers=None, logs_port=False, closes_listener=False)


class Case(NamedTuple):
    """A server and its additional arguments."""

    kind: Kind
    arguments: tuple[str, ...] = ()
    configuration: str = ""


CASES = {
    **{name: Case(kind) for name, kind in KINDS.items()},
    "sync-preload": Case(KINDS["sync"], ("--preload",)),
    "gthread-preload": Case(KINDS["gthread"], ("--preload",)),
    "gevent-preload": Case(KINDS["gevent"], ("--preload",), PATCHING),
    "flask": Case(FLASK),
    "flask-reload": Case(FLASK, ("--reload",)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def deployment(case: Case, tmp_path: Path) -> Iterator[Deployment]:
    created = Deployment(case.kind, f"sqlite:///{tmp_path / 'broker.db'}", tmp_path)
    (tmp_path / "gunicorn.conf.py").write_text(case.configuration)
    yield created
    created.close()


def test_left_work_continues_without_request(deployment: Deployment, case: Case) -> None:
    """An interrupted operation and a waiting one both run in a process that gets no request."""
    process = deployment.serve(*case.arguments, lease=LEASE)
    server = server_of(process)
    body = provision_body("background", gate="open", attempts=1)
    assert server.send("PUT", instance_path("running"), body, CAN_POLL).status == 202
    body = provision_body("background", retries=1, after=0.5)
    assert server.send("PUT", instance_path("waiting"), body, CAN_POLL).status == 202
    for name in ("running", "waiting"):
        deployment.events.wait_for_runs(name, 1)
    process.close()
    deployment.serve(*case.arguments, lease=LEASE)
    for name in ("waiting", "running"):
        deployment.events.wait_for_runs(name, 2)
    wait_until(lambda: is_idle(deployment.url))
    check_nothing_in_progress(deployment.url)


SCRIPT = """
import sys
import threading
import time

import broker

deadline = time.monotonic() + 3
while time.monotonic() < deadline:
    started = [thread.name for thread in threading.enumerate() if thread.name.startswith("brokerkit-")]
    assert set(started) <= {"brokerkit-start"}, started
    time.sleep(0.1)
"""


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["-c", SCRIPT], id="script"),
        pytest.param(["-m", "flask", "--app", "broker", "shell"], id="shell"),
        pytest.param(["-m", "flask", "--app", "broker", "broker", "operations"], id="command"),
    ],
)
def test_programs_start_no_background_work(tmp_path: Path, command: list[str]) -> None:
    """A script, a shell and a command that load the app run nothing of what is due."""
    deployment = Deployment(KINDS["waitress"], f"sqlite:///{tmp_path / 'broker.db'}", tmp_path)
    process = deployment.serve(lease=1.0)
    body = provision_body("background", retries=1, after=0.5)
    assert server_of(process).send("PUT", instance_path("i1"), body, CAN_POLL).status == 202
    deployment.events.wait_for_runs("i1", 1)
    process.close()
    settings = msgspec.json.encode(Settings(url=deployment.url, folder=str(tmp_path), lease=1.0)).decode()
    result = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", SETTINGS_VARIABLE: settings, "PATH": ""},
        input=SCRIPT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert len(deployment.events.runs("i1")) == 1
