"""All service brokers with one fault each."""

from __future__ import annotations

from .faulty.access import ACCESS, BODIES, CATALOGS, ERRORS, IDS
from .faulty.bindings import BINDINGS, BINDS
from .faulty.faulty import FaultyBroker
from .faulty.instances import FETCHES, PROVISIONS, UPDATES
from .faulty.operations import DELETES, OTHER_DELETES, POLLS

FAULTY_BROKERS: list[FaultyBroker] = [
    *ACCESS,
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
"""All faulty brokers."""
