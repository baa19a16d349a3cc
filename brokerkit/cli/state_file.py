"""The state file: the resources that this command created, by broker. Each user has one.

The file is JSON, and only its owner can read it. It contains no password of a broker. It contains the
credentials of the bindings that cannot be fetched from their broker again.

A new resource is written to the file before its request is sent, so a crash or Ctrl-C never leaves a resource
at the broker that the file does not list.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from msgspec import Struct, field

from .._internal.files import write_atomically
from .._internal.masked_struct import Masked
from ..requests import Operation
from .output import CLIError

VERSION = 1

_STATES = {
    Operation.PROVISION: "creating",
    Operation.BIND: "creating",
    Operation.UPDATE: "updating",
    Operation.DEPROVISION: "deleting",
    Operation.UNBIND: "deleting",
}


class Pending(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An operation that was requested and whose end is not recorded yet.

    Args:
        kind: The kind of operation.
        operation: The `operation` to poll with; None if the broker sent none or has not responded yet.
        to_plan_id: The id of the new plan, for an update to another plan.
        to_plan: The name of the new plan.
        to_version: The new version, for an update to another version.
    """

    kind: Operation
    operation: str | None = None
    to_plan_id: str | None = None
    to_plan: str | None = None
    to_version: str | None = None

    @property
    def is_deletion(self) -> bool:
        """Whether the operation deletes the resource."""
        return self.kind in (Operation.DEPROVISION, Operation.UNBIND)


class _Resource(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """The common fields of instances and bindings.

    Args:
        name: The name that the user chose, or a generated one.
        created_at: The time of the request that created the resource.
        pending: The operation in progress.
        failed: Whether the creation or deletion of the resource failed.
        adopted: Whether the resource was created elsewhere. Then its record is removed when no operation is
            in progress.
    """

    name: str
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC), name="made_at")
    pending: Pending | None = None
    failed: bool = False
    adopted: bool = False

    @property
    def state(self) -> str:
        """The state: ready, failed, creating, updating or deleting."""
        if self.pending is not None:
            return _STATES[self.pending.kind]
        return "failed" if self.failed else "ready"


