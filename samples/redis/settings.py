"""The broker's settings, read from environment variables. README.md lists them in a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, parse_qs, urlsplit

from credentials import Address

REQUIRED = {
    "REDIS_URL": "URL of the server, with full access, such as redis://:password@host:6379",
    "BROKER_STORE": "URL of brokerkit's store, such as postgresql+psycopg://user:password@host/database",
    "BROKER_KEYS": "encryption keys of the store, newest first, separated by spaces",
    "BROKER_USERNAME": "the platform's user name for the broker",
    "BROKER_PASSWORD": "the platform's password for the broker",
}


class SettingsError(ValueError):
    """Missing or invalid environment variables. The message names them."""


@dataclass(frozen=True)
class Settings:
    """The broker's settings.

    Args:
        redis_url: The URL with which the broker logs in to the tenants' server.
        address: The address at which applications reach that server.
        queue_url: The URL of Celery's message broker. Defaults to `redis_url`.
        store: SQLAlchemy URL of brokerkit's store.
        keys: The store's encryption keys, newest first.
    """

    redis_url: str
    address: Address
    queue_url: str
    store: str
    keys: list[str]

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings from environment variables.

        Raises:
            SettingsError: Variables are missing or invalid. All missing variables are listed together.
        """
        if missing := [name for name in REQUIRED if not environment.get(name)]:
            lines = [f"{name}: {REQUIRED[name]}" for name in missing]
            raise SettingsError("\n  ".join(["Set these environment variables:", *lines]))
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
        raise SettingsError("REDIS_URL: tenants can only use database 0. Remove the database from the URL")
    apps = _split("REDIS_APPS_URL", apps_url)
    assert apps.hostname is not None, "checked by _split"
    return Address(apps.hostname, apps.port or 6379, apps.scheme == "rediss")


def _split(variable: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass  # not chained: the message can contain the password
    raise SettingsError(
        f"{variable} is not a valid URL. Use the form redis://:password@host:6379, or rediss:// for TLS"
    )
