"""Tenants of a Redis server and their users: made, changed and removed. Of brokers it knows nothing.

A tenant has all keys and channels that begin with its prefix. Its users may do there what touches nothing
else.
Each method leaves the same behind, however often it was interrupted before, and wherever.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, cast

from redis import Redis
from redis.exceptions import ResponseError

DATA = (
    *("string", "hash", "list", "set", "sortedset", "stream", "bitmap", "hyperloglog", "geo"),
    "transaction",
)
"""The categories of commands that users may use: each names the keys that it touches, which Redis checks."""

REFUSED = ("@dangerous", "@admin", "@scripting")
"""Not even if a category has them: `SORT` reads keys that it does not name; scripts can hold up everyone."""

SINGLE = (
    *("del", "unlink", "exists", "type", "touch", "object", "dump", "rename", "renamenx"),
    *("expire", "pexpire", "expireat", "pexpireat", "persist", "ttl", "pttl"),
    *("publish", "subscribe", "unsubscribe", "psubscribe", "punsubscribe"),
    *("ping", "echo", "auth", "hello", "reset", "command", "time"),
    *("client|getname", "client|setname", "client|setinfo", "client|id"),
)
"""Other commands that users may use.

What names no key is not among them, as it tells of other tenants, or hurts them: `KEYS`, `SCAN`, `RANDOMKEY`,
`DBSIZE`, `INFO`, `PUBSUB`, `FLUSHDB`, `SWAPDB`. Nor is what leads into another database: `SELECT`, `MOVE`,
`COPY`; there is one, and a tenant is removed from that.
"""

RULES = (
    "-@all",
    *(f"+@{category}" for category in DATA),
    *(f"-{category}" for category in REFUSED),
    *(f"+{command}" for command in SINGLE),
)

BATCH = 1000
"""How many keys are written, looked at or deleted in one go, so that nobody waits for long."""


class OpenToAll(Exception):
    """The server has no password."""


class Tenants:
    """The tenants of a server.

    Args:
        redis: Who may do everything there, in its database 0.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add_user(self, prefix: str, user: str) -> str:
        """Make a user anew.

        Returns:
            Its password. Redis gets, keeps and logs only the password's hash.

        Raises:
            OpenToAll: The server lets everyone in, so that no rules would hold.
        """
        self._check_closed()
        password = secrets.token_urlsafe(32)
        self.allow(prefix, user, password)
        self._save()
        return password

    def allow(self, prefix: str, user: str, password: str) -> None:
        """Let a user do what users may do today, and nothing else. Who is connected stays so."""
        digest = sha256(password.encode()).hexdigest()
        scope = ("resetkeys", f"~{prefix}*", "resetchannels", f"&{prefix}*")
        self._acl("SETUSER", user, "on", "resetpass", f"#{digest}", *scope, *RULES)

    def allow_again(self, prefix: str, passwords: dict[str, str]) -> None:
        """:meth:`allow` some users of a tenant; also those that the server has forgotten."""
        for user, password in passwords.items():
            self.allow(prefix, user, password)
        self._save()

    def remove_users(self, users: Iterable[str]) -> None:
        """Remove users; that ends their connections too. Those that are not there do no harm."""
        for user in users:
            self._acl("DELUSER", user)
        self._save()

    def users(self, start: str) -> list[str]:
        """All users whose names begin like this."""
        return [user for user in cast("list[str]", self._acl("USERS")) if user.startswith(start)]

    def fill(self, prefix: str, entries: int) -> Iterator[int]:
        """Write example entries, in batches; each time it says how many there are."""
        for first in range(0, entries, BATCH):
            numbers = range(first, min(first + BATCH, entries))
            self._redis.mset({f"{prefix}example:{number}": f"Example {number}" for number in numbers})
            yield numbers.stop

    def empty(self, prefix: str) -> Iterator[int]:
        """Delete all keys of a tenant without users, in batches; each time it says how many are gone.

        It looks at each key of the server, as Redis has no index of them by prefix.
        """
        deleted = 0
        cursor = 0
        while True:
            cursor, keys = cast("tuple[int, list[str]]", self._redis.scan(cursor, f"{prefix}*", BATCH))
            if keys:
                deleted += self._redis.unlink(*keys)
            yield deleted
            if cursor == 0:
                return

    def _check_closed(self) -> None:
        """Make sure that a user cannot become `default`, by RESET or by logging in as nobody."""
        found = self._acl("GETUSER", "default")
        told = dict(zip(found[::2], found[1::2], strict=True)) if isinstance(found, list) else found
        if {"on", "nopass"} <= set(told["flags"]):
            raise OpenToAll(
                "Redis lets everyone in as its user 'default', who may do everything; give that a password"
                " (requirepass in redis.conf), and the broker the same in REDIS_URL"
            )

    def _save(self) -> None:
        """Have the users survive a restart of the server, if it keeps them in a file."""
        try:
            self._acl("SAVE")
        except ResponseError as error:
            if "not configured to use an ACL file" not in str(error):
                raise

    def _acl(self, command: str, *arguments: str) -> Any:
        return self._redis.execute_command("ACL", command, *arguments)  # type: ignore[no-untyped-call]
