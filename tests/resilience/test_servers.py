"""Tests of the servers in the README: the requests that they pass to the app, and their shutdown."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from ..support.broker import basic
from ..support.servers import KINDS, PATCHING
from ..support.wait import wait_until
from .deployments import Deployment, server_of
from .final_state import check_nothing_in_progress, operations
from .processes import NoResponse, Server, is_alive, wait_until_succeeded
from .requests import CAN_POLL, instance_path, provision_body


@pytest.fixture
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment with the server and the database in the parameter."""
    name, database = request.param
    url = f"sqlite:///{tmp_path / 'broker.db'}"
    if database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    created = Deployment(KINDS[name], url, tmp_path)
    yield created
    created.close()


ON_SQLITE = [(name, "sqlite") for name in KINDS]
ON_POSTGRESQL = [(name, "postgresql") for name in ("gthread", "gevent")]


@pytest.mark.parametrize("deployment", [("gevent", "postgresql")], indirect=True, ids="-".join)
def test_gevent_without_early_patching_is_reported(deployment: Deployment) -> None:
    """With `--preload` gunicorn does not patch before loading the app.

    Requests fail, and the log names `monkey.patch_all()`.
    """
    process = deployment.serve("--preload")
    server = server_of(process)
    assert server.send("GET", "/v2/catalog").status == 500
    assert server.send("GET", "/health").status == 503
    assert "monkey.patch_all()" in process.log
    process.terminate()
    assert process.wait() == 0

    (deployment.folder / "gunicorn.conf.py").write_text(PATCHING)
    server = server_of(deployment.serve("--preload"))
    assert server.send("GET", "/health").status == 200
    operation = start_operation(deployment, server, "i1", "background", steps="i1")
    deployment.open_gate("i1")
    wait_until_succeeded(server, instance_path("i1"), operation)


def start_operation(deployment: Deployment, server: Server, name: str, plan: str, **parameters: Any) -> str:
    """Start a background operation that waits for a gate, and return its id."""
    response = server.send("PUT", instance_path(name), provision_body(plan, **parameters), CAN_POLL)
    assert response.status == 202, response
    deployment.events.wait_for_runs(name, 1)
    operation: str = response.body["operation"]
    return operation


@pytest.mark.parametrize("deployment", ON_SQLITE + ON_POSTGRESQL, indirect=True, ids="-".join)
def test_server_shutdown_drains_and_hands_over(deployment: Deployment) -> None:
    """A request gets its response, a function finishes, and a generator continues in another process."""
    process = deployment.serve()
    server = server_of(process)
    generator = start_operation(deployment, server, "generator", "background", steps="generator")
    function = start_operation(deployment, server, "function", "function", gate="function")
    with ThreadPoolExecutor(1) as pool:
        body = provision_body("synchronous", gate="request")
        request = pool.submit(server.send, "PUT", instance_path("request"), body)
        deployment.events.wait_for_runs("request", 1)
        process.terminate()
        wait_until(process.is_shutting_down)
        deployment.open_gate("request")
        assert request.result().status == 201

    # The server releases the generator's operation for another process.
    wait_until(lambda: operations(deployment.url)[generator]["lease_until"] is None)
    if deployment.kind.closes_listener:
        with pytest.raises(NoResponse):
            server.send("GET", "/health")
    deployment.open_gate("function")
    assert process.wait() == 0
    assert operations(deployment.url)[function]["state"] == "succeeded"
    assert operations(deployment.url)[generator]["state"] == "in progress"

    successor = server_of(deployment.serve())
    assert successor.send("GET", "/health").status == 200  # only a health check, no request about an instance
    deployment.events.wait_for_runs("generator", 2)
    deployment.open_gate("generator")
    wait_until_succeeded(successor, instance_path("generator"), generator)
    check_nothing_in_progress(deployment.url)


class Connection:
    """A connection that is reused as long as the server keeps it open.

    Args:
        port: The server's port.
        headers: Additional headers of every request.
    """

    def __init__(self, port: int, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {
            "Authorization": basic("platform", "s3cret"),
            "X-Broker-API-Version": "2.17",
            "Content-Type": "application/json",
            **headers,
        }

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        try:
            return self._send(method, path, body)
        except (ConnectionError, http.client.RemoteDisconnected):
            self._connection.close()  # granian closes the connection after a body that it did not read
            return self._send(method, path, body)

    def _send(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        data = None if body is None else msgspec.json.encode(body)
        self._connection.request(method, path, data, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


IDS = ("plain", "100%", "ü and 名", "a?b#c", "a+b&c=d", "%2F", ".", "a/b", "/", "x//y")


@pytest.mark.parametrize("deployment", ON_SQLITE, indirect=True, ids="-".join)
def test_paths_survive_proxy_and_prefix(deployment: Deployment) -> None:
    """Encoded ids reach the handler unchanged, and the proxy's prefix is respected."""
    process = deployment.serve(prefix="/databases", is_behind_a_proxy=True)
    with closing(Connection(process.port, **{"X-Forwarded-Prefix": "/brokers"})) as connection:
        check_paths(deployment, connection)


def check_paths(deployment: Deployment, connection: Connection) -> None:
    for instance_id in IDS:
        path = f"/databases/v2/service_instances/{quote(instance_id, safe='')}"
        status, content = connection.send("PUT", path, provision_body("synchronous"))
        if "/" in instance_id and not deployment.kind.keeps_raw_paths:
            assert status in (404, 405)
            assert msgspec.json.decode(content)["error"]
            continue
        assert status == 201, (instance_id, content)
        assert deployment.events.runs()[-1].begin.instance == instance_id
        assert connection.send("GET", path)[0] == 200
        assert connection.send("HEAD", path) == (200, b"")
    assert connection.send("HEAD", "/databases/health") == (200, b"")
    assert connection.send("GET", "/databases/health")[0] == 200
    assert connection.send("GET", "/here") == (200, b"/brokers/here")


@pytest.mark.parametrize(
    "deployment", [("gthread", "sqlite"), ("gevent", "postgresql")], indirect=True, ids="-".join
)
def test_worker_restart_under_load_loses_nothing(deployment: Deployment) -> None:
    process = deployment.serve(workers=2)
    server = server_of(process)
    accepted: dict[str, str] = {}
    completed: list[str] = []
    is_over = False

    def send_requests(client: int) -> None:
        number = 0
        while not is_over:
            path, plan = instance_path(f"{client}-{number}"), ("synchronous", "background")[number % 2]
            number += 1
            try:
                response = server.send("PUT", path, provision_body(plan, seconds=0.02), CAN_POLL)
            except NoResponse:
                continue  # the platform got no response
            assert response.status in (201, 202), response
            completed.append(path)
            if response.status == 202:
                accepted[path] = response.body["operation"]

    def workers() -> set[int]:
        return {int(server.send("GET", "/pid").body["text"]) for _ in range(8)}

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(send_requests, client) for client in range(4)]
        wait_until(lambda: len(completed) > 10)
        before = workers()
        process.restart_workers()
        wait_until(lambda: not any(is_alive(pid) for pid in before))
        enough = len(completed) + 10
        wait_until(lambda: len(completed) > enough)
        is_over = True
        for client in clients:
            client.result()
    for path, operation in accepted.items():
        wait_until_succeeded(server, path, operation)
    assert {server.send("GET", path).status for path in completed} == {200}
    assert not before & {run.begin.pid for run in deployment.events.runs()[-5:]}
