"""Tests of the modules that `import brokerkit` loads, and of the public names of the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import brokerkit

PACKAGE = Path(brokerkit.__file__).parent


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after a statement."""
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


@pytest.mark.integration
def test_import_brokerkit_loads_no_optional_dependency() -> None:
    """Importing brokerkit loads no optional package and no network module beyond those of Flask."""
    with_brokerkit, with_flask = loaded_by("import brokerkit"), loaded_by("import flask")
    assert {"brokerkit.broker", "flask", "msgspec"} <= with_brokerkit
    assert not {name.partition(".")[0] for name in with_brokerkit} & OPTIONAL
    assert not (with_brokerkit - with_flask) & {*NETWORK, "tomllib"}


def test_public_names_exist_and_are_unique() -> None:
    """Every name in `brokerkit.__all__` is an attribute of the package and is listed once."""
    assert len(set(brokerkit.__all__)) == len(brokerkit.__all__)
    for name in brokerkit.__all__:
        assert getattr(brokerkit, name) is not None


@pytest.mark.parametrize("name", brokerkit.__all__)
def test_public_names_have_docstrings(name: str) -> None:
    assert (getattr(brokerkit, name).__doc__ or "").strip()
