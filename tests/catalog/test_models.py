"""The catalog: its fields, its rules and how it is served (R-CAT)."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from brokerkit import (
    BindingSchemas,
    Broker,
    Catalog,
    CatalogError,
    CatalogWarning,
    DashboardClient,
    InstanceSchemas,
    MaintenanceInfo,
    Schema,
    Schemas,
    ServiceOffering,
    ServicePlan,
)

from ..support.broker import (
    HANDLERS,
    INSTANCE,
    ORGANIZATION,
    PARAMETERS,
    PROVISION,
    Platform,
    Recorder,
    error_of,
    make_app,
    make_broker,
    make_offering,
)

FULL_PLAN: dict[str, Any] = {
    "id": "small-id",
    "name": "small",
    "description": "A small one",
    "metadata": {
        "bullets": ["1 GB", "daily backup"],
        "costs": [{"amount": {"eur": 9.5}, "unit": "MONTHLY"}],
        "displayName": "Small",
    },
    "free": False,
    "bindable": False,
    "binding_rotatable": True,
    "plan_updateable": False,
    "schemas": {
        "service_instance": {
            "create": {"parameters": {**PARAMETERS, "title": "create"}},
            "update": {"parameters": {**PARAMETERS, "title": "update"}},
        },
        "service_binding": {"create": {"parameters": {**PARAMETERS, "title": "bind"}}},
    },
    "maximum_polling_duration": 3600,
    "maintenance_info": {"version": "1.2.3-rc.1+build.5", "description": "OS 24"},
}
FULL_OFFERING: dict[str, Any] = {
    "id": "db-id",
    "name": "db",
    "description": "Datenbanken für alle",
    "bindable": True,
    "plans": [FULL_PLAN],
    "tags": ["sql", "relational"],
    "requires": ["syslog_drain", "route_forwarding", "volume_mount"],
    "instances_retrievable": True,
    "bindings_retrievable": True,
    "allow_context_updates": True,
    "plan_updateable": True,
    "metadata": {
        "displayName": "DB",
        "imageUrl": "https://example.org/db.png",
        "longDescription": "Long",
        "providerDisplayName": "We",
        "documentationUrl": "https://example.org/docs",
        "supportUrl": "https://example.org/help",
        "shareable": True,
    },
    "dashboard_client": {
        "id": "client",
        "secret": "client-secret",
        "redirect_uri": "https://db.example.org",
    },
}
FULL: dict[str, Any] = {"services": [FULL_OFFERING]}
"""Every field of R-CAT, each with a value that is not its default."""


def an_offering(**fields: Any) -> dict[str, Any]:
    """A plain offering with the required fields only; None leaves a field out."""
    return _without_nones(
        {
            "id": "s",
            "name": "s",
            "description": "d",
            "bindable": True,
            "plans": [a_plan()],
            **fields,
        }
    )


def a_plan(**fields: Any) -> dict[str, Any]:
    return _without_nones({"id": "p", "name": "p", "description": "d", **fields})


def _without_nones(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def with_offering(**fields: Any) -> dict[str, Any]:
    return {"services": [an_offering(**fields)]}


def with_plan(**fields: Any) -> dict[str, Any]:
    return with_offering(plans=[a_plan(**fields)])


def with_schema(schema: object) -> dict[str, Any]:
    return with_plan(schemas={"service_instance": {"create": {"parameters": schema}}})


SCHEMA_PLACE = "services[0].plans[0].schemas.service_instance.create.parameters"


def faults_of(document: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(CatalogError) as caught:
        Catalog.from_dict(document)
    return caught.value.faults


def warnings_of(document: dict[str, Any]) -> tuple[str, ...]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        catalog = Catalog.from_dict(document)
    assert [str(warning.message) for warning in caught] == [f"catalog: {line}" for line in catalog.warnings]
    assert all(warning.category is CatalogWarning for warning in caught)
    return catalog.warnings


# What it is made of: R-CAT-1 to R-CAT-3


def from_python(_: Path) -> Catalog:
    return Catalog(
        [
            ServiceOffering(
                id="db-id",
                name="db",
                description="Datenbanken für alle",
                bindable=True,
                plans=[
                    ServicePlan(
                        id="small-id",
                        name="small",
                        description="A small one",
                        metadata=FULL_PLAN["metadata"],
                        free=False,
                        bindable=False,
                        binding_rotatable=True,
                        plan_updateable=False,
                        schemas=Schemas(
                            service_instance=InstanceSchemas(
                                create=Schema({**PARAMETERS, "title": "create"}),
                                update=Schema({**PARAMETERS, "title": "update"}),
                            ),
                            service_binding=BindingSchemas(create=Schema({**PARAMETERS, "title": "bind"})),
                        ),
                        maximum_polling_duration=3600,
                        maintenance_info=MaintenanceInfo("1.2.3-rc.1+build.5", "OS 24"),
                    )
                ],
                tags=["sql", "relational"],
                requires=["syslog_drain", "route_forwarding", "volume_mount"],
                instances_retrievable=True,
                bindings_retrievable=True,
                allow_context_updates=True,
                plan_updateable=True,
                metadata=FULL_OFFERING["metadata"],
                dashboard_client=DashboardClient(
                    id="client", secret="client-secret", redirect_uri="https://db.example.org"
                ),
            )
        ]
    )


def from_dict(_: Path) -> Catalog:
    return Catalog.from_dict(FULL)


def from_yaml(folder: Path) -> Catalog:
    file = folder / "catalog.yml"
    file.write_text(yaml.safe_dump(FULL, allow_unicode=True), encoding="utf-8")
    return Catalog.from_file(file)


def from_long_yaml_suffix(folder: Path) -> Catalog:
    file = folder / "catalog.YAML"
    file.write_text(yaml.safe_dump(FULL, allow_unicode=True), encoding="utf-8")
    return Catalog.from_file(str(file))


def from_json(folder: Path) -> Catalog:
    file = folder / "catalog.json"
    file.write_text(json.dumps(FULL, ensure_ascii=False), encoding="utf-8")
    return Catalog.from_file(file)


def from_toml(folder: Path) -> Catalog:
    file = folder / "catalog.toml"
    file.write_text(f"services = {in_toml(FULL['services'])}\n", encoding="utf-8")
    return Catalog.from_file(file)


def in_toml(value: Any) -> str:
    """A value as TOML writes it within a line: JSON, but for the `=` of its tables."""
    if isinstance(value, dict):
        inner = (f"{json.dumps(name)} = {in_toml(item)}" for name, item in value.items())
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(in_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.rule("R-CAT-1", "R-CAT-2", "R-CAT-3", "R-CAT-4")
@pytest.mark.parametrize(
    "make", [from_python, from_dict, from_yaml, from_long_yaml_suffix, from_json, from_toml]
)
def test_catalog_serves_every_field_unchanged(
    make: Callable[[Path], Catalog], tmp_path: Path, recorder: Recorder
) -> None:
    """Catalogs from Python, a dict, YAML, JSON and TOML are all served with the same content."""
    catalog = make(tmp_path)
    assert catalog.warnings == ()
    response = Platform(make_app(make_broker(recorder, catalog=catalog))).get("/v2/catalog")
    assert response.status_code == 200
    assert response.json == FULL


@pytest.mark.rule("R-CAT-2", "R-CAT-3", "R-CAT-4")
@pytest.mark.parametrize(
    ("struct", "written"),
    [
        (ServiceOffering, FULL_OFFERING),
        (ServicePlan, FULL_PLAN),
        (MaintenanceInfo, FULL_PLAN["maintenance_info"]),
        (DashboardClient, FULL_OFFERING["dashboard_client"]),
        (Schemas, FULL_PLAN["schemas"]),
        (InstanceSchemas, FULL_PLAN["schemas"]["service_instance"]),
        (BindingSchemas, FULL_PLAN["schemas"]["service_binding"]),
    ],
)
def test_full_example_has_every_struct_field(struct: type[msgspec.Struct], written: dict[str, Any]) -> None:
    """The example catalog of these tests covers every field of every struct."""
    assert set(struct.__struct_fields__) == written.keys()


@pytest.mark.rule("R-CAT-4")
def test_schemas_of_builds_nested_structure() -> None:
    assert (
        msgspec.to_builtins(
            Schemas.of(
                create={**PARAMETERS, "title": "create"},
                update={**PARAMETERS, "title": "update"},
                bind={**PARAMETERS, "title": "bind"},
            )
        )
        == (FULL_PLAN["schemas"])
    )


@pytest.mark.rule("R-CAT-1")
def test_catalog_may_be_empty(recorder: Recorder) -> None:
    broker = Broker(Catalog([]), auth=lambda request: True)
    assert Platform(make_app(broker)).get("/v2/catalog").json == {"services": []}


@pytest.mark.rule("R-CAT-2", "R-CAT-3")
def test_catalog_absent_fields_take_defaults() -> None:
    (offering,) = Catalog.from_dict(with_offering()).services
    assert (offering.tags, offering.requires) == ((), ())
    assert not offering.instances_retrievable
    assert not offering.bindings_retrievable
    assert not offering.allow_context_updates
    assert not offering.plan_updateable
    assert not offering.plans[0].binding_rotatable
    assert offering.plans[0].maximum_polling_duration is None


@pytest.mark.parametrize(
    "instance",
    [
        Catalog([make_offering()]),
        make_offering(),
        make_offering().plans[0],
        MaintenanceInfo("1.0.0"),
        Schemas.of(),
        DashboardClient(id="c", secret="s"),
    ],
    ids=lambda instance: type(instance).__name__,
)
def test_catalog_structs_are_frozen(instance: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(instance, instance.__struct_fields__[0], "x")


def test_catalog_repr_masks_dashboard_client_secret() -> None:
    """The secret is masked in the repr and present in the encoded catalog."""
    catalog = Catalog.from_dict(FULL)
    assert "client-secret" not in repr(catalog)
    assert "secret=***" in repr(catalog)
    assert b"client-secret" in catalog.encoded


def test_catalog_finds_offerings_and_plans_by_id() -> None:
    catalog = Catalog([make_offering()])
    (offering,) = catalog.services
    assert catalog.offering("db-id") is offering
    assert catalog.find_plan("large-id") == (offering, offering.plans[1])
    assert catalog.offering("db") is None
    assert catalog.find_plan("large") is None


# Files


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("catalog.ini", b"", "unknown format; use one of .yml, .yaml, .json"),
        ("catalog", b"", "unknown format"),
        ("c.json", b"{", "cannot be read: "),
        ("c.json", b'{"services": "\xff"}', "cannot be read: "),
        ("c.json", b"[" * 100_000, "cannot be read: "),
        ("c.yml", b"services: [", "cannot be read: "),
        ("c.yml", b"services: \xff", "cannot be read: "),
        ("c.yml", b"services: !!python/object/apply:os.getcwd []", "cannot be read: "),
        ("c.toml", b"services = [", "cannot be read: "),
        ("c.toml", b"services = '\xff'", "cannot be read: "),
        ("c.json", b"[]", "must contain an object with the list 'services'"),
        ("c.yml", b"", "must contain an object with the list 'services'"),
        ("c.yml", b"services: []\nself: &a [*a]", "catalog: cannot be encoded as JSON: "),
        ("c.toml", b"", "catalog: 'services' is required"),
    ],
)
def test_from_file_error_names_invalid_file(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(CatalogError) as caught:
        Catalog.from_file(file)
    (fault_line,) = caught.value.faults
    assert fault_line.startswith(fault)
    assert str(caught.value).startswith(f"{name} has 1 fault:")


def test_from_file_without_pyyaml_names_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    file = tmp_path / "catalog.yml"
    file.write_text("services: []")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'osb-brokerkit\[yaml\]'"):
        Catalog.from_file(file)


def test_from_file_with_missing_file_raises_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Catalog.from_file(tmp_path / "catalog.yml")


# Faults, each with its place


@pytest.mark.rule("R-CAT-2")
@pytest.mark.parametrize("field", ["id", "name", "description", "bindable", "plans"])
def test_offering_without_required_field_is_error(field: str) -> None:
    assert faults_of(with_offering(**{field: None})) == (f"services[0]: {field!r} is required",)


@pytest.mark.rule("R-CAT-3")
@pytest.mark.parametrize("field", ["id", "name", "description"])
def test_plan_without_required_field_is_error(field: str) -> None:
    assert faults_of(with_plan(**{field: None})) == (f"services[0].plans[0]: {field!r} is required",)


@pytest.mark.rule("R-CAT-2")
@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"id": ""}, "id: must not be empty"),
        ({"name": ""}, "name: must not be empty"),
        ({"description": ""}, "description: must not be empty"),
        ({"id": 7}, "id: must be of type string"),
        ({"bindable": "yes"}, "bindable: must be of type boolean"),
        ({"plans": []}, "plans: needs at least 1 item"),
        ({"plans": {}}, "plans: must be of type array"),
        ({"plans": [7]}, "plans[0]: must be of type object"),
        ({"tags": "sql"}, "tags: must be of type array"),
        ({"tags": ["sql", 7]}, "tags[1]: must be of type string"),
        ({"requires": ["root"]}, "requires[0]: must be one of"),
        ({"instances_retrievable": 1}, "instances_retrievable: must be of type boolean"),
        ({"bindings_retrievable": 1}, "bindings_retrievable: must be of type boolean"),
        ({"allow_context_updates": 1}, "allow_context_updates: must be of type boolean"),
        ({"plan_updateable": "true"}, "plan_updateable: must be of type boolean"),
        ({"metadata": []}, "metadata: must be of type object"),
        ({"dashboard_client": {"secret": "x"}}, "dashboard_client: 'id' is required"),
        ({"dashboard_client": {"id": "x"}}, "dashboard_client: 'secret' is required"),
        ({"dashboard_client": "x"}, "dashboard_client: must be of type object"),
    ],
)
def test_offering_with_invalid_value_is_error(fields: dict[str, Any], fault: str) -> None:
    """The error names the location and the reason."""
    (fault_line,) = faults_of(with_offering(**fields))
    assert fault_line.startswith(f"services[0].{fault}")


@pytest.mark.rule("R-CAT-3", "R-CAT-4")
@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"id": ""}, "id: must not be empty"),
        ({"name": ""}, "name: must not be empty"),
        ({"description": ""}, "description: must not be empty"),
        ({"free": "no"}, "free: must be of type boolean"),
        ({"bindable": 0}, "bindable: must be of type boolean"),
        ({"binding_rotatable": 0}, "binding_rotatable: must be of type boolean"),
        ({"plan_updateable": 0}, "plan_updateable: must be of type boolean"),
        ({"metadata": "x"}, "metadata: must be of type object"),
        ({"schemas": []}, "schemas: must be of type object"),
        (
            {"schemas": {"service_binding": {"create": {"parameters": True}}}},
            "schemas.service_binding.create.parameters: must be of type object",
        ),
        ({"maximum_polling_duration": "1h"}, "maximum_polling_duration: must be of type integer"),
        ({"maximum_polling_duration": 0}, "maximum_polling_duration: must be at least 1"),
        ({"maintenance_info": {}}, "maintenance_info: 'version' is required"),
        ({"maintenance_info": {"version": 1.0}}, "maintenance_info.version: must be of type string"),
        ({"maintenance_info": {"version": ""}}, "maintenance_info.version: must not be empty"),
    ],
)
def test_plan_with_invalid_value_is_error(fields: dict[str, Any], fault: str) -> None:
    """The error names the location and the reason."""
    assert faults_of(with_plan(**fields)) == (f"services[0].plans[0].{fault}",)


@pytest.mark.rule("R-CAT-3")
@pytest.mark.parametrize("version", ["1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0 "])
def test_maintenance_version_must_be_semantic(version: str) -> None:
    assert faults_of(with_plan(maintenance_info={"version": version})) == (
        f"services[0].plans[0].maintenance_info.version: {version!r} is not a semantic version,"
        " such as '1.0.0'",
    )


@pytest.mark.rule("R-CAT-3")
@pytest.mark.parametrize("version", ["0.0.0", "1.2.3-alpha.1", "1.0.0+20130313144700", "1.0.0-0a.b-c"])
def test_maintenance_version_accepts_semantic_versions(version: str) -> None:
    catalog = Catalog.from_dict(with_plan(maintenance_info={"version": version}))
    assert catalog.services[0].plans[0].maintenance_info == MaintenanceInfo(version)


TWO = [an_offering(), an_offering(id="t", name="t", plans=[a_plan(id="q")])]


@pytest.mark.rule("R-CAT-5")
@pytest.mark.parametrize(
    ("services", "fault"),
    [
        (
            [TWO[0], {**TWO[1], "id": "s"}],
            "services[1].id: 's' is also the id of services[0]",
        ),
        (
            [TWO[0], {**TWO[1], "name": "s"}],
            "services[1].name: 's' is also the name of services[0]",
        ),
        (
            [TWO[0], {**TWO[1], "plans": [a_plan(id="q"), a_plan(name="other")]}],
            "services[1].plans[1].id: 'p' is also the id of services[0].plans[0]",
        ),
        (
            [an_offering(plans=[a_plan(), a_plan(id="q")])],
            "services[0].plans[1].name: 'p' is also the name of services[0].plans[0]",
        ),
    ],
)
def test_catalog_duplicate_ids_and_names_are_errors(services: list[Any], fault: str) -> None:
    """Offering ids and names and plan ids are unique in the catalog, plan names within their offering."""
    assert faults_of({"services": services}) == (fault,)


@pytest.mark.rule("R-CAT-5")
def test_plan_names_may_repeat_across_offerings() -> None:
    assert len(Catalog.from_dict({"services": TWO}).services) == 2


def test_catalog_error_lists_all_errors() -> None:
    document = {
        "services": [
            an_offering(
                id=7,
                plans=[
                    a_plan(maximum_polling_duration=0, maintenance_info={"version": "one"}),
                    a_plan(
                        description=None,
                        schemas={"service_binding": {"create": {"parameters": {}}}},
                    ),
                ],
            ),
            an_offering(bindable=None, plans=[]),
        ]
    }
    faults = faults_of(document)
    assert {fault.split(": ")[0] for fault in faults} == {
        "services[0].id",
        "services[0].plans[0].maximum_polling_duration",
        "services[0].plans[0].maintenance_info.version",
        "services[0].plans[1]",
        "services[0].plans[1].id",
        "services[0].plans[1].name",
        "services[0].plans[1].schemas.service_binding.create.parameters",
        "services[1]",
        "services[1].name",
        "services[1].plans",
    }
    with pytest.raises(CatalogError, match=r"the catalog has 10 faults:") as caught:
        Catalog.from_dict(document)
    assert all(fault in str(caught.value) for fault in faults)


def test_python_catalog_reports_same_errors() -> None:
    """A catalog built from Python objects is validated like one from a document."""
    offering = make_offering(id="", description=7, plans=[])
    with pytest.raises(CatalogError) as caught:
        Catalog([offering, offering])
    assert set(caught.value.faults) == {
        f"services[{number}].{fault}"
        for number in (0, 1)
        for fault in (
            "id: must not be empty",
            "description: must be of type string",
            "plans: needs at least 1 item",
        )
    } | {"services[1].name: 'db' is also the name of services[0]"}


@pytest.mark.rule("R-CAT-4", "R-CAT-5")
@pytest.mark.parametrize("kind", [list, tuple])
def test_catalog_validates_lists_and_tuples_equally(
    kind: Callable[[Any], Any],
) -> None:
    small = ServicePlan(
        id="p",
        name="p",
        description="d",
        schemas=Schemas.of(create=PARAMETERS, update={"type": "object"}),
    )
    offering = make_offering(plans=kind([small, small]))
    with pytest.raises(CatalogError) as caught:
        Catalog(kind([offering]))
    assert {fault.split(": ")[0] for fault in caught.value.faults} == {
        "services[0].plans[1].id",
        "services[0].plans[1].name",
        "services[0].plans[0].schemas.service_instance.update.parameters",
        "services[0].plans[1].schemas.service_instance.update.parameters",
    }


@pytest.mark.rule("R-CAT-6")
@pytest.mark.parametrize("kind", [list, tuple])
def test_catalog_of_tuples_emits_warnings(kind: Callable[[Any], Any]) -> None:
    with pytest.warns(CatalogWarning) as caught:
        Catalog(kind([make_offering(tags=kind(["x" * 3000]))]))
    assert len(caught) == 1


@pytest.mark.rule("R-CAT-4")
@pytest.mark.parametrize("kind", [list, tuple])
def test_catalog_of_tuples_compiles_schemas(
    kind: Callable[[Any], Any],
) -> None:
    catalog = Catalog(kind([make_offering(plans=kind(make_offering().plans))]))
    validator = catalog.validator(catalog.services[0].plans[0], "service_instance", "create")
    assert validator is not None
    assert not validator.is_valid({"size": "x"})


def _dashboard(secret: object) -> dict[str, Any]:
    return with_offering(dashboard_client={"id": "c", "secret": secret, "redirect_uri": 7})


@pytest.mark.parametrize("secret", [77123456, ["hunter2"], {"s": "hunter2"}])
def test_catalog_error_hides_dashboard_client_secret(secret: object) -> None:
    faults = " ".join(faults_of(_dashboard(secret)))
    assert "services[0].dashboard_client.secret" in faults
    assert "services[0].dashboard_client.redirect_uri" in faults
    assert "hunter2" not in faults
    assert "77123456" not in faults


@pytest.mark.rule("R-CAT-1")
@pytest.mark.parametrize("services", [None, "x", 7, {}, [None]])
def test_catalog_refuses_invalid_services_argument(services: Any) -> None:
    with pytest.raises(CatalogError, match="services"):
        Catalog(services)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(with_offering(metadata={"x": object()}), id="an object"),
        pytest.param(with_offering(metadata={"x": "\ud800"}), id="a lone surrogate"),
        pytest.param(with_offering(description="\ud800"), id="a lone surrogate in a text"),
        pytest.param(with_offering(metadata={"x": 10**5000}), id="a number of 5,000 digits"),
    ],
)
def test_catalog_refuses_values_unrepresentable_in_json(document: dict[str, Any]) -> None:
    with pytest.raises(CatalogError):
        Catalog.from_dict(document)


@pytest.mark.parametrize(
    "services",
    [
        pytest.param([an_offering()], id="offering"),
        pytest.param([make_offering(plans=[a_plan()])], id="plan"),
        pytest.param([make_offering(dashboard_client=FULL_OFFERING["dashboard_client"])], id="client"),
        pytest.param(
            [
                make_offering(
                    plans=[ServicePlan(**a_plan(id="small-id", maintenance_info={"version": "1.0.0"}))]
                )
            ],
            id="maintenance_info",
        ),
        pytest.param(
            [make_offering(plans=[ServicePlan(**a_plan(schemas=FULL_PLAN["schemas"]))])],
            id="schemas",
        ),
    ],
)
def test_catalog_converts_or_refuses_nested_dicts(services: Any, recorder: Recorder) -> None:
    """A dict in place of a struct must not fail later, in a request."""
    try:
        catalog = Catalog(services)
    except CatalogError:
        return
    for offering in catalog.services:
        assert type(offering) is ServiceOffering
        assert type(offering.dashboard_client) in (DashboardClient, type(None))
        for plan in offering.plans:
            assert type(plan) is ServicePlan
            assert type(plan.maintenance_info) in (MaintenanceInfo, type(None))
            assert type(plan.schemas) in (Schemas, type(None))


# Schemas: R-CAT-4

DRAFTS = {
    "4": "http://json-schema.org/draft-04/schema#",
    "6": "http://json-schema.org/draft-06/schema#",
    "7": "http://json-schema.org/draft-07/schema#",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}


@pytest.mark.rule("R-CAT-4")
@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS.keys())
@pytest.mark.parametrize(
    ("resource", "action"),
    [("service_instance", "create"), ("service_instance", "update"), ("service_binding", "create")],
)
def test_schema_accepts_drafts_4_to_2020_12(draft: str, resource: str, action: str) -> None:
    schema = {
        "$schema": draft,
        "type": "object",
        "properties": {"size": {"$ref": "#/definitions/size"}},
        "definitions": {"size": {"type": "integer"}},
    }
    catalog = Catalog.from_dict(
        with_plan(schemas={resource: {action: {"parameters": schema}}}),
    )
    validator = catalog.validator(catalog.services[0].plans[0], resource, action)
    assert validator is not None
    assert validator.is_valid({"size": 1})
    assert not validator.is_valid({"size": "1"})


@pytest.mark.rule("R-CAT-4")
@pytest.mark.parametrize("version", [{}, {"$schema": None}, {"$schema": 7}, {"$schema": ""}])
def test_schema_without_draft_is_error(version: dict[str, Any]) -> None:
    """A schema needs a `$schema` key with the draft."""
    assert faults_of(with_schema({**version, "type": "object"})) == (
        f"{SCHEMA_PLACE}: has no '$schema'; add the draft, such as"
        ' "http://json-schema.org/draft-07/schema#"',
    )


def _schema_of_size(size: int) -> dict[str, Any]:
    schema = {"$schema": DRAFTS["7"], "description": ""}
    schema["description"] = "x" * (size - len(json.dumps(schema, separators=(",", ":"))))
    return schema


@pytest.mark.rule("R-CAT-4")
def test_schema_of_64_kb_is_accepted() -> None:
    assert Catalog.from_dict(with_schema(_schema_of_size(64 * 1024))).warnings == ()


@pytest.mark.rule("R-CAT-4")
def test_schema_over_64_kb_is_error() -> None:
    assert faults_of(with_schema(_schema_of_size(64 * 1024 + 1))) == (
        f"{SCHEMA_PLACE}: has 65,537 bytes as JSON; at most 65,536 are allowed",
    )


@pytest.mark.rule("R-CAT-4")
@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"type": "text"}, " (at type)"),
        ({"properties": {"a": {"minimum": "1"}}}, " (at properties.a.minimum)"),
        ({"properties": {"a": {"pattern": "("}}}, " (at properties.a.pattern)"),
        ({"$ref": "#/definitions/missing"}, ""),
    ],
)
def test_invalid_json_schema_is_error(schema: dict[str, Any], where: str) -> None:
    """The error names the location within the schema."""
    (fault,) = faults_of(with_schema({"$schema": DRAFTS["7"], **schema}))
    assert fault.startswith(f"{SCHEMA_PLACE}: is not a valid JSON Schema{where}: ")


@pytest.mark.rule("R-CAT-4")
@pytest.mark.parametrize("depth", [300, 5000])
def test_too_deeply_nested_schema_is_error(depth: int) -> None:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    with pytest.raises(CatalogError):
        Catalog.from_dict(with_schema({"$schema": DRAFTS["7"], **schema}))


@pytest.fixture
def neighbour() -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that serves a schema at every path: its address, and the requested paths."""
    requests: list[str] = []

    class Neighbour(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "object"}')

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Neighbour)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.rule("R-CAT-4")
@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "{address}/schema.json"},
        {"$ref": "{address}/schema.json#/definitions/a"},
        {"properties": {"a": {"items": [{"$ref": "{address}/schema.json"}]}}},
        {"definitions": {"unused": {"$ref": "{address}/schema.json"}}},
        {"$id": "{address}/root.json", "properties": {"a": {"$ref": "other.json"}}},
        {"$schema": "{address}/my-own-draft"},
        {"$schema": DRAFTS["2020-12"], "$dynamicRef": "{address}/schema.json#a"},
        {"$schema": DRAFTS["4"], "id": "{address}/root.json", "not": {"$ref": "other.json"}},
        {"$ref": "other.json"},
        {"$ref": "/other.json"},
        {"$ref": "file://{folder}/schema.json"},
        {"$ref": "urn:example:schema"},
    ],
    ids=lambda schema: json.dumps(schema),
)
def test_schema_external_reference_is_never_fetched(
    schema: dict[str, Any], neighbour: tuple[str, list[str]], tmp_path: Path
) -> None:
    """An external reference is an error, and no HTTP request or file read happens."""
    address, requests = neighbour
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    text = json.dumps({"$schema": DRAFTS["7"], **schema})
    text = text.replace("{address}", address).replace("{folder}", str(tmp_path))
    (fault,) = faults_of(with_schema(json.loads(text)))
    assert fault.startswith(f"{SCHEMA_PLACE}: ")
    assert requests == []
    with urllib.request.urlopen(f"{address}/control") as response:
        assert response.status == 200
    assert requests == ["/control"]


