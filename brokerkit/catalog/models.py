"""The service catalog: offerings, their plans, and the validation of both.

A :class:`Catalog` is created in Python or from a file. Its constructor applies every rule of the API and
reports all faults together, so every `Catalog` object is valid.
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

from .._internal.masked_struct import Masked
from .._internal.text import plural
from .json_schema import Validator
from .validation import SchemaKey, unknown_fields, validate

_Text = Annotated[str, Meta(min_length=1)]
_Seconds = Annotated[int, Meta(ge=1)]

Requirement = Literal["syslog_drain", "route_forwarding", "volume_mount"]
"""A permission that an offering needs from the platform (R-CAT-2)."""


class CatalogError(ValueError):
    """An invalid catalog; :attr:`faults` has a message for each fault, with its path."""

    def __init__(self, faults: Sequence[str], *, source: str = "the catalog") -> None:
        self.faults = tuple(faults)
        super().__init__("\n  ".join([f"{source} has {plural(len(faults), 'fault')}:", *faults]))


class CatalogWarning(UserWarning):
    """A warning about a catalog: a limit of one platform (R-CAT-6), a recommendation or an unknown field."""


class MaintenanceInfo(Struct, frozen=True, omit_defaults=True):
    """The maintenance version of a plan, with which platforms offer upgrades.

    Args:
        version: A semantic version, such as ``"1.2.0"``.
        description: The effect of an upgrade to this version. Defaults to None.
    """

    version: _Text
    description: str | None = None


class DashboardClient(Masked, frozen=True, omit_defaults=True):
    """The OAuth client of the offering's dashboard, which Cloud Foundry creates at registration."""

    _secret: ClassVar[frozenset[str]] = frozenset({"secret"})

    id: _Text
    secret: _Text
    redirect_uri: str | None = None


class Schema(Struct, frozen=True, omit_defaults=True):
    """The JSON Schema for the parameters of one action (R-CAT-4)."""

    parameters: dict[str, Any] | None = None


class InstanceSchemas(Struct, frozen=True, omit_defaults=True):
    """The schemas for creating and updating a service instance."""

    create: Schema | None = None
    update: Schema | None = None


class BindingSchemas(Struct, frozen=True, omit_defaults=True):
    """The schema for creating a service binding."""

    create: Schema | None = None


class Schemas(Struct, frozen=True, omit_defaults=True):
    """The JSON Schemas of a plan's parameters. The broker refuses other parameters with a 400 (R-PROV-6)."""

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
        """Build the nested structure from up to three JSON Schemas.

        Args:
            create: The schema for the parameters of a provision. Defaults to none.
            update: The schema for the parameters of an update. Defaults to none.
            bind: The schema for the parameters of a bind. Defaults to none.
        """
        return cls(
            service_instance=InstanceSchemas(create=_schema(create), update=_schema(update)),
            service_binding=BindingSchemas(create=_schema(bind)),
        )


def _schema(parameters: dict[str, Any] | None) -> Schema | None:
    return None if parameters is None else Schema(parameters)


