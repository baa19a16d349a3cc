"""What users of samples/redis may do on a real server: all in their own part, nothing outside of it."""

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
from samples.redis.tenants import SINGLE, Tenants

from ..support.redis import Server

MINE, THEIRS = prefix_of("mine"), prefix_of("theirs")
USER = user_of("mine", "b1")

Enter: TypeAlias = Callable[[], Any]
"""Makes a connection of a user."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(password="the-operators") as made:
        yield made


@pytest.fixture
def operator(server: Server) -> Iterator[Redis]:
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def tenants(operator: Redis) -> Iterator[Tenants]:
    made = Tenants(operator)
    yield made
    made.remove_users(made.users(users_of("mine")))


@pytest.fixture
def enter(server: Server, tenants: Tenants) -> Iterator[Enter]:
    password = tenants.add_user(MINE, USER)
    made: list[Redis] = []

    def enter() -> Redis:
        made.append(
            Redis(
                port=server.port,
                username=USER,
                password=password,
                decode_responses=True,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=1,
            )
        )
        return made[-1]

    yield enter
    for each in made:
        each.close()


def test_a_user_does_what_applications_do(enter: Enter) -> None:
    mine = enter()
    with mine.pipeline(transaction=True) as transaction:
        transaction.set(f"{MINE}a", "1", ex=60).incr(f"{MINE}a").hset(f"{MINE}h", "x", "y")
        assert transaction.execute()[1] == 2
    mine.lpush(f"{MINE}l", "1", "2")
    mine.zadd(f"{MINE}z", {"one": 1.0})
    mine.xadd(f"{MINE}s", {"field": "value"})
    mine.rename(f"{MINE}l", f"{MINE}renamed")
    assert mine.brpop([f"{MINE}renamed"], timeout=1) == (f"{MINE}renamed", "1")
    assert mine.unlink(f"{MINE}a", f"{MINE}h") == 2
    listener = enter().pubsub()
    listener.subscribe(f"{MINE}news")
    listener.psubscribe(f"{MINE}*")
    assert listener.get_message(timeout=5) is not None
    assert mine.publish(f"{MINE}news", "hello") >= 1
    listener.close()


A, B = f"{MINE}a", f"{THEIRS}b"

ELSEWHERE: list[tuple[Any, ...]] = [
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


@pytest.mark.parametrize("command", ELSEWHERE, ids=lambda command: " ".join(map(str, command[:2])))
def test_nothing_leads_out_of_a_users_own_part(
    enter: Enter, operator: Redis, command: tuple[Any, ...]
) -> None:
    operator.set(B, "secret")
    with pytest.raises(NoPermissionError):
        enter().execute_command(*command)
    assert operator.get(B) == "secret"


def test_of_all_commands_that_name_no_key_users_have_those_that_tell_and_hurt_nobody(
    enter: Enter, operator: Redis
) -> None:
    commands: Any = operator.command()
    keyless = {
        name: abs(told["arity"]) - 1
        for name, told in commands.items()
        if told["first_key_pos"] == 0 and "movablekeys" not in told["flags"]
    }
    assert {"scan", "keys", "randomkey", "dbsize", "flushall", "info", "monitor"} <= keyless.keys()

    def may_use(name: str) -> bool:
        with enter() as mine:
            try:
                mine.execute_command(name, *["1"] * keyless[name])
            except NoPermissionError as error:
                return "channels" in str(error)
            except RedisError:
                return True
            return True

    allowed = {name for name in keyless if may_use(name)}
    transactions = {"multi", "exec", "discard", "unwatch"}
    of_their_own_parts = {"xgroup", "xinfo", "object"}  # whose key is behind the subcommand
    harmless = {name for name in SINGLE if "|" not in name}
    assert allowed <= harmless | transactions | of_their_own_parts


def test_who_is_removed_is_out_at_once_and_does_not_come_back(enter: Enter, tenants: Tenants) -> None:
    mine = enter()
    mine.set(A, "1")
    waiting = enter().pubsub()
    waiting.subscribe(f"{MINE}news")
    for _ in range(2):  # a crash may have come between
        tenants.remove_users([USER])
    with pytest.raises((NoConnection, AuthenticationError)):
        mine.get(A)
    with pytest.raises((NoConnection, AuthenticationError)):
        deque(waiting.listen())  # to what came before it ended, and then no more
    assert tenants.users(users_of("mine")) == []


def test_a_tenant_is_emptied_and_its_neighbours_are_not(tenants: Tenants, operator: Redis) -> None:
    for prefix in (MINE, THEIRS):
        assert list(tenants.fill(prefix, 2500)) == [1000, 2000, 2500]
    *_, deleted = tenants.empty(MINE)
    assert deleted == 2500
    assert operator.dbsize() == 2500
    *_, deleted = tenants.empty(MINE)
    assert deleted == 0


def test_users_survive_a_restart_of_the_server(server: Server, tenants: Tenants, enter: Enter) -> None:
    server.kill()
    server.start()
    assert enter().set(A, "1")
    assert tenants.users(users_of("mine")) == [USER]


def test_a_server_without_a_file_of_users_will_do(tmp_path: Path) -> None:
    with Server(password="s3cret", aclfile="", requirepass="s3cret") as server, server.client() as operator:
        tenants = Tenants(operator)
        assert tenants.add_user(MINE, USER)
        assert tenants.users(users_of("mine")) == [USER]


def test_users_that_the_server_forgot_are_allowed_again_with_their_passwords(
    server: Server, tenants: Tenants
) -> None:
    password = tenants.add_user(MINE, USER)
    tenants.remove_users([USER])
    tenants.allow_again(MINE, {USER: password})
    with Redis(port=server.port, username=USER, password=password) as mine:
        assert mine.set(A, "1")


@given(st.text(), st.text(), st.text(), st.text())
def test_names_are_valid_and_differ_for_ids_that_differ(one: str, other: str, b1: str, b2: str) -> None:
    assert (prefix_of(one) == prefix_of(other)) == (one == other)
    assert (user_of(one, b1) == user_of(other, b2)) == ((one, b1) == (other, b2))
    user = user_of(one, b1)
    assert user.isascii()
    assert not set(user) & set(" *?[]\\^&~%#><+:/@|\0")
    assert user.startswith(users_of(one))