@pytest.mark.rule("R-CAT-4")
def test_schema_external_reference_error_gives_advice() -> None:
    schema = {"$schema": DRAFTS["7"], "$ref": "https://127.0.0.1:1/schema.json"}
    assert faults_of(with_schema(schema)) == (
        f"{SCHEMA_PLACE}: refers to 'https://127.0.0.1:1/schema.json'; copy that document into the schema",
    )


@pytest.mark.rule("R-CAT-4")
def test_schema_internal_reference_is_resolved() -> None:
    schema = {
        "$schema": DRAFTS["7"],
        "$id": "https://example.org/root.json",
        "properties": {"a": {"$ref": "#/definitions/a"}, "b": {"$ref": "a.json"}},
        "definitions": {"a": {"$id": "a.json", "type": "integer"}},
    }
    catalog = Catalog.from_dict(with_schema(schema))
    validator = catalog.validator(catalog.services[0].plans[0], "service_instance", "create")
    assert validator is not None
    assert not validator.is_valid({"b": "x"})


# Warnings: R-CAT-6 and what is recommended


@pytest.mark.rule("R-CAT-6")
@pytest.mark.parametrize(
    ("document", "warning"),
    [
        (
            with_offering(description="x" * 10_001),
            "services[0].description: Cloud Foundry refuses more than 10,000 characters",
        ),
        (
            with_plan(description="x" * 10_001),
            "services[0].plans[0].description: Cloud Foundry refuses more than 10,000 characters",
        ),
        (
            with_offering(tags=["x" * 1024, "y" * 1025]),
            "services[0].tags: Cloud Foundry refuses more than 2,048 characters",
        ),
        (
            with_plan(maintenance_info={"version": "1.0.0", "description": "x" * 2000}),
            "services[0].plans[0].maintenance_info: Cloud Foundry refuses more than 2,000 characters",
        ),
        (
            with_offering(dashboard_client={"id": "c", "secret": "s"}),
            "services[0].dashboard_client.redirect_uri: Cloud Foundry refuses a client without it",
        ),
        (
            with_offering(metadata={"shareable": "yes"}),
            "services[0].metadata.shareable: Cloud Foundry refuses values other than true and false",
        ),
    ],
)
def test_cloud_foundry_limits_emit_warnings(document: dict[str, Any], warning: str) -> None:
    """A catalog beyond Cloud Foundry's own limits is valid but emits a warning."""
    assert warnings_of(document) == (warning,)


