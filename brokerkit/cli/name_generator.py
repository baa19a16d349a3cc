"""Names that a person can read, remember and type, for what was given none."""

from __future__ import annotations

import secrets
from collections.abc import Container

_HOW = (
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
_WHO = (
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
    """A name such as ``calm-otter``.

    Args:
        taken: Those that are there.
    """
    name = f"{secrets.choice(_HOW)}-{secrets.choice(_WHO)}"
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found
