"""The broker's settings, read from environment variables. README.md lists them in a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from credentials import Address

REQUIRED = {
    "POSTGRES_URL": "URL of the server, with a role that can create databases and roles,"
    " such as postgresql://broker:password@host/postgres",
    "POSTGRES_TEMPLATE": "name of the database that the plan `restored` copies",
    "BROKER_USERNAME": "the platform's user name for the broker",
    "BROKER_PASSWORD": "the platform's password for the broker",
}


class SettingsError(ValueError):
    """Missing or invalid environment variables. The message names them."""


@dataclass(frozen=True)
class Settings:
    """The broker's settings.

    Args:
        postgres_url: The URL with which the broker logs in to the server.
        address: The address at which applications reach the server.
        template: The database that the plan `restored` copies.
        store: SQLAlchemy URL of brokerkit's store. Defaults to ``"sqlite:///broker.db"``.
        keys: The store's encryption keys, newest first. With None, a key file beside the SQLite file is used.
        metrics_token: The token that Prometheus sends. With None, the broker serves no metrics.
    """

    postgres_url: str
    address: Address
    template: str
    store: str
    keys: list[str] | None
    metrics_token: str | None

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings from environment variables.

        Raises:
            SettingsError: Variables are missing or invalid. All missing variables are listed together.
        """
        if missing := [name for name in REQUIRED if not environment.get(name)]:
            lines = [f"{name}: {REQUIRED[name]}" for name in missing]
            raise SettingsError("\n  ".join(["Set these environment variables:", *lines]))
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
    parts = {**_parts("POSTGRES_URL", broker_url), **_parts("POSTGRES_APPS_URL", apps_url)}
    host, port = parts.get("host", ""), parts.get("port", "5432")
    if not host or host.startswith("/") or "," in host:
        raise SettingsError(
            "POSTGRES_URL does not name a single host. Set POSTGRES_APPS_URL to the server's address for"
            " applications, such as postgresql://host:port?sslmode=verify-full"
        )
    if not port.isdecimal():
        raise SettingsError(f"POSTGRES_APPS_URL: {port!r} is not a port number")
    return Address(host, int(port), parts.get("sslmode"))


def _parts(variable: str, url: str) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(url).items() if value}
    except ProgrammingError:
        # Not chained: libpq's message can contain the password.
        raise SettingsError(
            f"{variable} is not a valid URL. Use the form postgresql://user:password@host/database"
        ) from None
