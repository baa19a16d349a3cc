"""How the package is built: which module may import which, and what `import brokerkit` loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import brokerkit

PACKAGE = Path(brokerkit.__file__).parent

ORDER = (
    "_masking",
    "_secrets",
    "_json",
    "errors",
    "_schemas",
    "_catalog_rules",
    "catalog",
    "results",
    "resources",
    "requests",
    "_current",
    "audit",
    "census",
    "signals",
    "auth",
    "handlers",
    "_handler_table",
    "_checks",
    "_telling",
    "_looking",
    "_registering",
    "health",
    "_headers",
    "_decoding",
    "_encoding",
    "_dispatch",
    "lifecycle.records",
    "lifecycle.rules",
    "lifecycle.errors",
    "lifecycle.encryption",
    "lifecycle.tables",
    "lifecycle.changes",
    "lifecycle.transitions",
    "lifecycle.statements.words",
    "lifecycle.statements.reads",
    "lifecycle.statements.claims",
    "lifecycle.statements.ends",
    "lifecycle.statements.attempts",
    "lifecycle.statements.sweeps",
    "lifecycle.statements.census",
    "lifecycle.statements.compiled",
    "lifecycle.rows",
    "lifecycle.parameters",
    "lifecycle.lease",
    "lifecycle.database",
    "lifecycle.commits",
    "lifecycle.schema",
    "lifecycle.canary",
    "lifecycle.store",
    "lifecycle.recall",
    "lifecycle.memory",
    "lifecycle.completion",
    "lifecycle.telling",
    "lifecycle.trail",
    "lifecycle.persistence",
    "lifecycle.executors",
    "lifecycle.leaving",
    "lifecycle.threads",
    "lifecycle.checkup",
    "lifecycle.queueing",
    "lifecycle.heart",
    "lifecycle.keeper",
    "lifecycle.worker",
    "lifecycle.running",
    "lifecycle.at_once",
    "lifecycle.polls",
    "lifecycle.managed",
    "lifecycle.operators",
    "lifecycle.rotation",
    "lifecycle.reports",
    "_display",
    "_audit_table",
    "cli",
    "_pipeline",
    "blueprint",
    "broker",
    "observe._subscribing",
    "observe._facts",
    "observe._trace_id",
    "observe._log_fields",
    "observe._log_context",
    "observe._outline",
    "observe._log_lines",
    "observe._json_lines",
    "observe.logs",
    "observe._propagation",
    "observe._spans",
    "observe.opentelemetry",
    "observe._measures",
    "observe._gauges",
    "observe.prometheus",
    "celery",
    "exchange",
    "_asking",
    "platforms",
    "_reading",
    "_failures",
    "_transport",
    "_conversation",
    "client",
    "checker.ledger",
    "checker.parameter_file",
    "checker.patterns",
    "checker.parameters",
    "checker.report",
    "checker.options",
    "checker.situations",
    "checker.rule",
    "checker.judging",
    "checker.rules.bodies",
    "checker.rules.catalog",
    "checker.rules.errors",
    "checker.rules.every_request",
    "checker.rules.last_operation",
    "checker.rules.made_up",
    "checker.rules.parameters_told",
    "checker.rules.get_binding",
    "checker.rules.get_instance",
    "checker.rules.repeats",
    "checker.rules.bind",
    "checker.rules.deletes",
    "checker.rules.provision",
    "checker.rules.update",
    "checker.registry",
    "checker.keeping",
    "checker.session",
    "checker.cleanup",
    "checker.targets",
    "checker.journey",
    "checker.journeys.identities",
    "checker.journeys.door",
    "checker.journeys.halt",
    "checker.journeys.odd_ids",
    "checker.journeys.orphan",
    "checker.journeys.refusals",
    "checker.journeys.updating",
    "checker.telling",
    "checker.html",
    "checker.json_report",
    "checker.junit",
    "checker.table",
    "checker.threads",
    "checker.journeys.at_once",
    "checker.journeys.binding",
    "checker.journeys.halting",
    "checker.journeys.instance",
    "checker.check",
    "testing.checking",
    "testing.clock",
    "testing.steps",
    "testing.types",
    "testing.apps",
    "testing.serving",
    "testing.fixtures",
    "command.talk",
    "command.login",
    "command.names",
    "command.parameters",
    "command.report_files",
    "command.check",
    "command.faults",
    "command.memory",
    "command.desk",
    "command.options",
    "command.offers",
    "command.progress",
    "command.showing",
    "command.services",
    "command.tools",
    "command.undertaking",
    "command.bindings",
    "command.instances",
    "command.polling",
    "command.main",
    "__main__",
)
"""Each module may import those before it."""

MODULES = sorted(
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    for file in PACKAGE.rglob("*.py")
    if file.stem != "__init__" and "migrations" not in file.parts
)


def own_imports(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in it."""
    tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    folder = module.split(".")[:-1]
    return {name for node in ast.walk(tree) for name in _own(node, folder)}


