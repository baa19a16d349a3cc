"""How a broker is, for load balancers, and the blueprint that tells them."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class HealthStatus(StrEnum):
    """What is said of a broker, and of a part of it."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    STOPPING = "stopping"

    @classmethod
    def of(cls, fact: bool) -> HealthStatus:
        """The word for what is so, or is not."""
        return cls.OK if fact else cls.FAILED


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a broker is.

    Args:
        status: The broker in this process: may it be sent requests?
        store: Can its store be reached? None where there is none, as of the next two.
        schema: Do its tables have the version that this brokerkit works with?
        executor: Does its background work go on in this process?
    """

    status: HealthStatus
    store: HealthStatus | None = None
    schema: HealthStatus | None = None
    executor: HealthStatus | None = None

    @classmethod
    def of(cls, *, store: HealthStatus, schema: HealthStatus, executor: HealthStatus) -> Health:
        """The broker is in order if all of it is."""
        status = HealthStatus.of(store == schema == executor == HealthStatus.OK)
        return cls(status=status, store=store, schema=schema, executor=executor)