@pytest.mark.rule("R-CAT-6", "R-CAT-5")
@pytest.mark.parametrize(
    "document",
    [
        with_offering(tags=["x" * 1024, "y" * 1024]),
        with_offering(metadata={"shareable": False}),
        with_plan(maintenance_info={"version": "1.0.0", "description": "x" * 1900}),
        with_offering(id="x" * 255, name="y" * 255, description="z" * 255),
    ],
)
def test_catalog_within_limits_emits_no_warning(document: dict[str, Any]) -> None:
    assert warnings_of(document) == ()


@pytest.mark.rule("R-CAT-5")
@pytest.mark.parametrize("name", ["my db", "db_1", "datenbänke", "db/1", "db\n"])
def test_cli_unfriendly_name_emits_warning(name: str) -> None:
    hint = f"{name!r} is hard to type; letters, digits, '.' and '-' are recommended"
    assert warnings_of(with_offering(name=name)) == (f"services[0].name: {hint}",)
    assert warnings_of(with_plan(name=name)) == (f"services[0].plans[0].name: {hint}",)


@pytest.mark.rule("R-CAT-5")
@pytest.mark.parametrize("field", ["id", "name", "description"])
def test_text_over_255_characters_emits_warning(field: str) -> None:
    hint = f"{field}: has 256 characters; at most 255 are recommended"
    assert warnings_of(with_offering(**{field: "x" * 256})) == (f"services[0].{hint}",)
    assert warnings_of(with_plan(**{field: "x" * 256})) == (f"services[0].plans[0].{hint}",)


