"""What a broker offers: service offerings, their plans, and the checks that both must pass.

A :class:`Catalog` is made once, in Python or from a file, and is right from then on: its constructor
applies every rule of the API to it and names all faults at once.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from .._internal.masking import Masked
from .json_schema import Validator
from .validation import SchemaKey, unknown_fields, validate

_Text = Annotated[str, Meta(min_length=1)]
_Seconds = Annotated[int, Meta(ge=1)]

Requirement = Literal["syslog_drain", "route_forwarding", "volume_mount"]
"""A permission that an offering needs of the platform (R-CAT-2)."""


class CatalogError(ValueError):
    """A catalog that no platform should see; :attr:`faults` has each fault, with its place."""

    def __init__(self, faults: Sequence[str], *, source: str = "the catalog") -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n  ".join([f"{source} has {count}:", *faults]))


class CatalogWarning(UserWarning):
    """What one platform refuses (R-CAT-6), what is not recommended, or a field that the API does not have."""


class MaintenanceInfo(Struct, frozen=True, omit_defaults=True):
    """The version of what a plan runs, so that platforms can offer upgrades.

    Args:
        version: A semantic version, such as ``"1.2.0"``.
        description: What an upgrade to this version does.
    """

    version: _Text
    description: str | None = None


class DashboardClient(Masked, frozen=True, omit_defaults=True):
    """An OAuth client for the offering's dashboard, which Cloud Foundry makes at registration."""

    _secret: ClassVar[frozenset[str]] = frozenset({"secret"})

    id: _Text
    secret: _Text
    redirect_uri: str | None = None


class Schema(Struct, frozen=True, omit_defaults=True):
    """The JSON Schema of one action's parameters (R-CAT-4)."""

    parameters: dict[str, Any] | None = None


class InstanceSchemas(Struct, frozen=True, omit_defaults=True):
    """The schemas for creating and updating a service instance."""

    create: Schema | None = None
    update: Schema | None = None


class BindingSchemas(Struct, frozen=True, omit_defaults=True):
    """The schema for creating a service binding."""

    create: Schema | None = None


class Schemas(Struct, frozen=True, omit_defaults=True):
    """What parameters a plan takes. The broker refuses all others with a 400 (R-PROV-6)."""

    service_instance: InstanceSchemas | None = None
    service_binding: BindingSchemas | None = None

    @classmethod
    def of(
        cls,
        *,
        create: dict[str, Any] | None = None,
        update: dict[str, Any] | None = None,
        bind: dict[str, Any] | None = None,
    ) -> Schemas:
        """Make the nested structure from up to three JSON Schemas.

        Args:
            create: For the parameters of a provision.
            update: For the parameters of an update.
            bind: For the parameters of a bind.
        """
        return cls(
            service_instance=InstanceSchemas(create=_schema(create), update=_schema(update)),
            service_binding=BindingSchemas(create=_schema(bind)),
        )


def _schema(parameters: dict[str, Any] | None) -> Schema | None:
    return None if parameters is None else Schema(parameters)


