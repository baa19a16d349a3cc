"""Tests of the wheel: it contains all files and works without the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import brokerkit

from .support.servers import waitress

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent
USE = """
from brokerkit import Broker, Catalog, NoAuth, ServiceOffering, ServicePlan
from flask import Flask

plan = ServicePlan(id="p", name="p", description="p")
offering = ServiceOffering(id="s", name="s", description="s", bindable=False, plans=[plan])
broker = Broker(Catalog([offering]), auth=NoAuth())
broker.provision(lambda request: None)
broker.deprovision(lambda request: None)
app = Flask("app")
app.register_blueprint(broker.blueprint)
response = app.test_client().get("/v2/catalog", headers={"X-Broker-API-Version": "2.17"})
print(response.status_code, response.json["services"][0]["plans"][0]["bindable"])
"""


def run(*command: object, cwd: Path) -> str:
    process = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for file in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)  # a build leaves files in its source folder
    shutil.copytree(ROOT / "brokerkit", source / "brokerkit", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_contains_modules_marker_and_license(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        f"brokerkit/{file.relative_to(ROOT / 'brokerkit')}" for file in (ROOT / "brokerkit").rglob("*.py")
    }
    assert modules | {"brokerkit/py.typed", "brokerkit/checker/reporters/page.html.jinja"} <= names
    assert any(name.endswith("LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {
        "brokerkit",
        f"osb_brokerkit-{brokerkit.__version__}.dist-info",
    }


def test_wheel_serves_in_empty_environment(wheel: Path, tmp_path: Path) -> None:
    python = installed(wheel, tmp_path)
    assert run(python, "-c", USE, cwd=tmp_path).split() == ["200", "False"]


def test_check_extra_installs_working_command(wheel: Path, tmp_path: Path) -> None:
    """The `brokerkit check` command of the installed wheel checks a running sample broker."""
    command = installed(f"{wheel}[check]", tmp_path).with_name("brokerkit")
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    with waitress(tmp_path / "samples", "hello:app", STEP_SECONDS="0.1") as port:
        url, login = f"http://127.0.0.1:{port}", ("--username", "platform", "--password", "s3cret")
        output = run(command, "check", url, *login, "--level", "MUST", cwd=tmp_path)
    assert " 0 failed" in output


def installed(requirement: object, folder: Path) -> Path:
    """Create a virtual environment with one requirement and return its Python."""
    venv.create(folder / "empty", with_pip=False)
    (python,) = (folder / "empty").glob("bin/python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    run(*pip, "install", "--quiet", requirement, cwd=folder)
    return python