def test_python_catalog_emits_warnings() -> None:
    with pytest.warns(CatalogWarning, match=r"services\[0\]\.name: 'my db' is hard to type"):
        catalog = Catalog([make_offering(name="my db")])
    assert len(catalog.warnings) == 1


def test_invalid_catalog_emits_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert faults_of(with_offering(name="my db", bindable=None))


@pytest.mark.parametrize(
    ("document", "warning"),
    [
        (
            with_offering(plan_updatable=True),
            "services[0].plan_updatable: is not a field of ServiceOffering; ignored;"
            " did you mean 'plan_updateable'?",
        ),
        (
            with_offering(vendor={}),
            "services[0].vendor: is not a field of ServiceOffering; ignored",
        ),
        (
            with_plan(maintenence_info={"version": "1.0.0"}),
            "services[0].plans[0].maintenence_info: is not a field of ServicePlan; ignored;"
            " did you mean 'maintenance_info'?",
        ),
    ],
)
def test_unknown_catalog_field_emits_warning(document: dict[str, Any], warning: str) -> None:
    """The warning suggests the field with the most similar name."""
    assert warnings_of(document) == (warning,)


@pytest.mark.rule("R-CAT-6")
@pytest.mark.parametrize(
    ("document", "field"),
    [
        (
            with_plan(maintenance_info={"version": "1.0.0", "date": "today"}),
            "maintenance_info.date",
        ),
        (with_plan(schemas={"service_instances": {}}), "schemas.service_instances"),
        (
            with_plan(schemas={"service_instance": {"creation": {}}}),
            "schemas.service_instance.creation",
        ),
        (
            with_plan(schemas={"service_binding": {"create": {"parameter": PARAMETERS}}}),
            "schemas.service_binding.create.parameter",
        ),
    ],
)
def test_unknown_nested_plan_field_emits_warning(document: dict[str, Any], field: str) -> None:
    """A misspelt field of `schemas` would leave parameters unchecked."""
    (warning,) = warnings_of(document)
    assert warning.startswith(f"services[0].plans[0].{field}: ")


