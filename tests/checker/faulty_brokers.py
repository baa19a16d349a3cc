"""Service brokers that are wrong in one thing each: all of them."""

from __future__ import annotations

from .faulty.access import AT_THE_DOOR, BODIES, CATALOGS, ERRORS, IDS
from .faulty.bindings import BINDINGS, BINDS
from .faulty.faulty import Broken
from .faulty.instances import FETCHES, PROVISIONS, UPDATES
from .faulty.operations import DELETES, OTHER_DELETES, POLLS

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
