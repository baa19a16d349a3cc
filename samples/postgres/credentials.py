"""Binding credentials, with the field names that Cloud Foundry's buildpacks and libraries expect."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode


@dataclass(frozen=True)
class Address:
    """The address at which applications reach the server.

    Args:
        host: A host name or an IP address.
        port: The TCP port.
        sslmode: A libpq `sslmode` such as ``"verify-full"``. With None, the application chooses.
    """

    host: str
    port: int
    sslmode: str | None = None


def credentials_for(address: Address, database: str, username: str, password: str) -> dict[str, str | int]:
    """Build the credentials of a binding."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    location = f"{host}:{address.port}/{quote(database)}"
    tls = {"sslmode": address.sslmode} if address.sslmode else {}
    login = {"user": username, "password": password}
    query = f"?{urlencode(tls)}" if tls else ""
    return {
        "uri": f"postgresql://{quote(username, '')}:{quote(password, '')}@{location}{query}",
        "jdbcUrl": f"jdbc:postgresql://{location}?{urlencode({**login, **tls})}",
        "hostname": address.host,
        "port": address.port,
        "name": database,
        "username": username,
        "password": password,
    }