class ServicePlan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A service plan: one variant of a service offering (R-CAT-3).

    In a catalog, `bindable`, `plan_updateable` and `free` are never None: the constructor of `Catalog`
    replaces None by the value of the offering or by the default of the API (R-CAT-7).

    Args:
        id: The id of the plan, unique in the catalog; it must never change.
        name: The name that users type, unique in the offering.
        description: A sentence for users.
        metadata: Free properties for user interfaces; by convention `bullets`, `costs` and `displayName`.
            Defaults to None.
        free: Whether the plan is free of charge. Defaults to True.
        bindable: Whether instances can be bound. Defaults to the value of the offering.
        binding_rotatable: Whether a binding can be replaced by a successor (R-BIND-6). Defaults to False.
        plan_updateable: Whether an instance can change from this plan to another. Defaults to the value of
            the offering.
        schemas: The JSON Schemas for the parameters. Defaults to none: any parameters are accepted.
        maximum_polling_duration: The seconds after which a platform stops polling an operation. Defaults to
            the platform's own limit.
        maintenance_info: The maintenance version of the plan. Defaults to None.
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
    """A service offering: a service that users can provision in one of its plans (R-CAT-2).

    Args:
        id: The id of the offering, unique in the catalog; it must never change.
        name: The name that users type, unique in the catalog.
        description: A sentence for users.
        bindable: Whether instances can be bound.
        plans: The service plans, at least one.
        tags: The kinds of service, with which applications find a binding. Defaults to none.
        requires: The permissions that the offering needs from the platform. Defaults to none.
        instances_retrievable: Whether instances can be fetched. Defaults to False.
        bindings_retrievable: Whether bindings can be fetched; required for asynchronous binds. Defaults to
            False.
        allow_context_updates: Whether the platform sends an update when the context of an instance changes,
            such as its name. Defaults to False.
        plan_updateable: Whether instances can change between plans. Defaults to False.
        metadata: Free properties for user interfaces; by convention `displayName`, `imageUrl`,
            `longDescription`, `providerDisplayName`, `documentationUrl`, `supportUrl` and `shareable`.
            Defaults to None.
        dashboard_client: The OAuth client for single sign-on to the dashboard. Defaults to None.
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
    """The body of the response to ``GET /v2/catalog`` (R-CAT-1)."""

    services: Sequence[ServiceOffering]


class Catalog(Struct, frozen=True, dict=True):
    """The validated service catalog of a broker.

    Args:
        services: The service offerings; may be empty.

    Raises:
        CatalogError: The catalog violates a rule (R-CAT-2 to R-CAT-5). The error has all faults.

    Warns:
        CatalogWarning: A limit of Cloud Foundry (R-CAT-6) or a recommendation is not met. :attr:`warnings`
            has all messages too.
    """

    services: Sequence[ServiceOffering]

    def __post_init__(self) -> None:
        document = _plain({"services": self.services})
        result = validate(document, Document)
        if result.faults:
            raise CatalogError(result.faults)
        given = msgspec.convert(document, Document).services
        services = tuple(_with_effective_values(offering) for offering in given)
        msgspec.structs.force_setattr(self, "services", services)
        self.__dict__["_validators"] = result.validators
        self._warn(result.warnings)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Catalog:
        """Create a catalog from the body of a response to ``GET /v2/catalog``, in dicts and lists.

        Args:
            document: The decoded JSON object.

        Raises:
            CatalogError: As for the constructor.

        Warns:
            CatalogWarning: As for the constructor, and for each field that is not part of the API.
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
        """Read a catalog from a YAML, JSON or TOML file.

        Args:
            path: The file. Its suffix selects the format.

        Raises:
            CatalogError: As for the constructor, and for a file with an unknown suffix or a syntax error.
            ModuleNotFoundError: The file is YAML, and PyYAML is not installed.
            OSError: The file cannot be read.

        Warns:
            CatalogWarning: As for :meth:`from_dict`.
        """
        file = Path(path)
        read = _READERS.get(file.suffix.lower())
        try:
            if read is None:
                raise CatalogError([f"unknown format; use one of {', '.join(_READERS)}"])
            document = read(file.read_bytes())
            if not isinstance(document, dict):
                raise CatalogError(["must contain an object with the list 'services'"])
            return cls.from_dict(document)
        except CatalogError as error:
            raise CatalogError(error.faults, source=file.name) from None
        except (ValueError, RecursionError) as error:
            raise CatalogError([f"cannot be read: {error}"], source=file.name) from None

    def offering(self, service_id: str) -> ServiceOffering | None:
        """Return the offering with this id; None if there is none."""
        return self._services_by_id.get(service_id)

    def find_plan(self, plan_id: str) -> tuple[ServiceOffering, ServicePlan] | None:
        """Return the plan with this id and its offering; None if there is none."""
        return self._plans_by_id.get(plan_id)

    def validator(self, plan: ServicePlan, resource: str, action: str) -> Validator | None:
        """Return the compiled schema for parameters of a plan; None if it has no schema (R-CAT-4).

        Args:
            plan: A plan of this catalog.
            resource: ``"service_instance"`` or ``"service_binding"``.
            action: ``"create"`` or ``"update"``.
        """
        validators: dict[SchemaKey, Validator] = self.__dict__["_validators"]
        return validators.get((plan.id, resource, action))

    @property
    def warnings(self) -> tuple[str, ...]:
        """The messages of all warnings, each with its path."""
        lines: tuple[str, ...] = self.__dict__.get("_warnings", ())
        return lines

    @cached_property
    def encoded(self) -> bytes:
        """The body of the response to ``GET /v2/catalog``."""
        return msgspec.json.encode(Document(self.services))

    @cached_property
    def etag(self) -> str:
        """The strong entity tag of :attr:`encoded` (R-CAT-8)."""
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
    """Suppress the `CatalogWarning` of each catalog that is created in this context.

    `Catalog.warnings` still has the messages. The filters of the module `warnings` cannot be used for this,
    as they apply to all threads.
    """
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def _stacklevel() -> int:
    """Return the stack level of the code that uses this module, counted from the caller."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        level, frame = level + 1, frame.f_back
    return level


def _plain(document: object) -> object:
    """Convert a document to JSON types: dicts and lists instead of structs and tuples."""
    try:
        return msgspec.json.decode(msgspec.json.encode(document))
    except (TypeError, ValueError, RecursionError) as error:
        raise CatalogError([f"catalog: cannot be encoded as JSON: {error}"]) from None


def _with_effective_values(offering: ServiceOffering) -> ServiceOffering:
    """Replace absent fields of plans by their effective values (R-CAT-7).

    Korifi reads an absent field as false, while other platforms use the default.
    """
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


def _first(value: bool | None, default: bool) -> bool:
    return default if value is None else value


def _read_json(content: bytes) -> object:
    return msgspec.json.decode(content)


def _read_toml(content: bytes) -> object:
    import tomllib

    return tomllib.loads(content.decode())


def _read_yaml(content: bytes) -> object:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a catalog in YAML needs the extra 'yaml': pip install 'osb-brokerkit[yaml]'", name="yaml"
        ) from None
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