# Effective values: R-CAT-7


@pytest.mark.rule("R-CAT-7")
@pytest.mark.parametrize("of_plan", [None, True, False])
@pytest.mark.parametrize("of_offering", [True, False])
@pytest.mark.parametrize("field", ["bindable", "plan_updateable"])
def test_plan_contains_effective_values(field: str, of_offering: bool, of_plan: bool | None) -> None:
    """`bindable` and `plan_updateable` are written into every plan, inherited from the offering if absent."""
    document = with_offering(**{field: of_offering, "plans": [a_plan(**{field: of_plan})]})
    catalog = Catalog.from_dict(document)
    effective = of_offering if of_plan is None else of_plan
    assert getattr(catalog.services[0].plans[0], field) is effective
    assert json.loads(catalog.encoded)["services"][0]["plans"][0][field] is effective


@pytest.mark.rule("R-CAT-7", "R-CAT-3")
@pytest.mark.parametrize(("fault_line", "effective"), [(None, True), (True, True), (False, False)])
def test_plan_free_defaults_to_true(fault_line: bool | None, effective: bool) -> None:
    catalog = Catalog.from_dict(with_plan(free=fault_line))
    assert json.loads(catalog.encoded)["services"][0]["plans"][0]["free"] is effective


def test_catalog_rebuilt_from_services_is_equal() -> None:
    """A catalog built from another catalog's offerings has the same ETag and validators."""
    catalog = Catalog.from_dict(FULL)
    again = Catalog(catalog.services)
    assert again == catalog
    assert again.etag == catalog.etag
    assert again.validator(again.services[0].plans[0], "service_binding", "create") is not None


