"""Tests of the sample broker, the demo and `make run`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet

from .checker.terminal import Terminal
from .support.servers import waitress

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy the files that the demo needs, so that a test can change them."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "support").mkdir(parents=True)
    for module in ("__init__", "support/__init__", "support/postgres", "support/servers"):
        shutil.copy(ROOT / "tests" / f"{module}.py", tmp_path / "tests" / f"{module}.py")
    return tmp_path


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "samples.demo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_demo_shows_whole_lifecycle() -> None:
    """The terminal is lower than the output, but no pager waits for a key."""
    with Terminal("samples.demo", rows=5) as terminal:
        code = terminal.read_all(120)
    assert code == 0, terminal.output
    for text in ("Blue |     7", "50 connections", "kill -9", "100000", "nothing is left behind"):
        assert text in terminal.output
    assert "password authentication failed" in terminal.output
    assert "Copying 15 MB" in terminal.output
    assert terminal.output.endswith(": everything passed.\n")
    for text in ("audited operations", "the copy took two attempts", "the log contains no password"):
        assert text in terminal.output
    assert "✗" not in terminal.output


@pytest.mark.parametrize(
    ("file", "original", "broken", "message"),
    [
        (
            "databases.py",
            '"DROP ROLE IF EXISTS {}"',
            '"ALTER ROLE {} NOLOGIN"',
            "✗ PostgreSQL has the same databases",
        ),
        ("broker.py", "= databases.add_user(", "= print(", "✗ orders has no binding shop"),
        ("catalog.yml", "plans:", "plan:", "✗ the server did not start"),
    ],
)
def test_demo_exits_with_1_on_failure(
    file: str, original: str, broken: str, message: str, checkout: Path
) -> None:
    sample = checkout / "samples" / "postgres" / file
    text = sample.read_text()
    assert original in text
    sample.write_text(text.replace(original, broken))
    result = run_demo(checkout)
    assert result.returncode == 1, result.stdout + result.stderr
    assert message in result.stdout
    assert "\033" not in result.stdout, "colours only in a terminal"


def test_run_removes_everything_after_ctrl_c(checkout: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "samples.run"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if "Log of the broker:" in line:
                break
        exports = dict(re.findall(r"^  export (BROKER_\w+)=(\S+)$", output, re.MULTILINE))
        (superuser,) = re.findall(r"psql '?(postgresql://[^\s']+)", output)
        result = brokerkit("provision", "postgres", "small", "orders", home=checkout, **exports)
        assert result.returncode == 0, result.stderr
        with psycopg.connect(superuser) as connection:
            rows = connection.execute("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'db_')")
            assert rows.fetchall() == [(1,)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    assert rest.endswith("Stopped. All processes and files were removed.\n")
    assert brokerkit("catalog", home=checkout, **exports).returncode == 1
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(superuser)
    folder = re.search(r"host=([^&]+)", superuser)
    assert folder is not None
    assert not Path(folder[1]).exists()


def brokerkit(*command: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "brokerkit", *command],
        env={**os.environ, "BROKERKIT_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def check(port: int, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "brokerkit", "check", f"http://127.0.0.1:{port}", *options],
        env={**os.environ, "BROKER_USERNAME": "platform", "BROKER_PASSWORD": "s3cret"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_hello_passes_the_checker(database: str, checkout: Path, request: pytest.FixtureRequest) -> None:
    store = "sqlite:///hello.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    settings = {"BROKER_STORE": store, "STEP_SECONDS": "0.5", "PYTHONPATH": str(ROOT)}
    if database == "postgresql":
        settings["BROKER_KEYS"] = Fernet.generate_key().decode()
    with waitress(checkout / "samples", "hello:app", **settings) as port:
        result = check(port, "--json", "-")
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    assert not [rule["key"] for rule in report["rules"] if rule["outcome"] == "failed"]
    assert sum(rule["outcome"] == "passed" for rule in report["rules"]) > 100
    assert not report["leftovers"]
