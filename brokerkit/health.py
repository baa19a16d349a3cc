"""The health of a broker, as the health endpoints report it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class HealthStatus(StrEnum):
    """The status of a broker or of one of its parts."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    STOPPING = "stopping"

    @classmethod
    def of(cls, is_ok: bool) -> HealthStatus:
        """Return `OK` or `FAILED`."""
        return cls.OK if is_ok else cls.FAILED


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The health of the broker in this process, and of its parts.

    Args:
        status: Whether the process can take requests.
        store: Whether the store can be reached; None in a broker without a store, like the next two.
        schema: Whether the tables have the version that this release of brokerkit needs.
        executor: Whether background work is running in this process.
    """

    status: HealthStatus
    store: HealthStatus | None = None
    schema: HealthStatus | None = None
    executor: HealthStatus | None = None

    @classmethod
    def of(cls, *, store: HealthStatus, schema: HealthStatus, executor: HealthStatus) -> Health:
        """Build the health of a broker with a store: `OK` only if each part is."""
        status = HealthStatus.of(store == schema == executor == HealthStatus.OK)
        return cls(status=status, store=store, schema=schema, executor=executor)
