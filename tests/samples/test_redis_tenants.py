"""Tests of samples/redis/tenants.py: the permissions of users on a real server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as NoConnection
from redis.retry import Retry

from samples.redis.names import prefix_of, user_of, users_of
from samples.redis.tenants import COMMANDS, Tenants

from ..support.redis import Server

pytestmark = pytest.mark.integration

MINE, THEIRS = prefix_of("mine"), prefix_of("theirs")
USER = user_of("mine", "b1")

Connect: TypeAlias = Callable[[], Any]
"""A function that opens a connection of a user."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(password="the-operators") as server:
        yield server


@pytest.fixture
def operator(server: Server) -> Iterator[Redis]:
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def tenants(operator: Redis) -> Iterator[Tenants]:
    tenants = Tenants(operator)
    yield tenants
    tenants.remove_users(tenants.users(users_of("mine")))


@pytest.fixture
def connect(server: Server, tenants: Tenants) -> Iterator[Connect]:
    password = tenants.add_user(MINE, USER)
    clients: list[Redis] = []

    def connect() -> Redis:
        clients.append(
            Redis(
                port=server.port,
                username=USER,
                password=password,
                decode_responses=True,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=1,
            )
        )
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def test_user_can_run_common_commands(connect: Connect) -> None:
    mine = connect()
    with mine.pipeline(transaction=True) as transaction:
        transaction.set(f"{MINE}a", "1", ex=60).incr(f"{MINE}a").hset(f"{MINE}h", "x", "y")
        assert transaction.execute()[1] == 2
    mine.lpush(f"{MINE}l", "1", "2")
    mine.zadd(f"{MINE}z", {"one": 1.0})
    mine.xadd(f"{MINE}s", {"field": "value"})
    mine.rename(f"{MINE}l", f"{MINE}renamed")
    assert mine.brpop([f"{MINE}renamed"], timeout=1) == (f"{MINE}renamed", "1")
    assert mine.unlink(f"{MINE}a", f"{MINE}h") == 2
    listener = connect().pubsub()
    listener.subscribe(f"{MINE}news")
    listener.psubscribe(f"{MINE}*")
    assert listener.get_message(timeout=5) is not None
    assert mine.publish(f"{MINE}news", "hello") >= 1
    listener.close()


A, B = f"{MINE}a", f"{THEIRS}b"

