"""Generated names that are easy to read and type."""

from __future__ import annotations

import secrets
from collections.abc import Container

_ADJECTIVES = (
    "amber",
    "brave",
    "calm",
    "clever",
    "early",
    "fair",
    "gentle",
    "happy",
    "keen",
    "kind",
    "lively",
    "proud",
)
_ANIMALS = (
    "badger",
    "beaver",
    "crane",
    "falcon",
    "finch",
    "heron",
    "ibex",
    "lynx",
    "marten",
    "otter",
    "owl",
    "wren",
)


def new_name(taken: Container[str]) -> str:
    """Generate a unique name such as ``calm-otter``.

    Args:
        taken: The names in use.
    """
    base = f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_ANIMALS)}"
    number, name = 1, base
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name
