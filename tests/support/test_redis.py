"""Tests of the Redis server for tests: it keeps its data and always cleans up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as NoConnection

from .redis import Server
from .wait import wait_until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
def test_redis_server_keeps_data_after_restart(end: Callable[[Server], None]) -> None:
    """Keys and access control lists survive a stop and a kill."""
    with Server() as server:
        url = server.url
        with server.client() as client:
            client.set("key", "value")
            client.execute_command("ACL", "SETUSER", "tenant", "on", "~theirs:*")
            client.execute_command("ACL", "SAVE")
        end(server)
        server.start()
        assert server.url == url
        with server.client() as client:
            assert client.get("key") == "value"
            assert client.execute_command("ACL", "USERS") == ["default", "tenant"]


def test_redis_server_requires_password() -> None:
    with Server(password="s3cret") as server:
        with server.client() as client:
            assert client.ping()
        server.password = "another"
        with server.client() as client, pytest.raises(AuthenticationError):
            client.ping()


def test_redis_server_cleans_up_after_kill() -> None:
    """The server and its folder disappear after the owning process is killed."""
    program = (
        "from tests.support.redis import Server\nimport os, sys\nwith Server() as server:\n"
        "    print(server.url, server._folder, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    url, folder = run.stdout.split()
    wait_until(lambda: not Path(folder).exists())
    with Redis.from_url(url) as client, pytest.raises(NoConnection):
        client.ping()