FORBIDDEN_COMMANDS: list[tuple[Any, ...]] = [
    ("GET", B),
    ("SET", B, "x"),
    ("DEL", B),
    ("EXISTS", B),
    ("TYPE", B),
    ("DUMP", B),
    ("OBJECT", "ENCODING", B),
    ("RENAME", A, B),
    ("RENAME", B, A),
    ("MGET", A, B),
    ("BITOP", "OR", A, B),
    ("SUNIONSTORE", A, B),
    ("ZUNIONSTORE", A, 1, B),
    ("GEORADIUS", A, 0, 0, 1, "km", "STORE", B),
    ("XREAD", "STREAMS", B, "0"),
    ("LMOVE", B, A, "LEFT", "LEFT"),
    ("STRALGO", "LCS", "KEYS", A, B),
    ("WATCH", B),
    ("SORT", A, "BY", "nosort", "GET", f"{THEIRS}*"),
    ("COPY", A, B),
    ("COPY", A, f"{MINE}b", "DB", 1),
    ("MOVE", A, 1),
    ("SELECT", 1),
    ("EVAL", "return 1", 0),
    ("SCRIPT", "FLUSH"),
    ("PUBLISH", f"{THEIRS}news", "x"),
    ("PUBLISH", "news", "x"),
    ("SUBSCRIBE", f"{THEIRS}news"),
    ("PSUBSCRIBE", "*"),
    ("PSUBSCRIBE", f"{THEIRS}*"),
    ("ACL", "WHOAMI"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("MIGRATE", "127.0.0.1", 1, A, 0, 1),
    ("RESTORE", A, 0, "x"),
]


@pytest.mark.parametrize("command", FORBIDDEN_COMMANDS, ids=lambda command: " ".join(map(str, command[:2])))
def test_user_cannot_leave_its_prefix(connect: Connect, operator: Redis, command: tuple[Any, ...]) -> None:
    operator.set(B, "secret")
    with pytest.raises(NoPermissionError):
        connect().execute_command(*command)
    assert operator.get(B) == "secret"


def test_allowed_commands_without_key_are_harmless(connect: Connect, operator: Redis) -> None:
    """Check every command of the server that names no key, including commands of future versions."""
    commands: Any = operator.command()
    keyless = {
        name: abs(details["arity"]) - 1
        for name, details in commands.items()
        if details["first_key_pos"] == 0 and "movablekeys" not in details["flags"]
    }
    assert {"scan", "keys", "randomkey", "dbsize", "flushall", "info", "monitor"} <= keyless.keys()

    def may_use(name: str) -> bool:
        with connect() as mine:
            try:
                mine.execute_command(name, *["1"] * keyless[name])
            except NoPermissionError as error:
                return "channels" in str(error)
            except RedisError:
                return True
            return True

    allowed = {name for name in keyless if may_use(name)}
    transactions = {"multi", "exec", "discard", "unwatch"}
    with_subcommands = {"xgroup", "xinfo", "object"}  # their key follows the subcommand
    harmless = {name for name in COMMANDS if "|" not in name}
    assert allowed <= harmless | transactions | with_subcommands


def test_removed_user_is_disconnected_permanently(connect: Connect, tenants: Tenants) -> None:
    mine = connect()
    mine.set(A, "1")
    listener = connect().pubsub()
    listener.subscribe(f"{MINE}news")
    for _ in range(2):  # repeated, as after a crash
        tenants.remove_users([USER])
    with pytest.raises((NoConnection, AuthenticationError)):
        mine.get(A)
    with pytest.raises((NoConnection, AuthenticationError)):
        deque(listener.listen())  # messages sent earlier, then the end of the connection
    assert tenants.users(users_of("mine")) == []


def test_delete_keys_spares_other_tenants(tenants: Tenants, operator: Redis) -> None:
    for prefix in (MINE, THEIRS):
        assert list(tenants.fill(prefix, 2500)) == [1000, 2000, 2500]
    *_, deleted = tenants.delete_keys(MINE)
    assert deleted == 2500
    assert operator.dbsize() == 2500
    *_, deleted = tenants.delete_keys(MINE)
    assert deleted == 0


def test_users_survive_a_server_restart(server: Server, tenants: Tenants, connect: Connect) -> None:
    server.kill()
    server.start()
    assert connect().set(A, "1")
    assert tenants.users(users_of("mine")) == [USER]


def test_server_without_acl_file_works(tmp_path: Path) -> None:
    with Server(password="s3cret", aclfile="", requirepass="s3cret") as server, server.client() as operator:
        tenants = Tenants(operator)
        assert tenants.add_user(MINE, USER)
        assert tenants.users(users_of("mine")) == [USER]


def test_restore_users_keeps_passwords(server: Server, tenants: Tenants) -> None:
    password = tenants.add_user(MINE, USER)
    tenants.remove_users([USER])
    tenants.restore_users(MINE, {USER: password})
    with Redis(port=server.port, username=USER, password=password) as mine:
        assert mine.set(A, "1")


@given(st.text(), st.text(), st.text(), st.text())
def test_names_are_valid_and_unique(one: str, other: str, b1: str, b2: str) -> None:
    assert (prefix_of(one) == prefix_of(other)) == (one == other)
    assert (user_of(one, b1) == user_of(other, b2)) == ((one, b1) == (other, b2))
    user = user_of(one, b1)
    assert user.isascii()
    assert not set(user) & set(" *?[]\\^&~%#><+:/@|\0")
    assert user.startswith(users_of(one))
