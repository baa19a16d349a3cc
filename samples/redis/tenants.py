"""Tenants of a Redis server and their users. This module does not depend on brokerkit.

A tenant owns all keys and channels with its prefix. Its users may only run commands that cannot access other
keys or channels. Every method is idempotent and can be repeated after an interruption at any command.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, cast

from redis import Redis
from redis.exceptions import ResponseError

CATEGORIES = (
    *("string", "hash", "list", "set", "sortedset", "stream", "bitmap", "hyperloglog", "geo"),
    "transaction",
)
"""Command categories for users. These commands name the keys that they access, so Redis can check them."""

EXCLUDED_CATEGORIES = ("@dangerous", "@admin", "@scripting")
"""Forbidden categories: `SORT` reads keys that it does not name, and scripts can block the server."""

COMMANDS = (
    *("del", "unlink", "exists", "type", "touch", "object", "dump", "rename", "renamenx"),
    *("expire", "pexpire", "expireat", "pexpireat", "persist", "ttl", "pttl"),
    *("publish", "subscribe", "unsubscribe", "psubscribe", "punsubscribe"),
    *("ping", "echo", "auth", "hello", "reset", "command", "time"),
    *("client|getname", "client|setname", "client|setinfo", "client|id"),
)
"""Further commands for users.

Commands without a key are excluded if they reveal or affect other tenants: `KEYS`, `SCAN`, `RANDOMKEY`,
`DBSIZE`, `INFO`, `PUBSUB`, `FLUSHDB`, `SWAPDB`. Commands that reach another database are excluded too:
`SELECT`, `MOVE`, `COPY`. Tenants use database 0 only, and keys in other databases would never be deleted.
"""

RULES = (
    "-@all",
    *(f"+@{category}" for category in CATEGORIES),
    *(f"-{category}" for category in EXCLUDED_CATEGORIES),
    *(f"+{command}" for command in COMMANDS),
)

BATCH = 1000
"""Number of keys to write, scan or delete per command. Small batches do not block other clients for long."""


class ServerUnprotected(Exception):
    """The server's default user needs no password."""


class Tenants:
    """The tenants of a server.

    Args:
        redis: A client with full access, connected to database 0.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add_user(self, prefix: str, user: str) -> str:
        """Create a user, or give an existing user a new password.

        Returns:
            The password. Redis receives, stores and logs only its hash.

        Raises:
            ServerUnprotected: The default user needs no password, so users could bypass all rules.
        """
        self._check_default_user()
        password = secrets.token_urlsafe(32)
        self.allow(prefix, user, password)
        self._save()
        return password

    def allow(self, prefix: str, user: str, password: str) -> None:
        """Set a user's password and the current rules. Existing connections stay open."""
        digest = sha256(password.encode()).hexdigest()
        scope = ("resetkeys", f"~{prefix}*", "resetchannels", f"&{prefix}*")
        self._acl("SETUSER", user, "on", "resetpass", f"#{digest}", *scope, *RULES)

    def restore_users(self, prefix: str, passwords: dict[str, str]) -> None:
        """Apply the current rules to some users of a tenant, and recreate users that the server lost."""
        for user, password in passwords.items():
            self.allow(prefix, user, password)
        self._save()

    def remove_users(self, users: Iterable[str]) -> None:
        """Remove users and close their connections. Unknown users are ignored."""
        for user in users:
            self._acl("DELUSER", user)
        self._save()

    def users(self, start: str) -> list[str]:
        """Return all users whose names begin with `start`."""
        return [user for user in cast("list[str]", self._acl("USERS")) if user.startswith(start)]

    def fill(self, prefix: str, entries: int) -> Iterator[int]:
        """Write example entries in batches, and yield the total number after every batch."""
        for first in range(0, entries, BATCH):
            numbers = range(first, min(first + BATCH, entries))
            self._redis.mset({f"{prefix}example:{number}": f"Example {number}" for number in numbers})
            yield numbers.stop

    def delete_keys(self, prefix: str) -> Iterator[int]:
        """Delete all keys of a tenant in batches, and yield the number of deleted keys after every batch.

        Remove the tenant's users first. All keys of the server are scanned, because Redis has no index by
        prefix.
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

    def _check_default_user(self) -> None:
        """Check that users cannot become the user `default`, by RESET or without authentication."""
        reply = self._acl("GETUSER", "default")
        user = dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else reply
        if {"on", "nopass"} <= set(user["flags"]):
            raise ServerUnprotected(
                "Redis accepts the user 'default', which has full access, without a password. Set one with"
                " requirepass in redis.conf, and add it to REDIS_URL"
            )

    def _save(self) -> None:
        """Save the users to the server's ACL file, if it has one, so that they survive a restart."""
        try:
            self._acl("SAVE")
        except ResponseError as error:
            if "not configured to use an ACL file" not in str(error):
                raise

    def _acl(self, command: str, *arguments: str) -> Any:
        return self._redis.execute_command("ACL", command, *arguments)  # type: ignore[no-untyped-call]
