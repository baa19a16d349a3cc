"""The key columns of instances and bindings: ids of any length and characters."""

from __future__ import annotations

import hashlib

_LONGEST = 200
_HASHED = "~"


def resource_key(resource_id: str) -> str:
    """What stands in a key column for an id of any length and characters.

    That is the id itself, but for those that a database cannot hold or index: PostgreSQL's text has no NUL,
    and its indexes have entries of less than 3 kB.
    """
    if len(resource_id) <= _LONGEST and "\0" not in resource_id and not resource_id.startswith(_HASHED):
        return resource_id
    return _HASHED + hashlib.sha256(resource_id.encode()).hexdigest()
