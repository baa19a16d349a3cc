"""The results of handlers: one frozen struct per successful outcome.

A value that must not be sent to a platform, such as an `operation` that is too long, raises a ValueError or
TypeError in the handler that creates it. The message names the remedy; the platform gets a 500.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

from msgspec import Struct

from ._internal.masked_struct import Masked
from .catalog.models import MaintenanceInfo

MAX_OPERATION = 10_000
"""The maximum length of an `operation`, in characters (R-PROV-1)."""

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class InstanceMetadata(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The metadata of an instance, which the platform can show or filter by (R-PROV-1).

    Args:
        labels: Short values, such as ``{"region": "eu"}``. Defaults to None.
        attributes: Any other values. Defaults to None.
    """

    labels: dict[str, Any] | None = None
    attributes: dict[str, Any] | None = None


class Provisioned(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """The success of a provision: 201 (R-PROV-1).

    Args:
        dashboard_url: The URL where users manage the instance. Defaults to None.
        metadata: The labels and attributes of the instance. Defaults to None.
        exists: Whether the instance already existed with the same attributes: 200 (R-PROV-3). Defaults to
            False.
        data: A JSON object to store; later handlers get it as `request.instance.data`. Only for a broker
            with a store, and never sent to a platform. Defaults to None.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"data"})

    dashboard_url: str | None = None
    metadata: InstanceMetadata | None = None
    exists: bool = False
    data: dict[str, Any] | None = None


class Updated(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """The success of an update: 200 (R-UPD-1).

    Args:
        dashboard_url: The new URL where users manage the instance. Defaults to None.
        metadata: The new labels and attributes of the instance. Defaults to None.
        data: A JSON object that replaces the stored `data`, as in `Provisioned`. Defaults to no change.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"data"})

    dashboard_url: str | None = None
    metadata: InstanceMetadata | None = None
    data: dict[str, Any] | None = None


class Deprovisioned(Struct, frozen=True):
    """The success of a deprovision: 200 (R-DEL-1)."""


class Unbound(Struct, frozen=True):
    """The success of an unbind: 200 (R-UNB-1)."""


