"""Key columns of instances and bindings, for ids of any length and with any characters."""

from __future__ import annotations

import hashlib

_MAX_LENGTH = 200
_HASH_PREFIX = "~"


def resource_key(resource_id: str) -> str:
    """Return the value that represents an id in a key column.

    The value is the id itself. If a database cannot store or index the id, the value is a hash. PostgreSQL's
    text cannot contain NUL, and its index entries are limited to less than 3 kB.
    """
    if (
        len(resource_id) <= _MAX_LENGTH
        and "\0" not in resource_id
        and not resource_id.startswith(_HASH_PREFIX)
    ):
        return resource_id
    return _HASH_PREFIX + hashlib.sha256(resource_id.encode()).hexdigest()