class ServicePlan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way to have a service offering (R-CAT-3).

    In a catalog, `bindable`, `plan_updateable` and `free` are never None: they hold what is in effect
    for this plan, whether the plan, the offering or the API's default says so (R-CAT-7).

    Args:
        id: Unique in the whole catalog, and never changed.
        name: What users type; unique in its offering.
        description: A sentence for users.
        metadata: Free, for user interfaces; by convention `bullets`, `costs`, `displayName`.
        free: Does it cost nothing? True unless told.
        bindable: Can it be bound? The offering's unless told.
        binding_rotatable: Can a binding have a successor (R-BIND-6)?
        plan_updateable: Can an instance move from this plan to another? The offering's unless told.
        schemas: What parameters it takes.
        maximum_polling_duration: After how many seconds a platform gives an operation up.
        maintenance_info: The version of what it runs.
    """

    id: _Text
    name: _Text
    description: _Text
    metadata: dict[str, Any] | None = None
    free: bool | None = None
    bindable: bool | None = None
    binding_rotatable: bool = False
    plan_updateable: bool | None = None
    schemas: Schemas | None = None
    maximum_polling_duration: _Seconds | None = None
    maintenance_info: MaintenanceInfo | None = None


class ServiceOffering(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A service that users can order, in one of its plans (R-CAT-2).

    Args:
        id: Unique in the catalog, and never changed.
        name: What users type; unique in the catalog.
        description: A sentence for users.
        bindable: Can its instances be bound?
        plans: At least one.
        tags: What it is, for programs that look for a kind of service in their bindings.
        requires: What it needs of the platform.
        instances_retrievable: Can instances be fetched?
        bindings_retrievable: Can bindings be fetched? Needed for asynchronous binds.
        allow_context_updates: Does it want to know when an instance's context changes, such as its name?
        plan_updateable: Can instances move between plans?
        metadata: Free, for user interfaces; by convention `displayName`, `imageUrl`,
            `longDescription`, `providerDisplayName`, `documentationUrl`, `supportUrl`, `shareable`.
        dashboard_client: For single sign-on to its dashboard.
    """

    id: _Text
    name: _Text
    description: _Text
    bindable: bool
    plans: Annotated[Sequence[ServicePlan], Meta(min_length=1)]
    tags: Sequence[str] = ()
    requires: Sequence[Requirement] = ()
    instances_retrievable: bool = False
    bindings_retrievable: bool = False
    allow_context_updates: bool = False
    plan_updateable: bool = False
    metadata: dict[str, Any] | None = None
    dashboard_client: DashboardClient | None = None


class Document(Struct, frozen=True):
    """What ``GET /v2/catalog`` answers (R-CAT-1)."""

    services: Sequence[ServiceOffering]


