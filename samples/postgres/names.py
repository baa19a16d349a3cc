"""What things in PostgreSQL are called, whatever a platform calls its instances and bindings.

An id may be of any length and hold any character; PostgreSQL keeps the first 63 bytes of a name. So a name is
made from a digest: always valid, never the same for two ids, and found again without a table.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256


def digest_of(text: str) -> str:
    """128 bits of its SHA-256, as 26 letters and digits."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
    return b32encode(digest).decode().rstrip("=").lower()


def database_of(instance_id: str) -> str:
    """The name of an instance's database; all its roles begin with it."""
    return f"db_{digest_of(instance_id)}"


def login_of(instance_id: str, binding_id: str) -> str:
    """The name of a binding's role."""
    return f"{database_of(instance_id)}_{digest_of(binding_id)}"