# Caching: R-CAT-8


@pytest.fixture
def catalog() -> Catalog:
    return Catalog([make_offering()])


@pytest.fixture
def catalog_platform(catalog: Catalog, recorder: Recorder) -> Platform:
    return Platform(make_app(make_broker(recorder, catalog=catalog)))


@pytest.mark.rule("R-CAT-8")
def test_catalog_has_strong_etag(catalog_platform: Platform, catalog: Catalog) -> None:
    """The ETag changes with the content of the catalog."""
    etag = catalog_platform.get("/v2/catalog").headers["ETag"]
    assert etag == catalog.etag
    assert etag[0] == etag[-1] == '"'
    other = Catalog([make_offering(description="Another one")])
    assert other.etag != etag


@pytest.mark.rule("R-CAT-8")
@pytest.mark.parametrize("known", ["{etag}", '"another", {etag}', "*", "W/{etag}", '"a",W/"b" , W/{etag}'])
def test_catalog_with_matching_etag_is_304(catalog_platform: Platform, catalog: Catalog, known: str) -> None:
    """If-None-Match is compared weakly (RFC 9110, 13.1.2) because a compressing proxy weakens the ETag."""
    response = catalog_platform.get(
        "/v2/catalog", headers={"If-None-Match": known.replace("{etag}", catalog.etag)}
    )
    assert response.status_code == 304
    assert response.data == b""
    assert response.headers["ETag"] == catalog.etag
    assert "Content-Type" not in response.headers


