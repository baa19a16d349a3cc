"""Names of databases and roles, derived from the platform's ids.

An id may have any length and contain any character, but PostgreSQL truncates names to 63 bytes. Names are
therefore built from digests: always valid, unique per id, and reproducible without a lookup table.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256


def digest_of(text: str) -> str:
    """Return 128 bits of the text's SHA-256 digest as 26 lowercase letters and digits."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
    return b32encode(digest).decode().rstrip("=").lower()


def database_of(instance_id: str) -> str:
    """Return the name of an instance's database. The names of all its roles start with it."""
    return f"db_{digest_of(instance_id)}"


def login_of(instance_id: str, binding_id: str) -> str:
    """Return the name of a binding's role."""
    return f"{database_of(instance_id)}_{digest_of(binding_id)}"
