"""Binding credentials, with the field names that Cloud Foundry's buildpacks and libraries expect."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Address:
    """The address at which applications reach the server.

    Args:
        host: A host name or an IP address.
        port: The TCP port.
        tls: Whether connections use TLS.
    """

    host: str
    port: int
    tls: bool = False


def credentials_for(
    address: Address, prefix: str, username: str, password: str
) -> dict[str, str | int | bool]:
    """Build the credentials of a binding.

    The URI names no database: users may only use database 0, and `SELECT` is not allowed.
    """
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