@pytest.mark.rule("R-CAT-8")
@pytest.mark.parametrize("known", ['"another"', "", "W/", '"', '"*"', "{etag without quotes", "\xff"])
def test_catalog_with_other_etag_is_200(catalog_platform: Platform, catalog: Catalog, known: str) -> None:
    response = catalog_platform.get("/v2/catalog", headers={"If-None-Match": known})
    assert response.status_code == 200
    assert response.data == catalog.encoded


@pytest.mark.rule("R-CAT-8", "R-REQ-2")
def test_catalog_304_requires_authentication(catalog_platform: Platform, catalog: Catalog) -> None:
    response = catalog_platform.get(
        "/v2/catalog", headers={"If-None-Match": catalog.etag, "Authorization": None}
    )
    assert response.status_code == 401


@pytest.mark.rule("R-REQ-4")
def test_catalog_304_returns_request_identity(catalog_platform: Platform, catalog: Catalog) -> None:
    response = catalog_platform.get(
        "/v2/catalog",
        headers={"If-None-Match": "*", "X-Broker-API-Request-Identity": "r-1"},
    )
    assert response.status_code == 304
    assert response.headers["X-Broker-API-Request-Identity"] == "r-1"


@pytest.mark.rule("R-CAT-8")
def test_catalog_head_has_etag_and_no_body(catalog_platform: Platform, catalog: Catalog) -> None:
    response = catalog_platform.send("HEAD", "/v2/catalog")
    assert response.status_code == 200
    assert response.headers["ETag"] == catalog.etag
    assert response.data == b""


