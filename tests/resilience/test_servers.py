"""The servers that the README speaks of: what they hand over, and how they end."""

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
from .deployments import Site, server_of
from .final_state import check_all_rests, operations
from .processes import Gone, Server, until_it_succeeded
from .requests import CAN_POLL, body, instance_path
from .wait import until


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Of the server and the database that a test names."""
    name, database = request.param
    url = f"sqlite:///{tmp_path / 'broker.db'}"
    if database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    made = Site(KINDS[name], url, tmp_path)
    yield made
    made.close()


ON_SQLITE = [(name, "sqlite") for name in KINDS]
ON_POSTGRESQL = [(name, "postgresql") for name in ("gthread", "gevent")]


@pytest.mark.parametrize("site", [("gevent", "postgresql")], indirect=True, ids="-".join)
def test_gevent_without_early_patching_is_reported(site: Site) -> None:
    """With `--preload` gunicorn does not patch before loading the app.

    Requests fail, and the log names `monkey.patch_all()`.
    """
    process = site.serve("--preload")
    server = server_of(process)
    assert server.send("GET", "/v2/catalog").status == 500
    assert server.send("GET", "/health").status == 503
    assert "monkey.patch_all()" in process.log
    process.terminate()
    assert process.wait() == 0

    (site.folder / "gunicorn.conf.py").write_text(PATCHING)
    server = server_of(site.serve("--preload"))
    assert server.send("GET", "/health").status == 200
    operation = order(site, server, "i1", "background", steps="i1")
    site.open_gate("i1")
    until_it_succeeded(server, instance_path("i1"), operation)


def order(site: Site, server: Server, name: str, plan: str, **parameters: Any) -> str:
    """Have something made in the background that goes on until a gate is opened."""
    answer = server.send("PUT", instance_path(name), body(plan, **parameters), CAN_POLL)
    assert answer.status == 202, answer
    site.events.wait_for_runs(name, 1)
    operation: str = answer.body["operation"]
    return operation


@pytest.mark.parametrize("site", ON_SQLITE + ON_POSTGRESQL, indirect=True, ids="-".join)
def test_server_shutdown_drains_and_hands_over(site: Site) -> None:
    """A request gets its response, a function finishes, and a generator continues in another process."""
    process = site.serve()
    server = server_of(process)
    generator = order(site, server, "generator", "background", steps="generator")
    function = order(site, server, "function", "single", gate="function")
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(server.send, "PUT", instance_path("request"), body("at-once", gate="request"))
        site.events.wait_for_runs("request", 1)
        process.terminate()
        until(process.was_asked_to_end)
        site.open_gate("request")
        assert request.result().status == 201

    until(lambda: operations(site.url)[generator]["lease_until"] is None)  # its work is being stopped
    if site.kind.refuses_at_end:
        with pytest.raises(Gone):
            server.send("GET", "/health")
    site.open_gate("function")
    assert process.wait() == 0
    assert operations(site.url)[function]["state"] == "succeeded"
    assert operations(site.url)[generator]["state"] == "in progress"

    successor = server_of(site.serve())
    assert successor.send("GET", "/health").status == 200  # which is all that it is asked
    site.events.wait_for_runs("generator", 2)
    site.open_gate("generator")
    until_it_succeeded(successor, instance_path("generator"), generator)
    check_all_rests(site.url)


class Connection:
    """One connection, as long as the server keeps it.

    Args:
        port: The server's.
        headers: Sent with each request.
    """

    def __init__(self, port: int, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {
            "Authorization": basic("platform", "s3cret"),
            "X-Broker-API-Version": "2.17",
            "Content-Type": "application/json",
            **headers,
        }

    def send(self, method: str, path: str, order: Any = None) -> tuple[int, bytes]:
        try:
            return self._send(method, path, order)
        except (ConnectionError, http.client.RemoteDisconnected):
            self._connection.close()  # granian hangs up, without a word, after a body that it did not read
            return self._send(method, path, order)

    def _send(self, method: str, path: str, order: Any) -> tuple[int, bytes]:
        data = None if order is None else msgspec.json.encode(order)
        self._connection.request(method, path, data, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


IDS = ("plain", "100%", "ü and 名", "a?b#c", "a+b&c=d", "%2F", ".", "a/b", "/", "x//y")


@pytest.mark.parametrize("site", ON_SQLITE, indirect=True, ids="-".join)
def test_paths_survive_proxy_and_prefix(site: Site) -> None:
    """Encoded ids reach the handler unchanged, and the proxy's prefix is respected."""
    process = site.serve(prefix="/databases", is_behind_a_proxy=True)
    with closing(Connection(process.port, **{"X-Forwarded-Prefix": "/brokers"})) as connection:
        check_paths(site, connection)


def check_paths(site: Site, connection: Connection) -> None:
    for instance_id in IDS:
        path = f"/databases/v2/service_instances/{quote(instance_id, safe='')}"
        status, told = connection.send("PUT", path, body("at-once"))
        if "/" in instance_id and not site.kind.hands_over_paths:
            assert status in (404, 405)
            assert msgspec.json.decode(told)["error"]
            continue
        assert status == 201, (instance_id, told)
        assert site.events.runs()[-1].begun.instance == instance_id
        assert connection.send("GET", path)[0] == 200
        assert connection.send("HEAD", path) == (200, b"")
    assert connection.send("HEAD", "/databases/health") == (200, b"")
    assert connection.send("GET", "/databases/health")[0] == 200
    assert connection.send("GET", "/here") == (200, b"/brokers/here")


@pytest.mark.parametrize(
    "site", [("gthread", "sqlite"), ("gevent", "postgresql")], indirect=True, ids="-".join
)
def test_worker_restart_under_load_loses_nothing(site: Site) -> None:
    process = site.serve(workers=2)
    server = server_of(process)
    accepted: dict[str, str] = {}
    answered: list[str] = []
    is_over = False

    def order_on(client: int) -> None:
        number = 0
        while not is_over:
            path, plan = instance_path(f"{client}-{number}"), ("at-once", "background")[number % 2]
            number += 1
            try:
                answer = server.send("PUT", path, body(plan, seconds=0.02), CAN_POLL)
            except Gone:
                continue  # nobody was told anything
            assert answer.status in (201, 202), answer
            answered.append(path)
            if answer.status == 202:
                accepted[path] = answer.body["operation"]

    def workers() -> set[int]:
        return {int(server.send("GET", "/pid").body["text"]) for _ in range(8)}

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(order_on, client) for client in range(4)]
        until(lambda: len(answered) > 10)
        before = workers()
        process.restart_workers()
        until(lambda: not before & workers(), pause=0.1)
        enough = len(answered) + 10
        until(lambda: len(answered) > enough)
        is_over = True
        for client in clients:
            client.result()
    for path, operation in accepted.items():
        until_it_succeeded(server, path, operation)
    assert {server.send("GET", path).status for path in answered} == {200}
    assert not before & {run.begun.pid for run in site.events.runs()[-5:]}