class Accepted(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """The start of an asynchronous operation: 202, then polls (R-PROV-1, R-UPD-1, R-BIND-1, R-DEL-4).

    Only for a request with `accepts_incomplete`; otherwise, raise `AsyncRequired` before the work starts.

    Args:
        operation: The string that the platform sends back with each poll, at most 10,000 characters. A
            broker with a store sends its own id, but passes this string to the polled handler. Defaults to
            the name of the operation, such as ``"provision"``.
        dashboard_url: The URL where users manage the instance; for a provision or an update. Defaults to
            None.
        metadata: The labels and attributes of the instance; for a provision or an update. Defaults to None.
        data: A JSON object to store, as in `Provisioned`. Defaults to None.

    Raises:
        TypeError: The operation is not a string.
        ValueError: The operation is empty or too long.
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
            raise TypeError(f"Accepted(operation=…) takes a string, not {type(self.operation).__name__}")
        if not 1 <= len(self.operation) <= MAX_OPERATION:
            raise ValueError(
                f"Accepted(operation=…) has {len(self.operation):,} characters; pass 1 to {MAX_OPERATION:,},"
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
        container_dir: The path in the container to mount it at.
        mode: ``"r"`` (read-only) or ``"rw"``.
        device: The volume.
        device_type: The type of the volume. Defaults to ``"shared"``, the only one in the API.
    """

    driver: str
    container_dir: str
    mode: Literal["r", "rw"]
    device: VolumeDevice
    device_type: Literal["shared"] = "shared"


class Endpoint(Struct, frozen=True, kw_only=True):
    """A network endpoint of the service, for platforms that open network access to it (R-BIND-3).

    Args:
        host: A host name or an IP address.
        ports: At least one port, such as ``"443"``, or range of ports, such as ``"9000-9010"``.
        protocol: ``"tcp"``, ``"udp"`` or ``"all"``. Defaults to ``"tcp"``.

    Raises:
        ValueError: The host is empty, or a port or range is malformed.
    """

    host: str
    ports: Sequence[str]
    protocol: Literal["tcp", "udp", "all"] = "tcp"

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError("Endpoint(host=…) is empty; pass a host name or an IP address")
        if not isinstance(self.ports, list | tuple) or not self.ports:
            raise ValueError('Endpoint(ports=…) takes a list with at least one port, such as ["443"]')
        for ports in self.ports:
            match = _PORTS.fullmatch(ports) if isinstance(ports, str) else None
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
            if not 1 <= first <= last <= 65535:
                raise ValueError(
                    f'Endpoint(ports=…): {ports!r} is neither a port ("443") nor a range ("9000-9010")'
                )


class BindingMetadata(Struct, frozen=True, kw_only=True):
    """The lifetime of a binding (R-BIND-4).

    Args:
        expires_at: The time when the binding expires, with a time zone. Defaults to None.
        renew_before: The time by which the platform should replace the binding; not after `expires_at`.
            Defaults to None.

    Raises:
        TypeError: A time is not a datetime.
        ValueError: A time has no time zone, or the times are in the wrong order.
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
            raise ValueError("BindingMetadata(renew_before=…) is after expires_at; pass an earlier time")


class Binding(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """The success of a bind, 201, or of a fetch of a binding, 200 (R-BIND-1, R-GETB).

    Args:
        credentials: The credentials that an application needs to use the service. Defaults to None.
        syslog_drain_url: The URL to send logs to; the offering must require ``"syslog_drain"``. Defaults to
            None.
        route_service_url: The URL to proxy requests to; the offering must require ``"route_forwarding"``.
            Defaults to None.
        volume_mounts: The volumes to mount; the offering must require ``"volume_mount"``. Defaults to None.
        endpoints: The network endpoints of the service. Defaults to None.
        metadata: The lifetime of the binding. Defaults to None.
        parameters: The parameters of the binding; only for a fetch. Defaults to None.
        exists: Whether the binding already existed with the same attributes: 200 (R-BIND-1). Defaults to
            False.
        data: A JSON object to store; later handlers get it as `request.binding.data`. Only for a broker
            with a store, and never sent to a platform. Defaults to None.
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
    """The success of a fetch of an instance: 200 (R-GETI).

    Args:
        service_id: The id of the service offering. Defaults to None.
        plan_id: The id of the service plan. Defaults to None.
        dashboard_url: The URL where users manage the instance. Defaults to None.
        parameters: The present parameters of the instance. Defaults to None.
        maintenance_info: The maintenance version of the instance. Defaults to None.
        metadata: The labels and attributes of the instance. Defaults to None.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"parameters"})

    service_id: str | None = None
    plan_id: str | None = None
    dashboard_url: str | None = None
    parameters: dict[str, Any] | None = None
    maintenance_info: MaintenanceInfo | None = None
    metadata: InstanceMetadata | None = None


class LastOperation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of an operation: 200 to a poll (R-LAST-1). Create it with one of its three class methods."""

    state: Literal["in progress", "succeeded", "failed"]
    description: str | None = None
    instance_usable: bool | None = None
    update_repeatable: bool | None = None
    retry_after: int | None = None
    result: object = None

    @classmethod
    def in_progress(cls, description: str | None = None, *, retry_after: int | None = None) -> LastOperation:
        """Report an operation in progress.

        Args:
            description: The progress, for the end user.
            retry_after: The seconds until the next poll (R-LAST-2). Defaults to the platform's interval.

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
        """Report a successful operation.

        Args:
            description: The outcome, for the end user.
            result: The result that a synchronous handler would have returned: the `Binding` of a bind, or a
                `Provisioned` or `Updated` with `data`. Only for a broker with a store, which stores it.
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
        """Report a failed operation.

        Args:
            description: The fault and the remedy, for the end user.
            instance_usable: Whether the instance can still be used after a failed update or deprovision
                (R-ERR-2).
            update_repeatable: Whether the platform may repeat a failed update (R-ERR-2).
        """
        return cls(
            state="failed",
            description=description,
            instance_usable=instance_usable,
            update_repeatable=update_repeatable,
        )


def check_seconds(retry_after: int) -> int:
    """Check the value of a ``Retry-After`` header.

    Returns:
        The value.

    Raises:
        ValueError: The value is not a whole number of seconds, 0 or more.
    """
    if type(retry_after) is not int or retry_after < 0:
        raise ValueError(f"retry_after={retry_after!r}: pass a whole number of seconds, 0 or more")
    return retry_after
