"""Service brokers that are wrong in one thing each: all of them."""

from __future__ import annotations

from .broken.bindings import BINDINGS, BINDS
from .broken.broken import Broken
from .broken.doors import AT_THE_DOOR, BODIES, CATALOGS, ERRORS, IDS
from .broken.ends import DELETES, OTHER_DELETES, POLLS
from .broken.instances import FETCHES, PROVISIONS, UPDATES

BROKEN: list[Broken] = [
    *AT_THE_DOOR,
    *IDS,
    *BODIES,
    *ERRORS,
    *CATALOGS,
    *PROVISIONS,
    *FETCHES,
    *UPDATES,
    *BINDS,
    *BINDINGS,
    *DELETES,
    *OTHER_DELETES,
    *POLLS,
]
"""All of them."""
