"""What this command made, at which broker: one file for each user, kept through crashes and Ctrl-C.

The file is JSON, readable by its owner alone. It holds no password of a broker; it holds the credentials of
bindings that their broker cannot be asked for again. What is about to be made is written down before the
broker is asked, so that nothing is there that nobody knows of.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from msgspec import Struct, field

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
    """What was asked, and is not known to be through.

    Args:
        kind: What it is.
        operation: The string to poll with; None where the broker gave none, or has not answered yet.
        to_plan_id: Of an update to another plan: its id.
        to_plan: The plan's name.
        to_version: Of an update to another version: which.
    """

    kind: Operation
    operation: str | None = None
    to_plan_id: str | None = None
    to_plan: str | None = None
    to_version: str | None = None

    @property
    def is_deletion(self) -> bool:
        """Is it to be gone?"""
        return self.kind in (Operation.DEPROVISION, Operation.UNBIND)


class _Known(Masked, frozen=True, kw_only=True, omit_defaults=True):
    """What instances and bindings have in common.

    Args:
        name: What the person calls it.
        made_at: When it was asked for.
        pending: What is in progress.
        failed: Did making or deleting it fail?
        adopted: Did someone else make it? Then it is forgotten when nothing of it is in progress.
    """

    name: str
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    pending: Pending | None = None
    failed: bool = False
    adopted: bool = False

    @property
    def state(self) -> str:
        """Ready, failed, creating, updating or deleting."""
        if self.pending is not None:
            return _STATES[self.pending.kind]
        return "failed" if self.failed else "ready"


class KnownBinding(_Known, frozen=True, kw_only=True, omit_defaults=True):
    """A service binding.

    Args:
        binding_id: Its id.
        result: What the broker answered, where it cannot be asked again.
    """

    _secret: ClassVar[frozenset[str]] = frozenset({"result"})

    binding_id: str
    result: dict[str, Any] | None = None


class KnownInstance(_Known, frozen=True, kw_only=True, omit_defaults=True):
    """A service instance.

    Args:
        instance_id: Its id.
        service_id: The id of its offering.
        service: The name of its offering.
        plan_id: The id of its plan.
        plan: The name of its plan.
        version: The version of its `maintenance_info`.
        dashboard_url: Where its user manages it.
        bindings: Its bindings, by id.
    """

    instance_id: str
    service_id: str
    service: str
    plan_id: str
    plan: str
    version: str | None = None
    dashboard_url: str | None = None
    bindings: dict[str, KnownBinding] = field(default_factory=dict)

    def binding(self, told: str) -> KnownBinding | None:
        """The binding with this name or id."""
        named = (each for each in self.bindings.values() if each.name == told)
        return next(named, None) or self.bindings.get(told)


class _Document(Struct):
    version: int = VERSION
    brokers: dict[str, dict[str, KnownInstance]] = field(default_factory=dict)


class _Version(Struct):
    version: int


class StateFile:
    """The file, and how it is changed: by one command at a time, as a whole or not at all.

    Args:
        folder: Where it is; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "services.json"

    @classmethod
    def of_user(cls) -> StateFile:
        """The one of who runs this.

        Raises:
            Fault: The user has no home.
        """
        try:
            return cls(state_folder(os.environ))
        except RuntimeError:
            raise _fault("there is no home directory; set BROKERKIT_HOME to a folder of yours") from None

    def brokers(self) -> dict[str, dict[str, KnownInstance]]:
        """All instances by the URL of their broker and their id, in the order in which they were made."""
        return self._read().brokers

    def instances(self, url: str) -> dict[str, KnownInstance]:
        """The instances at one broker, by id."""
        return self.brokers().get(url, {})

    def find(self, url: str, told: str) -> KnownInstance | None:
        """The instance with this name, or this id."""
        found = self.instances(url)
        return next((each for each in found.values() if each.name == told), None) or found.get(told)

    def add(self, url: str, instance: KnownInstance) -> None:
        """Remember a new instance.

        Raises:
            Fault: Its name or id is taken.
        """
        with self._changing() as brokers:
            known = brokers.setdefault(url, {})
            if instance.instance_id in known or any(each.name == instance.name for each in known.values()):
                raise _taken(f"there is a service instance {instance.name} already")
            known[instance.instance_id] = instance

    def add_binding(self, url: str, instance: KnownInstance, binding: KnownBinding) -> None:
        """Remember a new binding, and its instance.

        Raises:
            Fault: Its name or id is taken.
        """
        with self._changing() as brokers:
            known = brokers.setdefault(url, {})
            there = known.get(instance.instance_id, instance)
            if binding.binding_id in there.bindings or there.binding(binding.name) is not None:
                raise _taken(f"{there.name} has a binding {binding.name} already")
            known[instance.instance_id] = _with_binding(there, binding)

    def change(
        self, url: str, instance: KnownInstance, binding: KnownBinding | None = None, **fields: Any
    ) -> None:
        """Change what is remembered of an instance, or of one of its bindings.

        Args:
            url: Of the broker.
            instance: Which; as it is to be remembered from now on, if someone else made it.
            binding: Which; likewise.
            fields: What changes; all else stays as other commands may have left it.
        """
        with self._changing() as brokers:
            known = brokers.setdefault(url, {})
            there = known.get(instance.instance_id, instance if instance.adopted else None)
            if there is None:
                return  # another command has deleted it
            if binding is None:
                there = msgspec.structs.replace(there, **fields)
            else:
                bound = there.bindings.get(binding.binding_id, binding if binding.adopted else None)
                if bound is not None:
                    there = _with_binding(there, msgspec.structs.replace(bound, **fields))
            _keep(known, there)

    def forget(self, url: str, instance: KnownInstance, binding: KnownBinding | None = None) -> None:
        """Forget an instance and its bindings, or one of its bindings."""
        with self._changing() as brokers:
            known = brokers.setdefault(url, {})
            there = known.get(instance.instance_id)
            if binding is None:
                known.pop(instance.instance_id, None)
            elif there is not None:
                left = {name: each for name, each in there.bindings.items() if name != binding.binding_id}
                _keep(known, msgspec.structs.replace(there, bindings=left))

    @contextmanager
    def _changing(self) -> Iterator[dict[str, dict[str, KnownInstance]]]:
        try:
            place = Path(os.path.realpath(self.path))  # of a link, what it leads to is replaced
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(place.with_suffix(".lock")):
                document = self._read()
                yield document.brokers
                document.brokers = {url: known for url, known in document.brokers.items() if known}
                _write(place, document)
        except OSError as error:
            raise _fault(f"{self.path} cannot be written: {error.strerror}") from None

    def _read(self) -> _Document:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return _Document()
        except OSError as error:
            raise _fault(f"{self.path} cannot be read: {error.strerror}") from None
        try:
            version = msgspec.json.decode(raw, type=_Version).version
            if version != VERSION:
                raise _fault(
                    f"{self.path} is of another brokerkit (its version is {version}, not {VERSION}); use"
                    " that one, or set BROKERKIT_HOME to another folder"
                )
            return msgspec.json.decode(raw, type=_Document)
        except (ValueError, RecursionError) as error:
            raise _fault(
                f"{self.path}, which remembers what was made, is damaged ({error}); mend it, or move it"
                " away, and delete what it names by its ids"
            ) from None


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where a user's state belongs on this platform.

    Args:
        environ: The environment.

    Raises:
        RuntimeError: The user has no home.
    """
    if told := environ.get("BROKERKIT_HOME"):
        return Path(told)
    if sys.platform == "win32" and (local := environ.get("LOCALAPPDATA")):  # pragma: no cover
        return Path(local) / "brokerkit"
    told = environ.get("XDG_STATE_HOME", "")
    if Path(told).is_absolute():
        return Path(told) / "brokerkit"
    if environ.get("HOME") == "":
        raise RuntimeError("HOME is empty")  # which Path.home() takes for the root folder
    return Path.home() / ".local" / "state" / "brokerkit"


def _write(path: Path, document: _Document) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(document), indent=1))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let only one command be inside at a time; a lock ends with the process that has it."""
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


def _keep(known: dict[str, KnownInstance], instance: KnownInstance) -> None:
    """Keep an instance, but what others made only while there is something to remember of it."""
    left = {
        name: each for name, each in instance.bindings.items() if not each.adopted or each.pending is not None
    }
    if instance.adopted and instance.pending is None and not left:
        known.pop(instance.instance_id, None)
    else:
        known[instance.instance_id] = msgspec.structs.replace(instance, bindings=left)


def _fault(told: str) -> CLIError:
    return CLIError(told, error="MemoryUnusable")


def _taken(told: str) -> CLIError:
    return CLIError(f"{told}; give another name", error="NameTaken")
