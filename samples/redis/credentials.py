"""What an application is told, in the words that Cloud Foundry's buildpacks and libraries look for."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Address:
    """Where applications reach the server.

    Args:
        host: A name or an IP address.
        port: Its port.
        tls: Do they speak TLS with it?
    """

    host: str
    port: int
    tls: bool = False


def credentials_for(
    address: Address, prefix: str, username: str, password: str
) -> dict[str, str | int | bool]:
    """The credentials of a binding. The URI names no database: there is one, and `SELECT` is not allowed."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    scheme = "rediss" if address.tls else "redis"
    return {
        "uri": f"{scheme}://{quote(username)}:{quote(password)}@{host}:{address.port}",
        "hostname": address.host,
        "port": address.port,
        "username": username,
        "password": password,
        "prefix": prefix,
        "tls": address.tls,
    }
