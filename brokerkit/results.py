"""What a handler answers: one frozen struct for each way that an operation can go well.

What no platform may be told (an `operation` that is too long, a `renew_before` after `expires_at`) raises
a ValueError or TypeError where it is made, in the handler, with what to change; to the platform it is a 500.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

from msgspec import Struct

from ._internal.masking import Masked
from .catalog.models import MaintenanceInfo

MAX_OPERATION = 10_000
"""How many characters an `operation` may have (R-PROV-1)."""

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class InstanceMetadata(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an instance is, for the platform to show or filter by (R-PROV-1).

    Args:
        labels: Short values, such as ``{"region": "eu"}``.
        attributes: Any other.
    """

    labels: dict[str, Any] | None = None
    attributes: dict[str, Any] | None = None


class Provisioned(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """The instance is there: 201 (R-PROV-1).

    Args:
        dashboard_url: Where its user manages it.
        metadata: What it is.
        exists: It was there before, with the same attributes: 200 (R-PROV-3).
        data: What the broker is to remember, a JSON object; `request.instance.data` from then on. Only
            for a broker with a store; no platform sees it.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"data"})

    dashboard_url: str | None = None
    metadata: InstanceMetadata | None = None
    exists: bool = False
    data: dict[str, Any] | None = None


class Updated(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """The instance is as asked: 200 (R-UPD-1).

    Args:
        dashboard_url: Where its user manages it now.
        metadata: What it is now.
        data: Replaces what the broker remembers, as that of `Provisioned`; None leaves it as it is.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"data"})

    dashboard_url: str | None = None
    metadata: InstanceMetadata | None = None
    data: dict[str, Any] | None = None


class Deprovisioned(Struct, frozen=True):
    """The instance is gone: 200 (R-DEL-1)."""


class Unbound(Struct, frozen=True):
    """The binding is gone: 200 (R-UNB-1)."""


