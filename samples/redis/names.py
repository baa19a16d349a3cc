"""What things in Redis are called, whatever a platform calls its instances and bindings.

An id may be of any length and hold any character. A user's name in Redis has no spaces, and a prefix must
hold none of the characters that patterns give a meaning. So names are made from digests: always valid, never
the same for two ids, and found again without a table.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256


def digest_of(text: str) -> str:
    """128 bits of its SHA-256, as 26 letters and digits."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
    return b32encode(digest).decode().rstrip("=").lower()


def prefix_of(instance_id: str) -> str:
    """With which all keys and channels of an instance begin."""
    return f"{digest_of(instance_id)}:"


def users_of(instance_id: str) -> str:
    """With which the names of all users of an instance begin; in a URI, they need no quotes."""
    return f"{digest_of(instance_id)}-"


def user_of(instance_id: str, binding_id: str) -> str:
    """The name of a binding's user."""
    return f"{users_of(instance_id)}{digest_of(binding_id)}"
