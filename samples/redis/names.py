"""Names of users and key prefixes, derived from the platform's ids.

An id may have any length and contain any character. A user name in Redis must not contain spaces. A prefix
must not contain characters with a meaning in patterns. Names are therefore built from digests: always valid,
unique per id, and reproducible without a lookup table.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256


def digest_of(text: str) -> str:
    """Return 128 bits of the text's SHA-256 digest as 26 lowercase letters and digits."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
    return b32encode(digest).decode().rstrip("=").lower()


def prefix_of(instance_id: str) -> str:
    """Return the prefix of all keys and channels of an instance."""
    return f"{digest_of(instance_id)}:"


def users_of(instance_id: str) -> str:
    """Return the prefix of all user names of an instance. They need no percent-encoding in a URI."""
    return f"{digest_of(instance_id)}-"


def user_of(instance_id: str, binding_id: str) -> str:
    """Return the name of a binding's user."""
    return f"{users_of(instance_id)}{digest_of(binding_id)}"