class Accepted(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """The work goes on elsewhere: 202, and the platform polls (R-PROV-1, R-UPD-1, R-BIND-1, R-DEL-4).

    Only for a request with `accepts_incomplete`; raise `AsyncRequired` before the work starts otherwise.

    Args:
        operation: What the platform sends back when it polls, at most 10,000 characters. The
            operation's name (``"provision"``, ``"unbind"`` …) unless told. A broker with a store sends an
            id of its own; its handlers get this string back.
        dashboard_url: Where the user manages the instance; for a provision or an update.
        metadata: What the instance is; for a provision or an update.
        data: What the broker is to remember, as that of `Provisioned`.

    Raises:
        TypeError: The operation is no text.
        ValueError: It is empty or too long.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"data"})

    operation: str | None = None
    dashboard_url: str | None = None
    metadata: InstanceMetadata | None = None
    data: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.operation is None:
            return
        if not isinstance(self.operation, str):
            raise TypeError(f"Accepted(operation=…) takes a text, not {type(self.operation).__name__}")
        if not 1 <= len(self.operation) <= MAX_OPERATION:
            raise ValueError(
                f"Accepted(operation=…) has {len(self.operation):,} characters; give 1 to {MAX_OPERATION:,},"
                " such as the id of a job"
            )


class VolumeDevice(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """A shared volume (R-BIND-3)."""

    _secret: ClassVar[frozenset[str]] = frozenset({"mount_config"})

    volume_id: str
    mount_config: dict[str, Any] | None = None


class VolumeMount(Struct, frozen=True, kw_only=True):
    """A volume to mount into an application's container (R-BIND-3).

    Args:
        driver: The name of the volume driver.
        container_dir: Where to mount it.
        mode: ``"r"`` or ``"rw"``.
        device: What to mount.
        device_type: ``"shared"``, the only one there is.
    """

    driver: str
    container_dir: str
    mode: Literal["r", "rw"]
    device: VolumeDevice
    device_type: Literal["shared"] = "shared"


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where the service listens, for platforms that open networks (R-BIND-3).

    Args:
        host: A host name or an IP address.
        ports: At least one: ``"443"``, or a range, ``"9000-9010"``.
        protocol: ``"tcp"``, ``"udp"`` or ``"all"``.

    Raises:
        ValueError: A port or range is not one.
    """

    host: str
    ports: Sequence[str]
    protocol: Literal["tcp", "udp", "all"] = "tcp"

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError("Endpoint(host=…) is empty; give a host name or an IP address")
        if not isinstance(self.ports, list | tuple) or not self.ports:
            raise ValueError('Endpoint(ports=…) takes a list with at least one port, such as ["443"]')
        for ports in self.ports:
            match = _PORTS.fullmatch(ports) if isinstance(ports, str) else None
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
            if not 1 <= first <= last <= 65535:
                raise ValueError(
                    f'Endpoint(ports=…): {ports!r} is neither a port, "443", nor a range, "9000-9010"'
                )


class BindingMetadata(Struct, frozen=True, kw_only=True):
    """Until when a binding is good (R-BIND-4).

    Args:
        expires_at: When it ends; with a time zone.
        renew_before: Until when the platform should have made its successor; not after `expires_at`.

    Raises:
        TypeError: A time is no datetime.
        ValueError: It has no zone, or they are in the wrong order.
    """

    expires_at: datetime | None = None
    renew_before: datetime | None = None

    def __post_init__(self) -> None:
        for name, moment in (("expires_at", self.expires_at), ("renew_before", self.renew_before)):
            if moment is None:
                continue
            if not isinstance(moment, datetime):
                raise TypeError(f"BindingMetadata({name}=…) takes a datetime, not {type(moment).__name__}")
            if moment.tzinfo is None:
                raise ValueError(
                    f"BindingMetadata({name}=…) has no time zone; write datetime.now(timezone.utc) + …"
                )
        if self.expires_at and self.renew_before and self.renew_before > self.expires_at:
            raise ValueError("BindingMetadata(renew_before=…) is after expires_at; give an earlier time")


class Binding(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """The binding: 201 to a bind, 200 to a fetch (R-BIND-1, R-GETB).

    Args:
        credentials: What an application needs to use the service.
        syslog_drain_url: Where logs go; the offering must require ``"syslog_drain"``.
        route_service_url: Where requests go; the offering must require ``"route_forwarding"``.
        volume_mounts: What to mount; the offering must require ``"volume_mount"``.
        endpoints: Where the service listens.
        metadata: Until when it is good.
        parameters: Those it was made with; only in answer to a fetch.
        exists: It was there before, with the same attributes: 200 (R-BIND-1).
        data: What the broker is to remember, a JSON object; `request.binding.data` from then on. Only for
            a broker with a store; no platform sees it.
    """

    _secret: ClassVar[frozenset[str]] = frozenset(
        {"credentials", "syslog_drain_url", "route_service_url", "volume_mounts", "parameters", "data"}
    )

    credentials: dict[str, Any] | None = None
    syslog_drain_url: str | None = None
    route_service_url: str | None = None
    volume_mounts: Sequence[VolumeMount] | None = None
    endpoints: Sequence[Endpoint] | None = None
    metadata: BindingMetadata | None = None
    parameters: dict[str, Any] | None = None
    exists: bool = False
    data: dict[str, Any] | None = None


class InstanceDetails(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """An instance as it is: 200 to a fetch (R-GETI).

    Args:
        service_id: The id of its offering.
        plan_id: The id of its plan.
        dashboard_url: Where its user manages it.
        parameters: Those it was made or last updated with.
        maintenance_info: The version of what it runs.
        metadata: What it is.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters"})

    service_id: str | None = None
    plan_id: str | None = None
    dashboard_url: str | None = None
    parameters: dict[str, Any] | None = None
    maintenance_info: MaintenanceInfo | None = None
    metadata: InstanceMetadata | None = None


class LastOperation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an operation goes: 200 to a poll (R-LAST-1). Made by one of its three class methods."""

    state: Literal["in progress", "succeeded", "failed"]
    description: str | None = None
    instance_usable: bool | None = None
    update_repeatable: bool | None = None
    retry_after: int | None = None
    result: object = None

    @classmethod
    def in_progress(cls, description: str | None = None, *, retry_after: int | None = None) -> LastOperation:
        """It goes on.

        Args:
            description: What is being done, for the user.
            retry_after: In how many seconds to ask again (R-LAST-2).

        Raises:
            ValueError: `retry_after` is not a whole number of seconds, 0 or more.
        """
        if retry_after is not None:
            check_seconds(retry_after)
        return cls(state="in progress", description=description, retry_after=retry_after)

    @classmethod
    def succeeded(
        cls, description: str | None = None, *, result: Provisioned | Updated | Binding | None = None
    ) -> LastOperation:
        """It is done.

        Args:
            description: What was done, for the user.
            result: What a handler that did it at once would have answered: the `Binding` of a bind, or
                the `data` of a provision or update. Only for a broker with a store, which keeps it.
        """
        return cls(state="succeeded", description=description, result=result)

    @classmethod
    def failed(
        cls,
        description: str | None = None,
        *,
        instance_usable: bool | None = None,
        update_repeatable: bool | None = None,
    ) -> LastOperation:
        """It ended without success.

        Args:
            description: What went wrong and what to do about it, for the user.
            instance_usable: After an update or deprovision: can the instance still be used? (R-ERR-2)
            update_repeatable: After an update: may the platform try it again? (R-ERR-2)
        """
        return cls(
            state="failed",
            description=description,
            instance_usable=instance_usable,
            update_repeatable=update_repeatable,
        )


def check_seconds(retry_after: int) -> int:
    """Let only pass what a ``Retry-After`` header can say.

    Raises:
        ValueError: It is not a whole number of seconds, 0 or more.
    """
    if type(retry_after) is not int or retry_after < 0:
        raise ValueError(f"retry_after={retry_after!r} is not a whole number of seconds, 0 or more")
    return retry_after