@pytest.mark.parametrize("as_function", [False, True])
def test_catalog_is_encoded_once(
    as_function: bool, catalog: Catalog, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several requests encode the catalog once, also if a function returns it."""
    given = (lambda: catalog) if as_function else catalog
    platform = Platform(make_app(make_broker(recorder, catalog=given)))
    encode, encoded = msgspec.json.encode, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        encoded.append(args)
        return encode(*args, **kwargs)

    monkeypatch.setattr("msgspec.json.encode", counted)
    answers = {platform.get("/v2/catalog").data for _ in range(3)}
    assert answers == {catalog.encoded}
    assert len(encoded) == 1


# A function that returns the catalog


def test_catalog_function_may_return_new_catalog(
    recorder: Recorder,
) -> None:
    """The new plans, their schemas and the new ETag take effect on the next request."""
    before = Catalog([make_offering()])
    new = ServicePlan(
        id="huge-id", name="huge", description="A huge one", schemas=Schemas.of(create=PARAMETERS)
    )
    after = Catalog([make_offering(plans=[*make_offering().plans, new])])
    current = [before]
    platform = Platform(make_app(make_broker(recorder, catalog=lambda: current[0])))
    huge = {**PROVISION, "plan_id": "huge-id"}

    assert platform.put(INSTANCE, huge).status_code == 400
    etag = platform.get("/v2/catalog").headers["ETag"]
    current[0] = after
    response = platform.get("/v2/catalog", headers={"If-None-Match": etag})
    assert response.status_code == 200
    assert response.json is not None
    assert [plan["name"] for plan in response.json["services"][0]["plans"]] == [
        "small",
        "large",
        "huge",
    ]
    assert platform.put(INSTANCE, huge).status_code == 201
    assert (recorder.request.offering, recorder.request.plan) == after.find_plan("huge-id")
    assert platform.put(INSTANCE, {**huge, "parameters": {"size": "x"}}).status_code == 400
    current[0] = before
    assert platform.put(INSTANCE, huge).status_code == 400


def test_catalog_function_plan_without_handler_is_500(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A new plan without a handler is logged; the other plans are still served."""
    new = ServicePlan(id="new-id", name="new", description="New")
    current = [Catalog([make_offering()])]
    broker = Broker(lambda: current[0], auth=lambda request: True)
    for operation in HANDLERS:
        getattr(broker, operation)(service="db", plan=None)(recorder.handler(operation))
    platform = Platform(make_app(broker))
    current[0] = Catalog(
        [make_offering(), make_offering(id="mq-id", name="mq", plans=[new])],
    )
    assert platform.put(INSTANCE, PROVISION).status_code == 201
    assert (
        "services[1].plans[0] ('mq', 'new') can be provisioned, but no @provision handler serves it"
        in caplog.text
    )
    response = platform.put(INSTANCE, {"service_id": "mq-id", "plan_id": "new-id", **ORGANIZATION})
    assert response.status_code == 500
    assert "No @provision handler serves a plan of the new catalog" in caplog.text


def _raise() -> Catalog:
    raise RuntimeError("the database at 10.0.0.1 is down")


@pytest.mark.parametrize(
    ("function", "log"),
    [
        pytest.param(_raise, "the database at 10.0.0.1 is down", id="raises"),
        pytest.param(lambda: None, "The catalog function returned a NoneType; return a Catalog", id="None"),
        pytest.param(
            lambda: {"services": []},
            "The catalog function returned a dict; return a Catalog",
            id="dict",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/v2/catalog", INSTANCE])
def test_catalog_function_error_is_500(
    function: Any, log: str, path: str, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The cause appears in the log but not in the response."""
    platform = Platform(make_app(make_broker(recorder, catalog=function)))
    response = platform.get(path)
    assert response.status_code == 500
    assert error_of(response) == {
        "error": "InternalError",
        "description": "The service broker failed. See its log for the cause.",
    }
    assert log in caplog.text
    assert not recorder.requests


@pytest.mark.rule("R-REQ-2")
def test_catalog_function_requires_authentication(recorder: Recorder) -> None:
    """An unauthenticated request does not call the catalog function."""
    called = []
    broker = make_broker(recorder, catalog=lambda: called.append(1))
    response = Platform(make_app(broker)).get("/v2/catalog", headers={"Authorization": None})
    assert response.status_code == 401
    assert not called


@pytest.mark.parametrize("catalog", [None, {"services": []}, "catalog.yml", [make_offering()], Catalog])
def test_broker_requires_catalog(catalog: Any) -> None:
    with pytest.raises(TypeError, match="pass a Catalog"):
        Broker(catalog, auth=lambda request: True)


def test_catalog_function_not_called_at_registration() -> None:
    """The dependencies of the function may not be available yet when the blueprint is registered."""
    called = []
    make_app(Broker(lambda: called.append(1), auth=lambda request: True))  # type: ignore[arg-type,return-value]
    assert not called


def test_catalog_function_failure_keeps_last_catalog(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """If a later call fails, the last catalog is served and the failure is logged."""
    catalogs = iter([Catalog([make_offering()])])
    platform = Platform(make_app(make_broker(recorder, catalog=lambda: next(catalogs))))
    first = platform.get("/v2/catalog")
    second = platform.put(INSTANCE, PROVISION)
    assert (first.status_code, second.status_code) == (200, 201)
    assert "serving the last catalog that it returned" in caplog.text
    assert "StopIteration" in caplog.text


def test_catalog_warning_points_at_calling_code(tmp_path: Path) -> None:
    offering = make_offering(name="a b")
    document = {"services": [msgspec.to_builtins(offering)]}
    file = tmp_path / "catalog.json"
    file.write_bytes(msgspec.json.encode(document))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Catalog([offering])
        Catalog.from_dict(document)
        Catalog.from_file(file)
    assert [warning.filename for warning in caught] == [__file__] * 3