class Catalog(Struct, frozen=True, dict=True):
    """All that a broker offers, checked.

    Args:
        services: The service offerings; there may be none.

    Raises:
        CatalogError: With every fault, each with its place (R-CAT-2 to R-CAT-5).

    Warns:
        CatalogWarning: For each thing that only Cloud Foundry refuses (R-CAT-6), or that is not
            recommended; :attr:`warnings` has them too.
    """

    services: Sequence[ServiceOffering]

    def __post_init__(self) -> None:
        document = _plain({"services": self.services})
        verdict = validate(document, Document)
        if verdict.faults:
            raise CatalogError(verdict.faults)
        told = msgspec.convert(document, Document).services
        services = tuple(_with_effective_values(offering) for offering in told)
        msgspec.structs.force_setattr(self, "services", services)
        self.__dict__["_validators"] = verdict.validators
        self._warn(verdict.warnings)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Catalog:
        """Make a catalog from what ``GET /v2/catalog`` would answer, as plain dicts and lists.

        Raises:
            CatalogError: As the constructor.

        Warns:
            CatalogWarning: As the constructor; also for fields that the API does not have.
        """
        plain = _plain(document)
        try:
            services = msgspec.convert(plain, Document).services
        except msgspec.ValidationError as error:
            raise CatalogError(validate(plain, Document).faults or [f"catalog: {error}"]) from None
        catalog = cls(services)
        catalog._warn([*unknown_fields(plain, Document)])
        return catalog

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Catalog:
        """Read a catalog from a YAML, JSON or TOML file, by its suffix.

        Raises:
            CatalogError: As the constructor; also for a file that is not what its suffix says.
            ModuleNotFoundError: For a YAML file, where PyYAML is not installed.
            OSError: The file cannot be read.

        Warns:
            CatalogWarning: As :meth:`from_dict`.
        """
        file = Path(path)
        read = _READERS.get(file.suffix.lower())
        try:
            if read is None:
                raise CatalogError([f"its format is unknown; use one of {', '.join(_READERS)}"])
            document = read(file.read_bytes())
            if not isinstance(document, dict):
                raise CatalogError(["must hold an object with the list 'services'"])
            return cls.from_dict(document)
        except CatalogError as error:
            raise CatalogError(error.faults, source=file.name) from None
        except (ValueError, RecursionError) as error:
            raise CatalogError([f"cannot be read: {error}"], source=file.name) from None

    def offering(self, service_id: str) -> ServiceOffering | None:
        """The offering with this id."""
        return self._services_by_id.get(service_id)

    def find_plan(self, plan_id: str) -> tuple[ServiceOffering, ServicePlan] | None:
        """The plan with this id, with its offering."""
        return self._plans_by_id.get(plan_id)

    def validator(self, plan: ServicePlan, resource: str, action: str) -> Validator | None:
        """The compiled schema of a plan's parameters, or None if it takes any (R-CAT-4).

        Args:
            plan: A plan of this catalog.
            resource: ``"service_instance"`` or ``"service_binding"``.
            action: ``"create"`` or ``"update"``.
        """
        validators: dict[SchemaKey, Validator] = self.__dict__["_validators"]
        return validators.get((plan.id, resource, action))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the checks warned of, a line each, with its place."""
        lines: tuple[str, ...] = self.__dict__.get("_warnings", ())
        return lines

    @cached_property
    def encoded(self) -> bytes:
        """The answer to ``GET /v2/catalog``."""
        return msgspec.json.encode(Document(self.services))

    @cached_property
    def etag(self) -> str:
        """A strong entity tag of :attr:`encoded` (R-CAT-8)."""
        return f'"{hashlib.sha256(self.encoded).hexdigest()}"'

    @cached_property
    def _services_by_id(self) -> dict[str, ServiceOffering]:
        return {offering.id: offering for offering in self.services}

    @cached_property
    def _plans_by_id(self) -> dict[str, tuple[ServiceOffering, ServicePlan]]:
        return {plan.id: (offering, plan) for offering in self.services for plan in offering.plans}

    def _warn(self, lines: Sequence[str]) -> None:
        self.__dict__["_warnings"] = (*self.warnings, *lines)
        for line in () if _is_quiet.get() else lines:
            warnings.warn(f"catalog: {line}", CatalogWarning, stacklevel=_stacklevel())


_is_quiet: ContextVar[bool] = ContextVar("brokerkit_catalog_is_quiet", default=False)


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Catalogs that are made here warn of nothing, but have it in their `warnings`.

    Python's own filters are those of all threads.
    """
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def _stacklevel() -> int:
    """How far up the stack, seen from the caller, is the code that uses this module."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        level, frame = level + 1, frame.f_back
    return level


def _plain(document: object) -> object:
    """The document as JSON has it, with lists for tuples and dicts for structs."""
    try:
        return msgspec.json.decode(msgspec.json.encode(document))
    except (TypeError, ValueError, RecursionError) as error:
        raise CatalogError([f"catalog: holds what JSON cannot: {error}"]) from None


def _with_effective_values(offering: ServiceOffering) -> ServiceOffering:
    """Korifi reads an absent field as false where others take the default, so none stays absent (R-CAT-7)."""
    plans = tuple(
        msgspec.structs.replace(
            plan,
            free=_first(plan.free, True),
            bindable=_first(plan.bindable, offering.bindable),
            plan_updateable=_first(plan.plan_updateable, offering.plan_updateable),
        )
        for plan in offering.plans
    )
    return msgspec.structs.replace(offering, plans=plans)


def _first(told: bool | None, otherwise: bool) -> bool:
    return otherwise if told is None else told


def _read_json(content: bytes) -> object:
    return msgspec.json.decode(content)


def _read_toml(content: bytes) -> object:
    import tomllib

    return tomllib.loads(content.decode())


def _read_yaml(content: bytes) -> object:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ModuleNotFoundError("a catalog in YAML needs PyYAML: pip install pyyaml", name="yaml") from None
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


_READERS: dict[str, Callable[[bytes], object]] = {
    ".yml": _read_yaml,
    ".yaml": _read_yaml,
    ".json": _read_json,
    ".toml": _read_toml,
}
