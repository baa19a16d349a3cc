"""What the broker is told by environment variables; README.md has a table of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from credentials import Address

REQUIRED = {
    "POSTGRES_URL": "how to log in to the server as the role that makes databases,"
    " postgresql://broker:password@host/postgres",
    "POSTGRES_TEMPLATE": "the name of the database that the plan `restored` copies",
    "BROKER_USERNAME": "what the platform logs in with",
    "BROKER_PASSWORD": "and its password",
}


class SettingsError(ValueError):
    """Variables are missing or wrong; the message names each."""


@dataclass(frozen=True)
class Settings:
    """All of them.

    Args:
        postgres_url: How the broker logs in to the server.
        address: How applications reach it.
        template: The database that the plan `restored` copies.
        store: Where brokerkit remembers, as an SQLAlchemy URL.
        keys: What the store is sealed with, the newest first; None for a key file beside SQLite.
        metrics_token: What Prometheus shows; None if it is not to ask.
    """

    postgres_url: str
    address: Address
    template: str
    store: str
    keys: list[str] | None
    metrics_token: str | None

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read them.

        Raises:
            SettingsError: With all that is missing, or with what is wrong.
        """
        if missing := [name for name in REQUIRED if not environment.get(name)]:
            lines = [f"{name}: {REQUIRED[name]}" for name in missing]
            raise SettingsError("\n  ".join(["set these environment variables:", *lines]))
        url = environment["POSTGRES_URL"]
        return cls(
            postgres_url=url,
            address=_address(url, environment.get("POSTGRES_APPS_URL") or ""),
            template=environment["POSTGRES_TEMPLATE"],
            store=environment.get("BROKER_STORE") or "sqlite:///broker.db",
            keys=environment.get("BROKER_KEYS", "").split() or None,
            metrics_token=environment.get("METRICS_TOKEN") or None,
        )


def _address(broker_url: str, apps_url: str) -> Address:
    told = {**_parts("POSTGRES_URL", broker_url), **_parts("POSTGRES_APPS_URL", apps_url)}
    host, port = told.get("host", ""), told.get("port", "5432")
    if not host or host.startswith("/") or "," in host:
        raise SettingsError(
            "POSTGRES_APPS_URL: set it to where applications reach the server,"
            " postgresql://host:port?sslmode=verify-full; POSTGRES_URL names no one host"
        )
    if not port.isdecimal():
        raise SettingsError(f"POSTGRES_APPS_URL: {port!r} is no port")
    return Address(host, int(port), told.get("sslmode"))


def _parts(variable: str, url: str) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(url).items() if value}
    except ProgrammingError:
        # What libpq says of it may repeat the password.
        raise SettingsError(f"{variable} is no URL like postgresql://user:password@host/database") from None
