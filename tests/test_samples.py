"""The samples are right by brokerkit's own checker; the demo shows that, and finds a broker that is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from .servers import waitress

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the demo needs, to break."""
    for folder in ("samples", "tests/data"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


FIRST_OF_UNBIND = "def unbind(request: osb.UnbindRequest) -> None:\n"


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "samples/demo.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_demo_replays_three_platforms_and_ends_by_itself(checkout: Path) -> None:
    done = demo(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    for platform in ("Cloud Foundry", "Korifi", "Kubernetes"):
        assert platform in done.stdout
    assert "in progress" in done.stdout
    assert "kill -9" in done.stdout
    assert "each as the rules say" in done.stdout
    assert "\033" not in done.stdout, "no colours where there is no terminal"


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("return osb.Provisioned(", "return osb.Provisioned(exists=True, ", "expected 201 or 202"),
        ("    return osb.Binding(", "    return dict(", "expected 201 or 202"),
        (FIRST_OF_UNBIND, f"{FIRST_OF_UNBIND}    raise ValueError\n", "expected 200 or 202"),
        ('    yield "Starting the server"\n', "    raise ValueError\n", "wrong."),
    ],
)
def test_the_demo_ends_with_1_if_an_answer_is_not_what_the_rules_say(
    checkout: Path, right: str, wrong: str, told: str
) -> None:
    sample = checkout / "samples" / "hello.py"
    text = sample.read_text()
    assert right in text
    sample.write_text(text.replace(right, wrong))
    done = demo(checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stdout


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
