"""What the broker is told by environment variables; README.md has a table of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, parse_qs, urlsplit

from credentials import Address

REQUIRED = {
    "REDIS_URL": "how to log in to the server as who may do everything, redis://:password@host:6379",
    "BROKER_STORE": "where to remember, postgresql+psycopg://user:password@host/database",
    "BROKER_KEYS": "what that is sealed with, the newest first, with spaces between",
    "BROKER_USERNAME": "what the platform logs in with",
    "BROKER_PASSWORD": "and its password",
}


class SettingsError(ValueError):
    """Variables are missing or wrong; the message names each."""


@dataclass(frozen=True)
class Settings:
    """All of them.

    Args:
        redis_url: How the broker logs in to the server whose parts it gives out.
        address: How applications reach it.
        queue_url: How Celery reaches its queue.
        store: Where brokerkit remembers, as an SQLAlchemy URL.
        keys: What the store is sealed with, the newest first.
    """

    redis_url: str
    address: Address
    queue_url: str
    store: str
    keys: list[str]

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read them.

        Raises:
            SettingsError: With all that is missing, or with what is wrong.
        """
        if missing := [name for name in REQUIRED if not environment.get(name)]:
            lines = [f"{name}: {REQUIRED[name]}" for name in missing]
            raise SettingsError("\n  ".join(["set these environment variables:", *lines]))
        url = environment["REDIS_URL"]
        return cls(
            redis_url=url,
            address=_address(url, environment.get("REDIS_APPS_URL") or url),
            queue_url=environment.get("QUEUE_URL") or url,
            store=environment["BROKER_STORE"],
            keys=environment["BROKER_KEYS"].split(),
        )


def _address(broker_url: str, apps_url: str) -> Address:
    parts = _split("REDIS_URL", broker_url)
    if parts.path not in ("", "/", "/0") or "db" in parse_qs(parts.query):
        raise SettingsError("REDIS_URL: users are let into database 0 alone; leave the path out")
    told = _split("REDIS_APPS_URL", apps_url)
    assert told.hostname is not None, "looked at"
    return Address(told.hostname, told.port or 6379, told.scheme == "rediss")


def _split(variable: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass  # what is told of it may repeat the password
    raise SettingsError(f"{variable} is no URL like redis://:password@host:6379, or rediss:// for TLS")