def _own(node: ast.AST, folder: list[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            package, _, rest = alias.name.partition(".")
            if package == "brokerkit":
                yield _module(rest) or "__init__"
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            base = ".".join(filter(None, (*folder[: len(folder) + 1 - node.level], base)))
        else:
            package, _, base = base.partition(".")
            if package != "brokerkit":
                return
        for each in node.names:
            name = f"{base}.{each.name}" if base else each.name
            yield name if name in MODULES else _module(base) or "__init__"


def _module(name: str) -> str:
    """The module that a dotted name is, or is in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def test_every_module_has_its_place_in_the_order() -> None:
    assert set(ORDER) == set(MODULES)
    assert len(ORDER) == len(MODULES)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_those_above_its_place(module: str) -> None:
    allowed = set(ORDER[: ORDER.index(module)])
    assert own_imports(module) <= allowed


def test_there_is_no_import_cycle() -> None:
    imports = {module: own_imports(module) for module in MODULES}
    assert any(imports.values())

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail, module))
        for each in imports[module]:
            visit(each, (*trail, module))

    for module in MODULES:
        visit(module, ())


def test_the_check_of_these_tests_sees_each_way_to_import() -> None:
    tree = ast.parse(
        "import brokerkit.auth, os\n"
        "import brokerkit\n"
        "from brokerkit.catalog import Catalog\n"
        "from brokerkit import broker, Broker\n"
        "from . import signals\n"
        "from .results import Binding\n"
        "from .lifecycle.store import Store\n"
        "from .lifecycle import schema\n"
        "from os import path\n"
    )
    assert [name for node in ast.walk(tree) for name in _own(node, [])] == [
        "auth",
        "__init__",
        "catalog",
        "broker",
        "__init__",
        "signals",
        "results",
        "lifecycle.store",
        "lifecycle.schema",
    ]


def test_the_check_of_these_tests_sees_what_is_imported_from_a_folder_above() -> None:
    tree = ast.parse("from ..results import Binding\nfrom .store import Store\nfrom . import schema\n")
    assert [name for node in ast.walk(tree) for name in _own(node, ["lifecycle"])] == [
        "results",
        "lifecycle.store",
        "lifecycle.schema",
    ]


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    return set(json.loads(run.stdout))


OPTIONAL = {"yaml", "asgiref", "sqlalchemy", "alembic", "cryptography", "psycopg", "celery", "kombu", "redis"}
OPTIONAL |= {"prometheus_client", "opentelemetry", "pythonjsonlogger", "requests", "rich"}
NETWORK = {"socket", "ssl", "http.client", "urllib.request", "asyncio", "socketserver", "select"}


def test_import_brokerkit_loads_no_optional_dependency_and_nothing_that_only_some_need() -> None:
    with_brokerkit, with_flask = loaded_by("import brokerkit"), loaded_by("import flask")
    assert {"brokerkit.broker", "flask", "msgspec"} <= with_brokerkit
    assert not {name.partition(".")[0] for name in with_brokerkit} & OPTIONAL
    assert not (with_brokerkit - with_flask) & {*NETWORK, "tomllib"}


def test_each_name_that_brokerkit_promises_is_there_and_sorted() -> None:
    assert len(set(brokerkit.__all__)) == len(brokerkit.__all__)
    for name in brokerkit.__all__:
        assert getattr(brokerkit, name) is not None


@pytest.mark.parametrize("name", brokerkit.__all__)
def test_each_public_name_tells_what_it_is(name: str) -> None:
    assert (getattr(brokerkit, name).__doc__ or "").strip()
