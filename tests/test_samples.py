"""The samples are right by brokerkit's own checker; the demo shows that, and finds a broker that is wrong."""

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

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the demo needs, to break."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    for module in ("__init__", "postgres", "servers"):
        shutil.copy(ROOT / "tests" / f"{module}.py", tmp_path / "tests")
    return tmp_path


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "samples.demo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_demo_shows_a_whole_life_and_ends_by_itself() -> None:
    """In a terminal that is lower than what is shown, too: nothing waits for a key."""
    with Terminal("samples.demo", rows=5) as terminal:
        code = terminal.read_all(120)
    assert code == 0, terminal.output
    for shown in ("Blue |     7", "50 connections", "kill -9", "100000", "nothing is left behind"):
        assert shown in terminal.output
    assert "password authentication failed" in terminal.output
    assert "Copying 15 MB" in terminal.output
    assert terminal.output.endswith(": all as they should be.\n")
    for seen in ("changes of the audit trail are counted", "was begun twice", "no password is in the log"):
        assert seen in terminal.output
    assert "✗" not in terminal.output


@pytest.mark.parametrize(
    ("file", "right", "wrong", "told"),
    [
        ("databases.py", '"DROP ROLE IF EXISTS {}"', '"ALTER ROLE {} NOLOGIN"', "✗ nothing is left behind"),
        ("broker.py", "= databases.add_user(", "= print(", "✗ orders has no binding shop"),
        ("catalog.yml", "plans:", "plan:", "✗ the server did not start"),
    ],
)
def test_the_demo_ends_with_1_if_something_is_not_as_it_should_be(
    file: str, right: str, wrong: str, told: str, checkout: Path
) -> None:
    sample = checkout / "samples" / "postgres" / file
    text = sample.read_text()
    assert right in text
    sample.write_text(text.replace(right, wrong))
    done = demo(checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stdout
    assert "\033" not in done.stdout, "no colours where there is no terminal"


def test_the_broker_that_make_run_serves_is_gone_after_ctrl_c(checkout: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "samples.run"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if "Its log:" in line:
                break
        exports = dict(re.findall(r"^  export (BROKER_\w+)=(\S+)$", told, re.MULTILINE))
        (superuser,) = re.findall(r"psql '?(postgresql://[^\s']+)", told)
        done = brokerkit("provision", "postgres", "small", "orders", home=checkout, **exports)
        assert done.returncode == 0, done.stderr
        with psycopg.connect(superuser) as connection:
            found = connection.execute("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'db_')")
            assert found.fetchall() == [(1,)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    assert rest.endswith("Ended; nothing is left.\n")
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
def test_the_sample_broker_passes_every_rule_of_the_checker(
    database: str, checkout: Path, request: pytest.FixtureRequest
) -> None:
    store = "sqlite:///hello.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    settings = {"BROKER_STORE": store, "STEP_SECONDS": "0.5", "PYTHONPATH": str(ROOT)}
    if database == "postgresql":
        settings["BROKER_KEYS"] = Fernet.generate_key().decode()
    with waitress(checkout / "samples", "hello:app", **settings) as port:
        done = check(port, "--json", "-")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert not [rule["key"] for rule in report["rules"] if rule["outcome"] == "failed"]
    assert sum(rule["outcome"] == "passed" for rule in report["rules"]) > 100
    assert not report["leftovers"]
