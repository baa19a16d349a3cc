"""What an application is told, in the words that Cloud Foundry's buildpacks and libraries look for."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode


@dataclass(frozen=True)
class Address:
    """Where applications reach the server.

    Args:
        host: A name or an IP address.
        port: Its port.
        sslmode: As libpq has it, such as ``"verify-full"``; None leaves that to the application.
    """

    host: str
    port: int
    sslmode: str | None = None


def credentials_for(address: Address, database: str, username: str, password: str) -> dict[str, str | int]:
    """The credentials of a binding."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    place = f"{host}:{address.port}/{quote(database)}"
    tls = {"sslmode": address.sslmode} if address.sslmode else {}
    login = {"user": username, "password": password}
    query = f"?{urlencode(tls)}" if tls else ""
    return {
        "uri": f"postgresql://{quote(username)}:{quote(password)}@{place}{query}",
        "jdbcUrl": f"jdbc:postgresql://{place}?{urlencode({**login, **tls})}",
        "hostname": address.host,
        "port": address.port,
        "name": database,
        "username": username,
        "password": password,
    }