class KnownBinding(_Resource, frozen=True, kw_only=True, omit_defaults=True):
    """A service binding in the state file.

    Args:
        binding_id: The id.
        result: The broker's response, if the binding cannot be fetched again.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"result"})

    binding_id: str
    result: dict[str, Any] | None = None


class KnownInstance(_Resource, frozen=True, kw_only=True, omit_defaults=True):
    """A service instance in the state file.

    Args:
        instance_id: The id.
        service_id: The id of the offering.
        offering: The name of the offering.
        plan_id: The id of the plan.
        plan: The name of the plan.
        version: The version of the plan's `maintenance_info`.
        dashboard_url: The URL of the dashboard.
        bindings: The bindings, by id.
    """

    instance_id: str
    service_id: str
    offering: str = field(name="service")
    plan_id: str
    plan: str
    version: str | None = None
    dashboard_url: str | None = None
    bindings: dict[str, KnownBinding] = field(default_factory=dict)

    def binding(self, name_or_id: str) -> KnownBinding | None:
        """Find a binding by its name, or else by its id."""
        by_name = (binding for binding in self.bindings.values() if binding.name == name_or_id)
        return next(by_name, None) or self.bindings.get(name_or_id)


class _Document(Struct):
    version: int = VERSION
    brokers: dict[str, dict[str, KnownInstance]] = field(default_factory=dict)


class _Version(Struct):
    version: int


class StateFile:
    """The state file of a user. A lock serializes the commands that change it, and each write is atomic.

    Args:
        folder: The folder of the file. It is created on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "services.json"

    @classmethod
    def for_user(cls) -> StateFile:
        """Return the state file of the current user.

        Raises:
            CLIError: The user has no home directory.
        """
        try:
            return cls(state_folder(os.environ))
        except RuntimeError:
            raise _unusable("there is no home directory; set BROKERKIT_HOME to a folder") from None

    def brokers(self) -> dict[str, dict[str, KnownInstance]]:
        """Return all instances by the URL of their broker and their id, in the order of their creation."""
        return self._read().brokers

    def instances(self, url: str) -> dict[str, KnownInstance]:
        """Return the instances at one broker, by id."""
        return self.brokers().get(url, {})

    def find(self, url: str, name_or_id: str) -> KnownInstance | None:
        """Find an instance by its name, or else by its id."""
        instances = self.instances(url)
        by_name = (instance for instance in instances.values() if instance.name == name_or_id)
        return next(by_name, None) or instances.get(name_or_id)

    def add(self, url: str, instance: KnownInstance) -> None:
        """Add a new instance.

        Raises:
            CLIError: Its name or id is taken.
        """
        with self._edit() as brokers:
            instances = brokers.setdefault(url, {})
            names = {other.name for other in instances.values()}
            if instance.instance_id in instances or instance.name in names:
                raise _name_taken(f"a service instance {instance.name} already exists")
            instances[instance.instance_id] = instance

    def add_binding(self, url: str, instance: KnownInstance, binding: KnownBinding) -> None:
        """Add a new binding, and its instance if the file does not have it.

        Raises:
            CLIError: Its name or id is taken.
        """
        with self._edit() as brokers:
            instances = brokers.setdefault(url, {})
            stored = instances.get(instance.instance_id, instance)
            if binding.binding_id in stored.bindings or stored.binding(binding.name) is not None:
                raise _name_taken(f"{stored.name} already has a binding {binding.name}")
            instances[instance.instance_id] = _with_binding(stored, binding)

    def update(
        self, url: str, instance: KnownInstance, binding: KnownBinding | None = None, **fields: Any
    ) -> None:
        """Change fields of an instance, or of one of its bindings.

        Args:
            url: The URL of the broker.
            instance: The instance. If it was created elsewhere and is not in the file, it is added.
            binding: The binding. If it was created elsewhere and is not in the file, it is added.
            fields: The new values. Other fields keep the values that other commands may have written.
        """
        with self._edit() as brokers:
            instances = brokers.setdefault(url, {})
            stored = instances.get(instance.instance_id, instance if instance.adopted else None)
            if stored is None:
                return  # another command has deleted it
            if binding is None:
                stored = msgspec.structs.replace(stored, **fields)
            else:
                stored_binding = stored.bindings.get(binding.binding_id, binding if binding.adopted else None)
                if stored_binding is not None:
                    stored = _with_binding(stored, msgspec.structs.replace(stored_binding, **fields))
            _put(instances, stored)

    def remove(self, url: str, instance: KnownInstance, binding: KnownBinding | None = None) -> None:
        """Remove an instance with its bindings, or one of its bindings."""
        with self._edit() as brokers:
            instances = brokers.setdefault(url, {})
            stored = instances.get(instance.instance_id)
            if binding is None:
                instances.pop(instance.instance_id, None)
            elif stored is not None:
                bindings = {key: value for key, value in stored.bindings.items() if key != binding.binding_id}
                _put(instances, msgspec.structs.replace(stored, bindings=bindings))

    @contextmanager
    def _edit(self) -> Iterator[dict[str, dict[str, KnownInstance]]]:
        """Lock the file, yield its brokers, and write them back."""
        try:
            path = Path(os.path.realpath(self.path))  # replace the target of a symbolic link, not the link
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(path.with_suffix(".lock")):
                document = self._read()
                yield document.brokers
                document.brokers = {url: value for url, value in document.brokers.items() if value}
                write_atomically(path, msgspec.json.format(msgspec.json.encode(document), indent=1))
        except OSError as error:
            raise _unusable(f"{self.path} cannot be written: {error.strerror}") from None

    def _read(self) -> _Document:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return _Document()
        except OSError as error:
            raise _unusable(f"{self.path} cannot be read: {error.strerror}") from None
        try:
            version = msgspec.json.decode(raw, type=_Version).version
            if version != VERSION:
                raise _unusable(
                    f"{self.path} has version {version}, expected {VERSION}; use the release of brokerkit"
                    " that wrote it, or set BROKERKIT_HOME to another folder"
                )
            return msgspec.json.decode(raw, type=_Document)
        except (ValueError, RecursionError) as error:
            raise _unusable(
                f"{self.path} is damaged ({error}); repair it, or move it away and delete the resources in"
                " it by their ids"
            ) from None


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for a user's state on this operating system.

    Args:
        environ: The environment variables.

    Raises:
        RuntimeError: The user has no home directory.
    """
    if home := environ.get("BROKERKIT_HOME"):
        return Path(home)
    if sys.platform == "win32" and (local := environ.get("LOCALAPPDATA")):  # pragma: no cover
        return Path(local) / "brokerkit"
    state_home = environ.get("XDG_STATE_HOME", "")
    if Path(state_home).is_absolute():
        return Path(state_home) / "brokerkit"
    if environ.get("HOME") == "":
        raise RuntimeError("HOME is empty")  # Path.home() would return the root folder
    return Path.home() / ".local" / "state" / "brokerkit"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock. The operating system releases it when the process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _with_binding(instance: KnownInstance, binding: KnownBinding) -> KnownInstance:
    return msgspec.structs.replace(instance, bindings={**instance.bindings, binding.binding_id: binding})


def _put(instances: dict[str, KnownInstance], instance: KnownInstance) -> None:
    """Store an instance, without the resources created elsewhere that have no operation in progress."""
    bindings = {
        binding_id: binding
        for binding_id, binding in instance.bindings.items()
        if not binding.adopted or binding.pending is not None
    }
    if instance.adopted and instance.pending is None and not bindings:
        instances.pop(instance.instance_id, None)
    else:
        instances[instance.instance_id] = msgspec.structs.replace(instance, bindings=bindings)


def _unusable(message: str) -> CLIError:
    return CLIError(message, error="StateFileUnusable")


def _name_taken(message: str) -> CLIError:
    return CLIError(f"{message}; give another name", error="NameTaken")
